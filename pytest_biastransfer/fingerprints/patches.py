"""Finds monkey patches: functions and objects that other code has put into the classes and modules of a library."""

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
# torch.compile replaces `Module.__init__` by a function of this module, which calls it and marks the instance. What a
# model computes does not depend on it, and its key must not depend on whether something was compiled before.
_COMPILERS_MARK: Final = "torch._dynamo.mutation_guard"
# Attributes of descriptors and wrappers that hold the function which they call.
_INNER: Final = ("__func__", "fget", "fset", "func", "__wrapped__", "_self_wrapper")


class Origins:
    """Determines where functions come from; cached for each module and class."""

    def __init__(self) -> None:
        self._home = functools.cache(_home)
        self._of_base = functools.cache(self._patches_of_base)
        self._of_module = functools.cache(self._patches_of_module)

    def patches_of(self, library_class: type) -> dict[str, object]:
        """Return the members of a library's class, of its bases and of its module that come from other code."""
        patches: dict[str, object] = {}
        for base in library_class.__mro__:
            patches |= self._of_base(base)
        for module in self._modules_of(library_class.__module__):
            patches |= self._of_module(module)
        return patches

    def _patches_of_base(self, base: type) -> dict[str, object]:
        home = self._home(base.__module__)
        patches: dict[str, object] = {}
        for name, member in vars(base).items():
            functions = unwrapped(member)
            label = f"{base.__qualname__}.{name}"
            if self._is_users_object(member) or any(_USERS in self._homes(function) for function in functions):
                patches[label] = described(member)
            elif self._are_foreign(functions, home, label) and _is_mentioned(name, base.__module__):
                # A patch by another library is described by its name and code: the objects that it refers to may have
                # no content to describe. A member that the class's own module never mentions is not called by it.
                patches[label] = [self._name(function) for function in functions]
        return patches

    def _are_foreign(self, functions: list[types.FunctionType], home: str, label: str) -> bool:
        """Whether the functions of a class's member are not those that the class defines."""
        functions = [function for function in functions if function.__module__ != _COMPILERS_MARK]
        return any(self._homes(function) - {home, _PYTHON} or function.__qualname__ != label for function in functions)

    def _name(self, function: types.FunctionType) -> tuple[str, types.CodeType]:
        module = sys.modules.get(str(function.__globals__.get("__name__")))
        library = "" if module is None else library_identity(module)
        return f"{function.__module__}.{function.__qualname__} {library}", function.__code__

    def _patches_of_module(self, module_name: str) -> dict[str, object]:
        module = sys.modules[module_name]
        return {
            f"{module_name}:{name}": value
            for name, value in list(vars(module).items())
            # Not isinstance: it reads `__class__`, and some lazy module attributes warn when they are read.
            if (type(value) is types.FunctionType and _USERS in self._homes(value))
            or (issubclass(type(value), type) and self._home(value.__module__) == _USERS)
        }

    def _modules_of(self, name: str) -> Iterator[str]:
        """Yield a library's module, and the modules that its functions call by ``module.name``."""
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
        """Return the owners of a function and of the functions that it wraps."""
        return {self._home_of(inner) for inner in (function, *_wrapped_by(function))}

    def _home_of(self, function: types.FunctionType) -> str:
        name = function.__globals__.get("__name__")
        module = sys.modules.get(name) if isinstance(name, str) else None
        if module is None or vars(module) is not function.__globals__:
            # Generated code: it belongs to the module that it names, if that is imported; otherwise to the user.
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
    """Return what a member of a class depends on: descriptors and wrappers cannot be described themselves."""
    if isinstance(member, functools.partialmethod):
        return member.func, member.args, member.keywords
    return unwrapped(member) or member


def unwrapped(member: object) -> list[types.FunctionType]:
    """Return the functions that a member of a class calls: the member, or those in a descriptor or wrapper."""
    if isinstance(member, types.FunctionType):
        return [member]
    if isinstance(member, type):
        return []
    inner = (getattr(member, name, None) for name in _INNER)
    return [function for function in inner if isinstance(function, types.FunctionType)]


@functools.lru_cache(maxsize=10_000)
def is_users_code(file: str) -> bool:
    """Whether the file that a code object names exists and is the user's."""
    return Path(file).is_file() and is_users_file(file, "")


def _is_mentioned(name: str, module_name: str) -> bool:
    """Whether a name occurs in the code of a module."""
    return name.encode() in _text_of(module_name)


@functools.cache
def _text_of(module_name: str) -> bytes:
    module = sys.modules.get(module_name)
    return b"" if module is None else content_of(module_of(module)) or b""


def _wrapped_by(function: types.FunctionType) -> Iterator[types.FunctionType]:
    """Yield the functions that a function wraps: in `__wrapped__` or in its closure."""
    inner = [getattr(function, "__wrapped__", None)]
    for cell in function.__closure__ or ():
        try:
            inner.append(cell.cell_contents)
        except ValueError:
            # A variable that is not set yet.
            continue
    yield from (value for value in inner if isinstance(value, types.FunctionType) and value is not function)


def _home(module_name: str) -> str:
    """Return the owner of a module: a library's name, Python or the user."""
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
