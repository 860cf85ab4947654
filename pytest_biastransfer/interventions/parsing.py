"""Parses interventions: a registered name, a declaration as ``repr`` prints it, or a table of type and fields.

No code is evaluated: a declaration is parsed into a syntax tree, of which only known types and literals are accepted.
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

    Raises `InterventionError` for a text that does neither.

    >>> read("Grayscale() | Square(size=0.5)")
    Composition(steps=(Grayscale(), Square(size=0.5, anchor='top-left', color=(255, 255, 0))))
    """
    # A registered name first: it may look like anything, even like a declaration.
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


def from_table(table: Mapping[str, Any], origin: str, directory: Path) -> Intervention:
    """Return the intervention that a table declares: its ``type`` and its fields, which may be tables again.

    Parameters
    ----------
    table
        As read from TOML or JSON.
    origin
        Where the table is, for error messages.
    directory
        The directory that paths in it are relative to.

    Raises
    ------
    InterventionError
        If there is no such type or field, or a field has a wrong value.

    Examples
    --------
    >>> from_table({"type": "Square", "size": 0.5, "color": "red"}, "pyproject.toml", Path())
    Square(size=0.5, anchor='top-left', color=(255, 0, 0))
    """
    fields = {name: _from_toml(value, f"{origin}.{name}", directory) for name, value in table.items() if name != "type"}
    if not isinstance(table.get("type"), str):
        raise InterventionError(f'{origin}: no type; expected one such as type = "Square"')
    kind = _kind(table["type"], origin)
    for field in dataclasses.fields(kind):
        if field.metadata.get("file") and isinstance(fields.get(field.name), str) and directory != Path.cwd():
            fields[field.name] = str(directory / fields[field.name])
    return _built(kind, fields, origin)


def kinds() -> Mapping[str, type[Intervention]]:
    """Return the interventions that can be declared, by the names of their types."""
    home = importlib.import_module("pytest_biastransfer.interventions")
    public = {name: getattr(home, name) for name in home.__all__}
    return {
        name: kind
        for name, kind in public.items()
        if isinstance(kind, type) and issubclass(kind, Intervention) and name not in ("Intervention", "Custom")
    }


def _is_declaration(tree: ast.expr) -> bool:
    if isinstance(tree, ast.BinOp):
        return isinstance(tree.op, ast.BitOr) and _is_declaration(tree.left) and _is_declaration(tree.right)
    return (
        isinstance(tree, ast.Call)
        and isinstance(tree.func, ast.Name)
        # `**fields` has no names to check.
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
    values = dict(zip(positional, (_value(argument, text) for argument in tree.args), strict=False))
    for keyword in tree.keywords:
        name = str(keyword.arg)
        if name in values:
            raise InterventionError(f"{text!r}: {kind.__name__} has {name} twice")
        values[name] = _value(keyword.value, text)
    return _built(kind, values, repr(text))


def _kind(name: str, origin: str) -> type[Intervention]:
    valid = kinds()
    if name == "Custom":
        raise InterventionError(
            f"{origin}: Custom has a function, which text cannot declare; return it from the hook "
            f"pytest_bias_interventions in conftest.py"
        )
    if name not in valid:
        raise InterventionError(f"{origin}: there is no intervention {name!r}; {nearest(name, valid)}")
    return valid[name]


def _declarable(kind: type[Intervention]) -> list[dataclasses.Field[Any]]:
    return [field for field in dataclasses.fields(kind) if field.init]


def _built(kind: type[Intervention], values: Mapping[str, Any], origin: str) -> Intervention:
    fields = _declarable(kind)
    for name in values:
        if name not in [field.name for field in fields]:
            raise InterventionError(
                f"{origin}: {kind.__name__} has no {name!r}; {nearest(name, [field.name for field in fields])}"
            )
    for field in fields:
        is_required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if is_required and field.name not in values:
            raise InterventionError(f"{origin}: {kind.__name__} needs {field.name}=")
    try:
        return kind(**values)
    except InterventionError as error:
        raise InterventionError(f"{origin}: {error}") from error


def _value(tree: ast.expr, text: str) -> Any:
    if _is_declaration(tree):
        return _declared(tree, text)
    if isinstance(tree, ast.Tuple | ast.List):
        return tuple(_value(element, text) for element in tree.elts)
    try:
        # Security: literals only. MemoryError and RecursionError are those of deeply nested input.
        return ast.literal_eval(tree)
    except (ValueError, TypeError, MemoryError, RecursionError):
        raise InterventionError(
            f"{text!r}: {ast.unparse(tree)} is not a number, text, intervention or tuple of these"
        ) from None


def _from_toml(value: Any, origin: str, directory: Path) -> Any:
    if isinstance(value, Mapping):
        return from_table(value, origin, directory)
    if isinstance(value, list):
        return tuple(_from_toml(member, f"{origin}[{number}]", directory) for number, member in enumerate(value))
    return value
