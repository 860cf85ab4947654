"""Reads the code of a module through its loader, and lists the modules that it imports anywhere in its code."""

from __future__ import annotations

import ast
import dis
import functools
import hashlib
import importlib.machinery
import importlib.util
import marshal
import os
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

# The header of a compiled file: magic number, flags, time and size of the source.
_PYC_HEADER_BYTES: Final = 16
_IMPORTING: Final = ("import_module", "__import__")


@dataclass(frozen=True)
class Module:
    """A module, imported or not.

    Attributes
    ----------
    name
        The name that it is imported by.
    file
        The file with its code; None if there is none.
    loader
        Its loader.
    locations
        The directories of its submodules, if it is a package.
    """

    name: str
    file: str | None
    loader: Any
    locations: tuple[str, ...] = ()

    @property
    def package(self) -> str:
        """The package that its relative imports are relative to."""
        return self.name if self.locations else self.name.rpartition(".")[0]


def module_named(name: str, importer: str | None = None) -> Module | None:
    """Return the module that an import of `name` finds, without importing it; None if there is none.

    The directory of the file `importer` is searched too: it was in the import path when that file was imported.
    """
    imported = sys.modules.get(name)
    if imported is not None:
        return module_of(imported)
    parent = name.rpartition(".")[0]
    package = module_named(parent, importer) if parent else None
    if parent and not (package and package.locations):
        return None
    spec = _spec(name, list(package.locations) if package else None)
    if spec is None and not parent and importer is not None:
        spec = importlib.machinery.PathFinder.find_spec(name, [str(Path(importer).parent)])
    if spec is None:
        return None
    file = spec.origin if spec.has_location else None
    return Module(name, file, spec.loader, tuple(spec.submodule_search_locations or ()))


def module_of(module: types.ModuleType) -> Module:
    """Return an imported module."""
    spec = getattr(module, "__spec__", None)
    file = getattr(module, "__file__", None)
    locations = getattr(module, "__path__", None) or ()
    loader = getattr(module, "__loader__", None) or (spec and spec.loader)
    # `python -m` runs a module under the name `__main__`; its spec has the real one.
    name = spec.name if spec is not None and module.__name__ == "__main__" else module.__name__
    return Module(name, file if isinstance(file, str) else None, loader, tuple(locations))


def content_of(module: Module) -> bytes | None:
    """Return the source or the compiled code of a module; None if neither is available."""
    content = _file_content(module)
    if content is not None:
        # The header of a compiled file has the time of its source.
        is_compiled = module.file is not None and module.file.endswith(".pyc")
        return content[_PYC_HEADER_BYTES:] if is_compiled else content
    try:
        source = module.loader.get_source(module.name) if hasattr(module.loader, "get_source") else None
        code = None if source or not hasattr(module.loader, "get_code") else module.loader.get_code(module.name)
    except (ImportError, OSError, SyntaxError, ValueError):
        return None
    if source:
        return str(source).encode("utf-8", "surrogatepass")
    return marshal.dumps(code) if code is not None else None


def imported_by(module: Module, content: bytes) -> frozenset[str]:
    """Return the names of all modules that a module may import, in functions too, with their packages."""
    statements = _statements(hashlib.sha256(content).digest(), content, (module.file or "").endswith(".pyc"))
    names: set[str] = set()
    for level, base, members in statements:
        start = absolute_name(level, base, module.package)
        if start:
            names |= {start, *(f"{start}.{member}" for member in members)}
    return frozenset(package for name in names for package in _with_packages(name))


def _spec(name: str, path: list[str] | None) -> importlib.machinery.ModuleSpec | None:
    for finder in sys.meta_path:
        find: Any = getattr(finder, "find_spec", None)
        try:
            spec: importlib.machinery.ModuleSpec | None = find and find(name, path)
        except (ImportError, AttributeError, ValueError):
            continue
        if spec is not None:
            return spec
    return None


def _file_content(module: Module) -> bytes | None:
    if module.file is None:
        return None
    try:
        if os.path.isfile(module.file):  # noqa: PTH113 - a string
            return Path(module.file).read_bytes()
        # The file is in an archive, or the loader reads it from elsewhere.
        read = getattr(module.loader, "get_data", None)
        return bytes(read(module.file)) if read else None
    except OSError:
        return None


_Statement = tuple[int, str, tuple[str, ...]]

# By the hash of the code: parsing takes long, and code that has changed has another hash.
_parsed: dict[bytes, tuple[_Statement, ...]] = {}


def _statements(digest: bytes, content: bytes, is_compiled: bool) -> tuple[_Statement, ...]:
    """Return the import statements in code: (number of leading dots, module, names)."""
    if digest not in _parsed:
        parse = _of_compiled if is_compiled else _of_source
        _parsed[digest] = tuple(dict.fromkeys(parse(content)))
    return _parsed[digest]


def _of_source(content: bytes) -> Iterator[_Statement]:
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError):
        # An extension module, or a file that is not Python.
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or "", tuple(alias.name for alias in node.names if alias.name != "*")
        elif isinstance(node, ast.Call) and node.args:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
            first = node.args[0]
            if called in _IMPORTING and isinstance(first, ast.Constant) and isinstance(first.value, str):
                name = first.value.lstrip(".")
                yield len(first.value) - len(name), name, ()


def _of_compiled(content: bytes) -> Iterator[_Statement]:
    try:
        code = marshal.loads(content)
    except (ValueError, EOFError, TypeError):
        return
    if isinstance(code, types.CodeType):
        yield from _of_code(code)


def _of_code(code: types.CodeType) -> Iterator[_Statement]:
    constants: list[Any] = [0, None]
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            level, members = constants[-2:]
            yield level if isinstance(level, int) else 0, str(instruction.argval), tuple(members or ())
        elif instruction.opname.startswith("LOAD_") and ("CONST" in instruction.opname or "INT" in instruction.opname):
            constants.append(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _of_code(constant)


def absolute_name(level: int, name: str, package: str) -> str:
    """Return the full name of a module that an import names, with `level` leading dots, in a package.

    >>> absolute_name(2, "parts", "nets.small")
    'nets.parts'
    """
    if level == 0:
        return name
    base = package.rsplit(".", level - 1)[0] if level > 1 else package
    return f"{base}.{name}" if base and name else base or name


@functools.lru_cache(maxsize=10_000)
def _with_packages(name: str) -> tuple[str, ...]:
    parts = name.split(".")
    return tuple(".".join(parts[: end + 1]) for end in range(len(parts)))
