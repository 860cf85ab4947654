"""Descriptions of modules, classes, functions and bytecode."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator

from pytest_biastransfer.fingerprints.elements import Elements, all_of, named, plain_content, word
from pytest_biastransfer.fingerprints.installed import FRAMEWORKS
from pytest_biastransfer.fingerprints.patches import Origins, described, unwrapped
from pytest_biastransfer.fingerprints.source_code import THIS_PACKAGE, is_users


class DefinitionElements:
    """Describes modules, classes and functions, each by its code and by the values that it refers to.

    Parameters
    ----------
    code_of
        Takes the name of a module, and returns what identifies its code.
    origins
        Knows which members of a library's class come from other code.
    """

    def __init__(self, code_of: Callable[[str], str], origins: Origins) -> None:
        self._code_of = code_of
        self._origins = origins

    def of_module(self, value: types.ModuleType) -> Elements:
        """Describe a module by its name and code."""
        yield word("module", f"{value.__name__} {self._code_of(value.__name__)}".encode())

    def of_class(self, value: type) -> Elements:
        """Describe a class: a user's by its bases and members, a library's by its constants and patches."""
        name = full_name(value.__module__, value.__qualname__)
        yield word("class", f"{name} {self._code_of(value.__module__)}".encode())
        if is_users(sys.modules.get(value.__module__)):
            yield from all_of("bases", value.__bases__)
            yield from named("members", dict(_members(value)))
        else:
            yield from named("constants", _library_constants(value))
            yield from named("patched", self._origins.patches_of(value))

    def of_function(self, value: types.FunctionType) -> Elements:
        """Describe a function: its bytecode, defaults and closure; a user's also by the global values that it uses."""
        yield word("function", full_name(value.__module__, value.__qualname__).encode())
        # Not `__module__`: functools.wraps copies that of the wrapped function.
        home = str(value.__globals__.get("__name__"))
        yield word("code", self._code_of(home).encode())
        yield from all_of("defaults", (value.__code__, value.__defaults__, value.__kwdefaults__))
        yield from all_of("closure", (_cell_content(cell) for cell in value.__closure__ or ()))
        if is_users(sys.modules.get(home)):
            yield from named("globals", _used_globals(value))
            # `__wrapped__` is in the closure already.
            attributes = {name: attribute for name, attribute in vars(value).items() if name != "__wrapped__"}
            yield from named("attributes", attributes)


def full_name(module_name: str | None, name: str) -> str:
    """Return the name of a class or function with that of its module; for this package's own with the package's alone.

    Our modules are an implementation detail. A class that moves to another one still computes the same, and its
    version is part of the description. So cached predictions and accepted measurements stay valid.
    """
    package = str(module_name).partition(".")[0]
    return f"{package if package == THIS_PACKAGE else module_name}.{name}"


def code_elements(value: types.CodeType) -> Elements:
    """Describe bytecode, with its names and constants."""
    # Without file name and line numbers: a function that is moved within a file is the same function.
    yield word("bytecode", value.co_code)
    yield from all_of("names", (value.co_names, value.co_varnames, value.co_consts))


def _cell_content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # A variable that is not set yet.
        return NotImplemented


def _members(value: type) -> Iterator[tuple[str, object]]:
    """Yield the methods of a user's class, and its attributes, which may have been changed since it was defined."""
    for name, member in vars(value).items():
        if unwrapped(member):
            yield name, described(member)
        elif not (name.startswith(("__", "_abc_")) or hasattr(member, "__get__")):
            yield name, member


def _library_constants(value: type) -> dict[str, object]:
    """Return the plain values of a library's class, and the global values that its methods use."""
    members = {
        f"{base.__qualname__}.{name}": member
        for base in value.__mro__
        for name, member in vars(base).items()
        if not name.startswith("__") and plain_content(member) is not None
    }
    if value.__module__.partition(".")[0] in FRAMEWORKS | sys.stdlib_module_names:
        return members
    for member in vars(value).values():
        for function in unwrapped(member):
            names = set(_names(function.__code__)) & function.__globals__.keys()
            used = {name: function.__globals__[name] for name in names}
            members |= {name: constant for name, constant in used.items() if _is_data(constant)}
    return members


def _is_data(value: object, depth: int = 3) -> bool:
    """Whether a value is plain, or a container of such values."""
    if type(value) in (list, tuple, set, frozenset):
        return depth > 0 and all(_is_data(member, depth - 1) for member in value)  # type: ignore[attr-defined]
    if type(value) is dict:
        return depth > 0 and all(_is_data(member, depth - 1) for pair in value.items() for member in pair)
    return plain_content(value) is not None


def _used_globals(function: types.FunctionType) -> dict[str, object]:
    """Return the global values that a function uses, directly or as ``module.name``.

    The source does not show them if they come from a file or from the environment. The environment itself is left out:
    `observation` records what is read from it.
    """
    names = set(_names(function.__code__))
    used = {name: function.__globals__[name] for name in names & function.__globals__.keys()}
    for name, value in list(used.items()):
        if isinstance(value, types.ModuleType) and is_users(value):
            used |= {f"{name}.{inner}": vars(value)[inner] for inner in names & vars(value).keys()}
    return used


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
