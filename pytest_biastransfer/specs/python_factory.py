"""The scheme ``python:package.module:factory``: imports and calls the user's own factory."""

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
    """Import the module that `spec` names, call its factory and return the object that it makes.

    The keys of the query that are not `reserved` become keyword arguments, whole numbers as ``int``. The module may
    stand beside the configuration file, even if that directory is not in ``sys.path``.
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
    # A finished model or dataset may be callable too, and is returned as it is.
    is_factory = inspect.isroutine(factory) or isinstance(factory, type | functools.partial)
    if not is_factory:
        return factory
    own = {key: value for key, value in spec.query.items() if key not in reserved}
    return factory(**{key: int(value) if value.isdecimal() else value for key, value in own.items()})


@contextmanager
def importable_beside(spec: Spec) -> Iterator[None]:
    """Let imports in this context find modules beside the configuration file, too."""
    directory = str(spec.directory)
    if directory in sys.path:
        yield
        return
    sys.path.insert(0, directory)
    try:
        yield
    finally:
        sys.path.remove(directory)


def _import(name: str, spec: Spec) -> object:
    with importable_beside(spec):
        return importlib.import_module(name)
