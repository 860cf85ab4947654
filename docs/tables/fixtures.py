"""The fixtures, from their docstrings."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from docs.tables.markup import code, table
from pytest_biastransfer import plugin


def fixtures() -> str:
    """Return the table of all fixtures."""
    return table(["fixture", "scope", "value"], _rows())


def _rows() -> Iterator[tuple[str, str, str]]:
    # Versions of pytest wrap fixtures in different objects, so the source is read.
    source = Path(plugin.__path__[0]) / "fixtures.py"
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and (scope := _scope(node)):
            yield code(node.name), scope, " ".join((ast.get_docstring(node) or "").split())


def _scope(node: ast.FunctionDef) -> str | None:
    """Return the scope of a fixture, or None for another function."""
    for decorator in node.decorator_list:
        call = decorator.func if isinstance(decorator, ast.Call) else decorator
        if ast.unparse(call) == "pytest.fixture":
            keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
            scopes = (keyword.value for keyword in keywords if keyword.arg == "scope")
            return next((str(ast.literal_eval(scope)) for scope in scopes), "function")
    return None
