"""The user's own objects, named by ``python:package.module:factory``."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from pytest_biastransfer.errors import SpecError, nearest
from pytest_biastransfer.specs.spec import Spec


def call_factory(spec: Spec, reserved: Collection[str] = ()) -> object:
    """Import the module that `spec` names and return what its factory returns.

    The factory gets the keys of the query that are not `reserved`, whole numbers as ``int``. A module beside
    the configuration file is found too, even where Python's path does not have that directory.
    """
    module_name, colon, factory_name = spec.rest.partition(":")
    if not colon:
        raise SpecError(f"spec {spec.text!r}: expected python:package.module:factory")
    try:
        module = _import(module_name, spec)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise SpecError(
            f"spec {spec.text!r}: no module named {error.name!r}, neither installed nor in {spec.directory}"
        ) from error
    if not hasattr(module, factory_name):
        public = [name for name in vars(module) if not name.startswith("_")]
        raise SpecError(f"spec {spec.text!r}: {module_name} has no {factory_name!r}; {nearest(factory_name, public)}")
    factory = getattr(module, factory_name)
    # A model or dataset that is there already may be callable, and is not a factory.
    makes = inspect.isroutine(factory) or isinstance(factory, type | functools.partial)
    if not makes:
        return factory
    own = {key: value for key, value in spec.query.items() if key not in reserved}
    return factory(**{key: int(value) if value.isdecimal() else value for key, value in own.items()})


@contextmanager
def importable_beside(spec: Spec) -> Iterator[None]:
    """Let imports find the modules beside the configuration file, too."""
    place = str(spec.directory)
    if place in sys.path:
        yield
        return
    sys.path.insert(0, place)
    try:
        yield
    finally:
        sys.path.remove(place)


def _import(name: str, spec: Spec) -> object:
    with importable_beside(spec):
        return importlib.import_module(name)
