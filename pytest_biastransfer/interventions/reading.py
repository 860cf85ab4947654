"""Interventions from text: a registered name, or a declaration as its ``repr`` prints it. Nothing is evaluated."""

from __future__ import annotations

import ast
import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any

from pytest_biastransfer.errors import InterventionError, nearest
from pytest_biastransfer.interventions.base import Intervention
from pytest_biastransfer.interventions.registry import named, names


def read(text: str) -> Intervention:
    """Return the intervention that a text names or declares.

    Raises `InterventionError` for what is neither.

    >>> read("Grayscale() | Square(size=0.5)")
    Composition(steps=(Grayscale(), Square(size=0.5, anchor='top-left', color=(255, 255, 0))))
    """
    if text in names():
        return named(text)
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        tree = None
    if tree is None or isinstance(tree, ast.Name | ast.Constant) or not _is_declaration(tree):
        raise InterventionError(
            f"{text!r} is neither a name nor a declaration such as 'Square(size=0.1) | Blur()'; "
            f"{nearest(text, names())}"
        )
    return _declared(tree, text)


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
    return isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and not tree.args


def _declared(tree: ast.expr, text: str) -> Intervention:
    if isinstance(tree, ast.BinOp):
        return _declared(tree.left, text) | _declared(tree.right, text)
    assert isinstance(tree, ast.Call)
    assert isinstance(tree.func, ast.Name)
    valid = kinds()
    if tree.func.id not in valid:
        raise InterventionError(f"{text!r}: there is no intervention {tree.func.id!r}; {nearest(tree.func.id, valid)}")
    kind = valid[tree.func.id]
    fields = [field.name for field in dataclasses.fields(kind)]
    values = {}
    for keyword in tree.keywords:
        if keyword.arg not in fields:
            raise InterventionError(
                f"{text!r}: {kind.__name__} has no {keyword.arg!r}; {nearest(str(keyword.arg), fields)}"
            )
        values[keyword.arg] = _value(keyword.value, text)
    return kind(**values)


def _value(tree: ast.expr, text: str) -> Any:
    if isinstance(tree, ast.Tuple) and all(_is_declaration(part) for part in tree.elts):
        return tuple(_declared(part, text) for part in tree.elts)
    try:
        return ast.literal_eval(tree)
    except ValueError:
        raise InterventionError(
            f"{text!r}: {ast.unparse(tree)} is no number, text or tuple of them, and nothing else is read"
        ) from None
