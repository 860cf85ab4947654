"""Reads named interventions from ``[tool.pytest_biastransfer]`` in pyproject.toml."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.errors import InterventionError, nearest

if TYPE_CHECKING:
    from pytest_biastransfer.interventions import Registry

NAME: Final = "pyproject.toml"
_TABLE: Final = "pytest_biastransfer"
_KEYS: Final = ("interventions",)


def with_declared(registry: Registry, directory: Path) -> Registry:
    """Return the registry with the interventions that a directory's pyproject.toml declares.

    Raises
    ------
    InterventionError
        If a declaration is invalid; the message names the file and the key.
    """
    path = directory / NAME
    if not path.is_file():
        return registry
    own = _table(_tool(path), _TABLE, f"{path}: tool")
    for key in own:
        if key not in _KEYS:
            raise InterventionError(f"{path}: tool.{_TABLE}.{key}: unknown key; {nearest(key, _KEYS)}")
    origin = f"{path}: tool.{_TABLE}"
    declared = _table(own, "interventions", origin)
    if not declared:
        return registry
    from pytest_biastransfer.interventions.parsing import from_table

    added = {}
    for name in declared:
        key = f"{origin}.interventions.{name}"
        added[name] = from_table(_table(declared, name, f"{origin}.interventions"), key, directory)
    return registry.with_named(added, f"{origin}.interventions")


def _tool(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InterventionError(f"{path}: cannot be read ({error})") from error
    return _table(content, "tool", str(path))


def _table(parent: dict[str, Any], key: str, origin: str) -> dict[str, Any]:
    table = parent.get(key, {})
    if not isinstance(table, dict):
        raise InterventionError(
            f"{origin}.{key}: is {table!r:.60}, expected a table, such as "
            f"[tool.{_TABLE}.interventions.company-logo] with type = and the fields"
        )
    return table
