"""What the names of a module may stand for, and what importing it runs, by its syntax alone."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pytest_biastransfer.fingerprints.imports import Module, absolute_name, content_of

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
DEFINITIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_BLOCKS: Final = (ast.stmt, ast.excepthandler, ast.match_case)


class UnresolvableError(Exception):
    """What code may reach cannot be told by its syntax."""


@dataclass(frozen=True)
class Imported:
    """A name that stands for a module, or for a member of one."""

    module: str
    member: str | None


@dataclass(frozen=True)
class Variable:
    """A name that is assigned to: what it may hold is named where the statement runs."""


Binding = Definition | Imported | Variable


@dataclass(frozen=True)
class Scope:
    """The names of a module, and what importing it runs.

    Attributes
    ----------
    module
        The module.
    bindings
        Everything that a global name may stand for, by name: in any branch, and by an import anywhere in the module.
    executed
        Statements and expressions that run when the module is imported. The bodies of functions do not, nor the block
        after ``if __name__ == "__main__"``.
    definitions
        The functions and classes that it defines meanwhile, methods included.
    """

    module: Module
    bindings: Mapping[str, tuple[Binding, ...]]
    executed: tuple[ast.AST, ...]
    definitions: tuple[Definition, ...]

    @classmethod
    def of(cls, module: Module) -> Scope:
        """Return the scope of a module; raise `UnresolvableError` for one without source, or with a star import."""
        content = content_of(module)
        try:
            tree = ast.parse(content) if content and not (module.file or "").endswith(".pyc") else None
        except (SyntaxError, ValueError, RecursionError):
            tree = None
        if tree is None and content != b"":
            raise UnresolvableError(module.name)
        body = [] if tree is None else tree.body
        ran = tuple(_run_by(body, is_main=module.name in _names_of_main()))
        bindings: dict[str, dict[Binding, None]] = {}
        # Imports in functions and classes count for the whole module: a function may bind a global name.
        for name, binding in (*_bound_by(body), *_imports(body, module)):
            bindings.setdefault(name, {})[binding] = None
        return cls(
            module,
            {name: tuple(every) for name, every in bindings.items()},
            executed=tuple(node for node in ran if not isinstance(node, DEFINITIONS)),
            definitions=tuple(node for node in ran if isinstance(node, DEFINITIONS)),
        )


def is_docstring(statement: ast.AST) -> bool:
    """Whether a statement is a text alone."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def path_of(node: ast.expr) -> tuple[ast.expr, list[str]]:
    """Return what a path of attributes begins with, and the attributes."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return node, attributes[::-1]


def headers(node: Definition) -> Iterator[ast.expr]:
    """Yield the arguments of decorators, default values and keywords, which run when a function or class is defined."""
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call):
            yield from (*decorator.args, *(keyword.value for keyword in decorator.keywords))
    if isinstance(node, ast.ClassDef):
        yield from (keyword.value for keyword in node.keywords)
        return
    arguments = node.args
    yield from (default for default in (*arguments.defaults, *arguments.kw_defaults) if default is not None)


def annotations_of(node: Definition) -> Iterator[ast.expr]:
    """Yield the annotations of a function's arguments and result."""
    if not isinstance(node, ast.ClassDef):
        every = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg)
        yield from filter(None, (*(argument.annotation for argument in every if argument is not None), node.returns))


def _run_by(body: Iterable[ast.AST], *, is_main: bool) -> Iterator[ast.AST]:
    """Yield what running statements runs: expressions, simple statements, and definitions without their bodies."""
    for node in body:
        if isinstance(node, DEFINITIONS):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from _run_by(node.body, is_main=is_main)
        elif isinstance(node, ast.If) and _is_main_guard(node.test) and not is_main:
            yield from _run_by(node.orelse, is_main=is_main)
        elif any(isinstance(child, _BLOCKS) for child in ast.iter_child_nodes(node)):
            yield from _run_by(ast.iter_child_nodes(node), is_main=is_main)
        elif not (is_docstring(node) or _is_list_of_exports(node)):
            yield node


def _names_of_main() -> tuple[str, ...]:
    """Return the names of the module that Python was started with, whose main guard does run."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return ("__main__",) if spec is None else ("__main__", spec.name)


def _is_main_guard(test: ast.expr) -> bool:
    match test:
        case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
            names = {side.id for side in (left, right) if isinstance(side, ast.Name)}
            texts = {side.value for side in (left, right) if isinstance(side, ast.Constant)}
            return names == {"__name__"} and texts == {"__main__"}
    return False


def _is_list_of_exports(statement: ast.AST) -> bool:
    """Whether a statement sets `__all__`, which only star imports read."""
    match statement:
        case ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List() | ast.Tuple()):
            return True
    return False


def _bound_by(body: Iterable[ast.AST]) -> Iterator[tuple[str, Binding]]:
    """Yield the names that statements bind in their own scope, in all branches, besides imports."""
    for node in body:
        if isinstance(node, DEFINITIONS):
            yield node.name, node
        elif isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store):
                yield node.id, Variable()
        elif not isinstance(node, ast.Import | ast.ImportFrom):
            # The name of an exception that is handled, or of a pattern.
            names = [getattr(node, field, None) for field in ("name", "rest")]
            yield from ((name, Variable()) for name in names if isinstance(name, str))
            yield from _bound_by(ast.iter_child_nodes(node))


def _imports(body: Iterable[ast.AST], module: Module) -> Iterator[tuple[str, Imported]]:
    """Yield the names that import statements bind; raise `UnresolvableError` for a star."""
    for statement in (inner for node in body for inner in ast.walk(node)):
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                # `import a.b` binds `a`, and `import a.b as c` binds the submodule.
                name = alias.name if alias.asname else alias.name.partition(".")[0]
                yield alias.asname or name, Imported(name, None)
        elif isinstance(statement, ast.ImportFrom):
            start = absolute_name(statement.level, statement.module or "", module.package)
            for alias in statement.names:
                if alias.name == "*":
                    raise UnresolvableError(f"from {start} import *")
                yield alias.asname or alias.name, Imported(start, alias.name)
