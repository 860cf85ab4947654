"""Interventions from text and from tables: a name, a declaration as its ``repr`` prints it, or its type and fields.

Nothing is evaluated.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_biastransfer.errors import InterventionError, nearest
from pytest_biastransfer.interventions.base import Intervention
from pytest_biastransfer.interventions.registry import BUILT_IN, Registry


def read(text: str, registry: Registry = BUILT_IN) -> Intervention:
    """Return the intervention that a text names or declares.

    Raises `InterventionError` for what is neither.

    >>> read("Grayscale() | Square(size=0.5)")
    Composition(steps=(Grayscale(), Square(size=0.5, anchor='top-left', color=(255, 255, 0))))
    """
    if text in registry.interventions:
        return registry.named(text)
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        tree = None
    if tree is None or isinstance(tree, ast.Name | ast.Constant) or not _is_declaration(tree):
        advice = f"write its fields, as {text}(...)" if text in kinds() else nearest(text, registry.interventions)
        raise InterventionError(
            f"{text!r} is neither a name nor a declaration such as 'Square(size=0.1) | Blur()'; {advice}"
        )
    return _declared(tree, text)


def from_table(table: Mapping[str, Any], place: str, directory: Path) -> Intervention:
    """Return the intervention that a table declares: its ``type``, and its fields, in which tables may be again.

    Parameters
    ----------
    table
        As read from TOML or JSON.
    place
        Where it is, for error messages.
    directory
        What the paths of files in it are relative to.

    Raises
    ------
    InterventionError
        If there is no such type or field, or a field has a wrong value.

    Examples
    --------
    >>> from_table({"type": "Square", "size": 0.5, "color": "red"}, "pyproject.toml", Path())
    Square(size=0.5, anchor='top-left', color=(255, 0, 0))
    """
    fields = {name: _from_toml(value, f"{place}.{name}", directory) for name, value in table.items() if name != "type"}
    if not isinstance(table.get("type"), str):
        raise InterventionError(f'{place}: no type; expected one such as type = "Square"')
    kind = _kind(table["type"], place)
    for field in dataclasses.fields(kind):
        if field.metadata.get("file") and isinstance(fields.get(field.name), str) and directory != Path.cwd():
            fields[field.name] = str(directory / fields[field.name])
    return _built(kind, fields, place)


def kinds() -> Mapping[str, type[Intervention]]:
    """Return the interventions that can be declared, by the names of their types."""
    home = importlib.import_module("pytest_biastransfer.interventions")
    found = {name: getattr(home, name) for name in home.__all__}
    return {
        name: kind
        for name, kind in found.items()
        if isinstance(kind, type) and issubclass(kind, Intervention) and name not in ("Intervention", "Custom")
    }


def _is_declaration(tree: ast.expr) -> bool:
    if isinstance(tree, ast.BinOp):
        return isinstance(tree.op, ast.BitOr) and _is_declaration(tree.left) and _is_declaration(tree.right)
    return (
        isinstance(tree, ast.Call)
        and isinstance(tree.func, ast.Name)
        and all(keyword.arg is not None for keyword in tree.keywords)
    )


def _declared(tree: ast.expr, text: str) -> Intervention:
    if isinstance(tree, ast.BinOp):
        return _declared(tree.left, text) | _declared(tree.right, text)
    assert isinstance(tree, ast.Call)
    assert isinstance(tree.func, ast.Name)
    kind = _kind(tree.func.id, repr(text))
    positional = [field.name for field in _declarable(kind) if not field.kw_only]
    if len(tree.args) > len(positional):
        raise InterventionError(
            f"{text!r}: {kind.__name__} takes {len(positional)} values without a keyword, got {len(tree.args)}; "
            f"write the names of its fields, as size=0.1"
        )
    values = dict(zip(positional, (_value(one, text) for one in tree.args), strict=False))
    for keyword in tree.keywords:
        name = str(keyword.arg)
        if name in values:
            raise InterventionError(f"{text!r}: {kind.__name__} has {name} twice")
        values[name] = _value(keyword.value, text)
    return _built(kind, values, repr(text))


def _kind(name: str, place: str) -> type[Intervention]:
    valid = kinds()
    if name == "Custom":
        raise InterventionError(
            f"{place}: Custom has a function, which text cannot declare; return it from the hook "
            f"pytest_bias_interventions in conftest.py"
        )
    if name not in valid:
        raise InterventionError(f"{place}: there is no intervention {name!r}; {nearest(name, valid)}")
    return valid[name]


def _declarable(kind: type[Intervention]) -> list[dataclasses.Field[Any]]:
    return [field for field in dataclasses.fields(kind) if field.init]


def _built(kind: type[Intervention], values: Mapping[str, Any], place: str) -> Intervention:
    fields = _declarable(kind)
    for name in values:
        if name not in [field.name for field in fields]:
            raise InterventionError(
                f"{place}: {kind.__name__} has no {name!r}; {nearest(name, [field.name for field in fields])}"
            )
    for field in fields:
        without = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if without and field.name not in values:
            raise InterventionError(f"{place}: {kind.__name__} needs {field.name}=")
    try:
        return kind(**values)
    except InterventionError as error:
        raise InterventionError(f"{place}: {error}") from error


def _value(tree: ast.expr, text: str) -> Any:
    if _is_declaration(tree):
        return _declared(tree, text)
    if isinstance(tree, ast.Tuple | ast.List):
        return tuple(_value(part, text) for part in tree.elts)
    try:
        return ast.literal_eval(tree)
    except (ValueError, TypeError, MemoryError, RecursionError):
        raise InterventionError(
            f"{text!r}: {ast.unparse(tree)} is no number, text, intervention or tuple of them, and nothing else is read"
        ) from None


def _from_toml(value: Any, place: str, directory: Path) -> Any:
    if isinstance(value, Mapping):
        return from_table(value, place, directory)
    if isinstance(value, list):
        return tuple(_from_toml(part, f"{place}[{number}]", directory) for number, part in enumerate(value))
    return value
