"""What somebody else has put into the classes and modules of a library."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pytest_biastransfer.fingerprints.imports import content_of, module_of
from pytest_biastransfer.fingerprints.installed import FRAMEWORKS, distribution_of
from pytest_biastransfer.fingerprints.source_code import is_users, is_users_file, library_identity

_PYTHON: Final = "python"
_USERS: Final = "users"
# Where a descriptor or a wrapper has what it calls.
_INNER: Final = ("__func__", "fget", "fset", "func", "__wrapped__", "_self_wrapper")


class Origins:
    """Where functions come from; asked once for each module, class and file."""

    def __init__(self) -> None:
        self._home = functools.cache(_home)
        self._of_base = functools.cache(self._patches_of_base)
        self._of_module = functools.cache(self._patches_of_module)

    def patches_of(self, library_class: type) -> dict[str, object]:
        """Return what a library's class, its bases or its module have from elsewhere."""
        found: dict[str, object] = {}
        for base in library_class.__mro__:
            found |= self._of_base(base)
        for module in self._modules_of(library_class.__module__):
            found |= self._of_module(module)
        return found

    def _patches_of_base(self, base: type) -> dict[str, object]:
        home = self._home(base.__module__)
        found: dict[str, object] = {}
        for name, member in vars(base).items():
            functions = unwrapped(member)
            label = f"{base.__qualname__}.{name}"
            if self._is_users_object(member) or any(_USERS in self._homes(function) for function in functions):
                found[label] = described(member)
            elif self._are_others(functions, home, label) and _is_mentioned(name, base.__module__):
                # Of a library: what it holds need not have a content that could be told. What other libraries add by
                # names of their own is called by nobody else.
                found[label] = [self._name(function) for function in functions]
        return found

    def _are_others(self, functions: list[types.FunctionType], home: str, label: str) -> bool:
        """Whether a member of a class is another function than the one that the class defines."""
        return any(self._homes(each) - {home, _PYTHON} or each.__qualname__ != label for each in functions)

    def _name(self, function: types.FunctionType) -> tuple[str, types.CodeType]:
        module = sys.modules.get(str(function.__globals__.get("__name__")))
        library = "" if module is None else library_identity(module)
        return f"{function.__module__}.{function.__qualname__} {library}", function.__code__

    def _patches_of_module(self, module_name: str) -> dict[str, object]:
        module = sys.modules[module_name]
        return {
            f"{module_name}:{name}": value
            for name, value in list(vars(module).items())
            # Not isinstance: it asks an object for its class, and some warn of being asked.
            if (type(value) is types.FunctionType and _USERS in self._homes(value))
            or (issubclass(type(value), type) and self._home(value.__module__) == _USERS)
        }

    def _modules_of(self, name: str) -> Iterator[str]:
        """Yield a library's module, and those that its functions call by ``module.name``."""
        module = sys.modules.get(name)
        if module is None or self._home(name) in (_PYTHON, _USERS):
            return
        yield name
        for value in list(vars(module).values()):
            if not issubclass(type(value), types.ModuleType) or value.__name__ not in sys.modules:
                continue
            if self._home(value.__name__) not in (_PYTHON, _USERS):
                yield value.__name__

    def _homes(self, function: types.FunctionType) -> set[str]:
        """Return where a function, and those that it wraps, come from."""
        return {self._home_of(each) for each in (function, *_wrapped_by(function))}

    def _home_of(self, function: types.FunctionType) -> str:
        name = function.__globals__.get("__name__")
        module = sys.modules.get(name) if isinstance(name, str) else None
        if module is None or vars(module) is not function.__globals__:
            # Made by code: only what a known module made is that module's.
            return self._home(name) if module is not None else _USERS
        home = self._home(module.__name__)
        file = function.__code__.co_filename
        own = getattr(module, "__file__", None)
        if home != _USERS and file != own and not file.startswith("<") and is_users_code(file):
            return _USERS
        return home

    def _is_users_object(self, member: object) -> bool:
        kind = type(member)
        return kind.__module__ == "unittest.mock" or (
            not isinstance(member, type) and kind.__module__ != "builtins" and self._home(kind.__module__) == _USERS
        )


def described(member: object) -> object:
    """Return what decides about a member of a class: descriptors and wrappers cannot be described themselves."""
    if isinstance(member, functools.partialmethod):
        return member.func, member.args, member.keywords
    return unwrapped(member) or member


def unwrapped(member: object) -> list[types.FunctionType]:
    """Return the functions that a member of a class calls: itself, or what a descriptor or a wrapper holds."""
    if isinstance(member, types.FunctionType):
        return [member]
    if isinstance(member, type):
        return []
    inner = (getattr(member, name, None) for name in _INNER)
    return [function for function in inner if isinstance(function, types.FunctionType)]


@functools.lru_cache(maxsize=10_000)
def is_users_code(file: str) -> bool:
    """Whether code that says it comes from a file comes from one of the user's that is there."""
    return Path(file).is_file() and is_users_file(file, "")


def _is_mentioned(name: str, module_name: str) -> bool:
    """Whether a name stands in the code of a module."""
    return name.encode() in _text_of(module_name)


@functools.cache
def _text_of(module_name: str) -> bytes:
    module = sys.modules.get(module_name)
    return b"" if module is None else content_of(module_of(module)) or b""


def _wrapped_by(function: types.FunctionType) -> Iterator[types.FunctionType]:
    """Yield the functions that a function holds: what it wraps."""
    inner = [getattr(function, "__wrapped__", None)]
    for cell in function.__closure__ or ():
        try:
            inner.append(cell.cell_contents)
        except ValueError:
            # A variable that is not set yet.
            continue
    yield from (each for each in inner if isinstance(each, types.FunctionType) and each is not function)


def _home(module_name: str) -> str:
    """Return a word for who a module belongs to."""
    top = module_name.partition(".")[0]
    if top in FRAMEWORKS:
        return top
    module = sys.modules.get(module_name)
    if top in sys.stdlib_module_names and top != "__main__":
        return _PYTHON
    if is_users(module):
        return _USERS
    file = getattr(module, "__file__", None)
    installed = distribution_of(file) if isinstance(file, str) else None
    return _PYTHON if installed is None else installed.name
