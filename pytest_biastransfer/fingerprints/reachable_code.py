"""What code a class or function can reach, by the names in it; whatever cannot be resolved ends the search.

A call of an unknown object cannot reach a function that nobody names: objects come from classes, and registries from
statements, and both are named where they are used or run when their module is imported. So names decide here, not
calls. Where code asks for names at run time, such as by `globals()`, `UnresolvableError` is raised.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from pytest_biastransfer.fingerprints.imports import Module, content_of, imported_by
from pytest_biastransfer.fingerprints.registered_definitions import BY_TEXT, SAFE_LIBRARIES, is_registered, library_name
from pytest_biastransfer.fingerprints.scopes import (
    Definition,
    Imported,
    Scope,
    UnresolvableError,
    Variable,
    annotations_of,
    headers,
    is_docstring,
    path_of,
)

# Builtins and attributes that give access to what is not named.
_BUILTINS: Final = frozenset(
    (
        "__builtins__", "__import__", "__loader__", "__spec__", "breakpoint", "compile", "eval", "exec", "globals",
        "locals", "vars",
    )
)  # fmt: skip
_ATTRIBUTES: Final = frozenset(
    (
        "__builtins__", "__getattribute__", "__globals__", "__init_subclass__", "__loader__", "__spec__",
        "__subclasses__", "_current_frames", "_getframe", "cr_frame", "currentframe", "dictConfig", "f_back",
        "f_builtins", "f_globals", "f_locals", "fileConfig", "gi_frame", "import_module", "load", "load_inline",
        "load_pickle", "loads", "tb_frame",
    )
)  # fmt: skip
_IDENTIFIER: Final = re.compile(r"[^\W\d]\w*")
_OBJECTS_OF_METHODS: Final = ("self", "cls")


def mentions(
    names: Collection[str], code: Mapping[str, Module], objects: Iterable[str]
) -> Iterator[tuple[str, str, int]]:
    """Yield where names occur in the code that objects can reach: name, file, line.

    What importing the modules runs always counts.

    Parameters
    ----------
    names
        Names of functions, classes or modules of libraries; also where they are imported under another name.
    code
        The user's modules by name.
    objects
        ``module:name`` of classes and functions in `code`, or the name of a module, of which everything counts. So it
        does of modules that none of theirs imports by a statement.

    Raises
    ------
    UnresolvableError
        If syntax alone does not tell what can be reached.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp(), "net.py")
    >>> _ = file.write_text("import cv2\\ndef show(path):\\n    return cv2.imread(path)\\nclass Net:\\n    pass\\n")
    >>> code = {"net": Module("net", str(file), None)}
    >>> list(mentions(["imread"], code, ["net:Net"]))
    []
    """
    search = _Search(frozenset(names), {name: Scope.of(module) for name, module in code.items()})
    roots = [(module, path.partition(".")[0]) for module, _, path in (name.partition(":") for name in objects)]
    roots = [(module, name) for module, name in roots if module in code]
    by_statements = _imported_from({module for module, name in roots if name}, code)
    for name, scope in search.scopes.items():
        search.add_imported(scope)
        for definition in scope.definitions if name not in by_statements else ():
            search.add(scope, definition)
    for module, name in roots:
        if name:
            search.follow(module, [name])
    return search.run()


def _imported_from(starts: Collection[str], code: Mapping[str, Module]) -> Collection[str]:
    """Return the modules that import statements lead to from some, with these."""
    imported, pending = set(starts), list(starts)
    while pending:
        module = code[pending.pop()]
        names = imported_by(module, content_of(module) or b"") & code.keys()
        pending.extend(names - imported)
        imported |= names
    return imported


class _Search:
    """A search through the code that names lead to."""

    def __init__(self, names: frozenset[str], scopes: Mapping[str, Scope]) -> None:
        self.names = names
        self.scopes = scopes
        self._pending: list[tuple[Scope, ast.AST]] = []
        self._reached: set[int] = set()
        self._line = 0
        self._scope: Scope | None = None
        self._mentions: list[tuple[str, str, int]] = []

    def run(self) -> Iterator[tuple[str, str, int]]:
        while self._pending:
            self._scope, node = self._pending.pop()
            self._visit(node)
        yield from self._mentions

    def add(self, scope: Scope, node: ast.AST) -> None:
        """Have all of a node searched, once."""
        if id(node) not in self._reached:
            self._reached.add(id(node))
            self._pending.append((scope, node))

    def add_imported(self, scope: Scope) -> None:
        """Have searched what importing a module runs."""
        self._scope = scope
        for node in scope.executed:
            self.add(scope, node)
        for definition in scope.definitions:
            # Asked by the import statements of other modules.
            if definition.name in ("__getattr__", "__dir__") or is_registered(self.scopes, scope, definition):
                self.add(scope, definition)
            else:
                for header in (*headers(definition), *self._running_annotations(scope, definition)):
                    self.add(scope, header)

    def _running_annotations(self, scope: Scope, definition: Definition) -> Iterator[ast.expr]:
        """Yield the annotations that run more than the name of a type: a call, or brackets of a class of the user's."""
        for annotation in annotations_of(definition):
            inner = list(ast.walk(annotation))
            subscripts = [node.value for node in inner if isinstance(node, ast.Subscript)]
            if any(isinstance(node, ast.Call) for node in inner) or any(
                library_name(self.scopes, scope, value) is None for value in subscripts
            ):
                yield annotation

    def follow(self, module: str, names: list[str], route: frozenset[tuple[str, str]] = frozenset()) -> None:
        """Have searched what a path of attributes leads to from a module."""
        if not names and module in self.scopes:
            # The module is passed on as an object.
            raise UnresolvableError(module)
        submodule = f"{module}.{names[0]}" if names else module
        is_package = any(name == submodule or name.startswith(f"{submodule}.") for name in self.scopes)
        if module not in self.scopes:
            if names and is_package:
                self.follow(submodule, names[1:], route)
            else:
                self._note_library(module, names)
            return
        scope = self.scopes[module]
        bindings = scope.bindings.get(names[0], ())
        if (module, names[0]) in route:
            return
        route |= {(module, names[0])}
        if is_package:
            self.follow(submodule, names[1:], route)
        elif not bindings:
            raise UnresolvableError(submodule)
        for binding in bindings:
            if isinstance(binding, Imported):
                self.follow(binding.module, [*filter(None, [binding.member]), *names[1:]], route)
            elif not isinstance(binding, Variable):
                self.add(scope, binding)

    def _note(self, name: str) -> None:
        """Note a mention if the name is one of those that are searched for."""
        if name in self.names:
            assert self._scope is not None
            self._mentions.append((name, self._scope.module.file or self._scope.module.name, self._line))

    def _note_library(self, module: str, names: list[str]) -> None:
        path = [*module.split("."), *names]
        for name in path:
            self._note(name)
        is_registry = path[0] == "sys" and path[1:2] in ([], ["modules"], ["meta_path"])
        # Many modules have others as attributes, such as `os.sys`.
        hidden = _ATTRIBUTES | BY_TEXT | {"sys"}
        if path[0] not in SAFE_LIBRARIES or is_registry or not hidden.isdisjoint(path[1:]):
            raise UnresolvableError(".".join(path))

    def _name(self, name: str, attributes: list[str]) -> None:
        """Search what a name stands for, and its attributes."""
        assert self._scope is not None
        self._note(name)
        bindings = self._scope.bindings.get(name, ())
        if name in _BUILTINS or name == "getattr":
            raise UnresolvableError(name)
        for binding in bindings:
            if isinstance(binding, Imported):
                self.follow(binding.module, [*filter(None, [binding.member]), *attributes])
            elif not isinstance(binding, Variable):
                self.add(self._scope, binding)

    def _visit(self, node: ast.AST) -> None:
        self._line = getattr(node, "lineno", self._line)
        if isinstance(node, ast.Attribute):
            self._attribute(node)
        elif isinstance(node, ast.Name):
            if not isinstance(node.ctx, ast.Store):
                self._name(node.id, [])
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                self._text(node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
            self._dynamic_attribute(node)
        elif not (is_docstring(node) or isinstance(node, ast.Import | ast.ImportFrom)):
            for child in ast.iter_child_nodes(node):
                self._visit(child)

    def _attribute(self, node: ast.Attribute) -> None:
        base, attributes = path_of(node)
        for name in attributes:
            self._note(name)
            if name in _ATTRIBUTES:
                raise UnresolvableError(name)
        if isinstance(base, ast.Name):
            self._name(base.id, attributes)
        else:
            self._visit(base)

    def _dynamic_attribute(self, call: ast.Call) -> None:
        match call.args:
            case [base, ast.Constant(value=str(name)), *rest]:
                self._visit(ast.copy_location(ast.Attribute(base, name, ast.Load()), call))
            case [ast.Name(id=owner), *rest] if owner in _OBJECTS_OF_METHODS and not self._is_bound(owner):
                # All methods of its class count already.
                pass
            case _:
                raise UnresolvableError("getattr")
        for argument in (*rest, *call.keywords):
            self._visit(argument)

    def _is_bound(self, name: str) -> bool:
        assert self._scope is not None
        return name in self._scope.bindings

    def _text(self, text: str) -> None:
        """Count the names in a text too: it may be given to what looks them up."""
        for word in set(_IDENTIFIER.findall(text)):
            self._note(word)
            for scope in self.scopes.values():
                for binding in scope.bindings.get(word, ()):
                    if not isinstance(binding, Imported | Variable):
                        self.add(scope, binding)
