"""The names of interventions that a test can use: built in, from pyproject.toml, from conftest files and plugins."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.errors import InterventionError
from pytest_biastransfer.plugin.state import REGISTRIES

if TYPE_CHECKING:
    import pytest

    from pytest_biastransfer.interventions import Registry


def registry_of(node: pytest.Collector | pytest.Item) -> Registry:
    """Return the interventions that have a name where a node of the test tree is: a conftest's are its directory's.

    Raises
    ------
    InterventionError
        If a name is registered twice, or as something that is no intervention; the message says where.
    """
    # Pytest reads the conftest files of a session one after the other; pluggy calls the last one first.
    implementations = node.ihook.pytest_bias_interventions.get_hookimpls()
    functions = tuple(implementation.function for implementation in implementations)
    registries = node.config.stash.setdefault(REGISTRIES, {})
    if functions not in registries:
        registries[functions] = _registry(node.config, functions)
    return registries[functions]


def _registry(config: pytest.Config, functions: tuple[Any, ...]) -> Registry:
    from pytest_biastransfer.interventions import BUILT_IN
    from pytest_biastransfer.interventions.pyproject import with_declared

    registry = with_declared(BUILT_IN, config.rootpath)
    for function in functions:
        origin = f"{inspect.getsourcefile(function)}: {function.__name__}"
        try:
            added = function()
        except InterventionError as error:
            raise InterventionError(f"{origin}: {error}") from error
        if not isinstance(added, Mapping):
            raise InterventionError(
                f"{origin}: returned {added!r:.100}, expected interventions by name, such as "
                f'{{"company-logo": Stencil("logo.png")}}'
            )
        registry = registry.with_named(added, origin)
    return registry
