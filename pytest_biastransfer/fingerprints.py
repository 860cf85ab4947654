"""Content fingerprints: equal things have equal fingerprints, on any machine and in any session.

A prediction may be reused only if everything that it depends on is unchanged. So whatever cannot be
described by its content raises `NotFingerprintableError` instead of being left out.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import site
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import Any, Final

Content = bytes | memoryview

_PLAIN: Final = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis), range, slice)
_CLASS_BOOKKEEPING: Final = {"__doc__", "__firstlineno__", "__module__", "__weakref__"}


class NotFingerprintableError(Exception):
    """An object holds state that cannot be described by its content (an open file, a C object)."""


def fingerprint(*parts: object) -> str:
    """Return 32 hexadecimal digits that depend on the content of `parts` and on nothing else.

    Understood are plain values, containers, classes and functions (by the source of the user's
    modules that they reach, or by the version of the library they come from), tensors, arrays,
    modules and objects made of these. Anything else raises `NotFingerprintableError`.

    >>> fingerprint("a", 1) == fingerprint("a", 1), fingerprint("a", 1) == fingerprint("a", 2)
    (True, False)
    """
    digest = hashlib.sha256()
    _Description(digest.update).add(parts)
    return digest.hexdigest()[:32]


class _Description:
    """One walk over an object, feeding a hash with an unambiguous description of it."""

    def __init__(self, feed: Callable[[Content], None]) -> None:
        self._feed = feed
        self._path: list[int] = []
        self._codes: dict[str, str] = {}
        self._classes: set[type] = set()

    def add(self, value: object) -> None:
        if isinstance(value, _PLAIN) and type(value).__module__ == "builtins":
            self._word(type(value).__name__, repr(value).encode())
            return
        if id(value) in self._path:
            self._word("cycle", str(self._path[::-1].index(id(value))).encode())
            return
        self._path.append(id(value))
        try:
            self._add_compound(value)
        finally:
            self._path.pop()

    def _word(self, kind: str, content: Content = b"") -> None:
        self._feed(f"{kind}:{len(content)}:".encode())
        self._feed(content)

    def _add_compound(self, value: object) -> None:  # noqa: PLR0911, PLR0912 - one branch a kind
        if isinstance(value, types.CodeType):
            return self._add_code(value)
        if isinstance(value, types.FunctionType):
            return self._add_function(value)
        if isinstance(value, types.MethodType):
            return self._add_all("method", value.__self__, value.__func__)
        if isinstance(value, types.BuiltinFunctionType | types.MethodDescriptorType):
            return self._add_builtin(value)
        if isinstance(value, types.ModuleType):
            return self._add_code_of(value.__name__)
        if isinstance(value, type):
            return self._add_class(value)
        if isinstance(value, functools.partial):
            return self._add_all("partial", value.func, value.args, value.keywords)
        if isinstance(value, enum.Enum):
            return self._add_all("enum", type(value), value.name)
        if isinstance(value, PurePath):
            return self._word("path", str(value).encode())
        if isinstance(value, tuple | list):
            self._add_class(type(value))
            return self._add_all("sequence", *value)
        if isinstance(value, set | frozenset):
            self._add_class(type(value))
            return self._word("set", "".join(sorted(map(fingerprint, value))).encode())
        if isinstance(value, dict):
            self._add_class(type(value))
            self._add_all("mapping", *value.keys())
            return self._add_all("values", *value.values())
        if _add_array(value, self._word):
            return None
        if _is_torch(value, "nn", "Module"):
            return self._add_module(value)
        return self._add_object(value)

    def _add_all(self, kind: str, *values: object) -> None:
        self._word(kind, str(len(values)).encode())
        for value in values:
            self.add(value)

    def _add_code_of(self, module: str) -> None:
        if module not in self._codes:
            self._codes[module] = _code_identity(module)
        self._word("code", self._codes[module].encode())

    def _add_class(self, value: type) -> None:
        self._word("class", f"{value.__module__}.{value.__qualname__}".encode())
        if value in self._classes:
            return
        self._classes.add(value)
        self._add_code_of(value.__module__)
        for base in value.__mro__:
            module = sys.modules.get(base.__module__)
            if module is not None and _is_users(module):
                self._add_class_content(base)

    def _add_class_content(self, value: type) -> None:
        """Add what the source of a class does not tell: closures of its methods, changed attributes."""
        for name, member in sorted(vars(value).items()):
            function = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
            if isinstance(function, types.FunctionType):
                self._add_all("member", name, function)
            elif isinstance(member, _PLAIN) and name not in _CLASS_BOOKKEEPING:
                self._add_all("member", name, member)

    def _add_builtin(self, value: Any) -> None:
        owner = getattr(value, "__self__", None)
        if owner is not None and not isinstance(owner, types.ModuleType | type):
            raise NotFingerprintableError(f"a method of {type(owner).__name__}, written in C")
        module = getattr(value, "__module__", None) or "builtins"
        self._word("builtin", f"{module}.{value.__qualname__}".encode())
        self._add_code_of(module)

    def _add_function(self, value: types.FunctionType) -> None:
        self._word("function", f"{value.__module__}.{value.__qualname__}".encode())
        self._add_code_of(value.__module__)
        cells = tuple(cell.cell_contents for cell in value.__closure__ or ())
        # A constant of the module may come from the environment, which the source does not tell.
        constants = {
            name: value.__globals__[name]
            for name in value.__code__.co_names
            if name in value.__globals__ and isinstance(value.__globals__[name], _PLAIN)
        }
        self._add_all("parts", value.__code__, value.__defaults__, value.__kwdefaults__, cells, constants)

    def _add_code(self, value: types.CodeType) -> None:
        # Not the file name nor the line numbers: a moved function is the same function.
        self._word("bytecode", value.co_code)
        self._add_all("names", value.co_names, value.co_varnames, value.co_consts)

    def _add_module(self, module: Any) -> None:
        """Describe a torch.nn.Module: class, plain attributes, parameters, buffers, hooks, children.

        Left out is what evaluation does not depend on: gradients, training flags, backward hooks and
        the counters that number the hooks.
        """
        self._add_class(type(module))
        state = dict(vars(module))
        for name in sorted(vars(_plain_torch_module()).keys() & state.keys()):
            if name in ("_parameters", "_buffers", "_modules"):
                self._add_all(name, *state[name].keys(), *state[name].values())
            elif name in ("_forward_hooks", "_forward_pre_hooks"):
                self._add_all(name, *state[name].values())
            del state[name]
        self._add_all("attributes", *sorted(state))
        for name in sorted(state):
            self.add(state[name])

    def _add_object(self, value: object) -> None:
        state = getattr(value, "__dict__", None)
        slots = {name for cls in type(value).__mro__ for name in _slots(cls)}
        if state is None and not slots:
            raise NotFingerprintableError(f"an object of type {type(value).__qualname__}")
        self._add_class(type(value))
        content = dict(state or {}) | {name: getattr(value, name) for name in slots if hasattr(value, name)}
        self._add_all("attributes", *sorted(content))
        for name in sorted(content):
            self.add(content[name])


def _slots(cls: type) -> tuple[str, ...]:
    slots = cls.__dict__.get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


def _is_torch(value: object, *path: str) -> bool:
    """Whether `value` is of a torch class; torch is not imported for the question."""
    found: Any = sys.modules.get("torch")
    for name in path:
        found = getattr(found, name, None)
    return found is not None and isinstance(value, found)


def _plain_torch_module() -> Any:
    return sys.modules["torch"].nn.Module()


def _add_array(value: Any, word: Callable[[str, Content], None]) -> bool:
    """Describe a tensor, an array or one of their types; return whether `value` was one."""
    if _is_torch(value, "dtype") or _is_torch(value, "device") or _is_torch(value, "Size"):
        word("torch", str(value).encode())
        return True
    if _is_torch(value, "Tensor"):
        if value.layout is not sys.modules["torch"].strided or value.is_quantized:
            raise NotFingerprintableError(f"a {value.layout} tensor")
        word("tensor", f"{value.dtype}{tuple(value.shape)}".encode())
        flat = value.detach().cpu().contiguous().reshape(-1).view(sys.modules["torch"].uint8)
        word("bytes", memoryview(flat.numpy()))
        return True
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic | numpy.dtype):
        if isinstance(value, numpy.dtype):
            word("dtype", str(value).encode())
            return True
        if value.dtype.hasobject:
            raise NotFingerprintableError("an array of objects")
        word("array", f"{value.dtype}{value.shape}".encode())
        word("bytes", numpy.ascontiguousarray(value).tobytes())
        return True
    return False


def _code_identity(module_name: str) -> str:
    """Return what the code of a module is: its library's version, or a hash of the user's files.

    For the user's own code, all modules of theirs that it imports count too: a helper in another file
    decides about the result as much as the class itself.
    """
    module = sys.modules.get(module_name)
    if module is None:
        raise NotFingerprintableError(f"code of the module {module_name}, which is not imported")
    if module_name == "builtins" or not _is_users(module):
        top = sys.modules.get(module_name.partition(".")[0], module)
        return f"{top.__name__} {getattr(top, '__version__', sys.version_info[:2])}"
    digest = hashlib.sha256()
    for file in sorted({Path(str(found.__file__)) for found in _reached_modules(module)}):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _reached_modules(start: types.ModuleType) -> Iterator[types.ModuleType]:
    """Yield `start` and the user's modules that its names come from, and theirs in turn."""
    seen, pending = {start.__name__}, [start]
    while pending:
        module = pending.pop()
        yield module
        for value in list(vars(module).values()):
            name = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
            if not isinstance(name, str) or name in seen or name not in sys.modules:
                continue
            seen.add(name)
            if _is_users(sys.modules[name]):
                pending.append(sys.modules[name])


def _is_users(module: types.ModuleType) -> bool:
    """Whether a module is the user's own: neither installed nor part of Python nor of this package."""
    file = getattr(module, "__file__", None)
    if file is None:
        if module.__name__ == "__main__":
            raise NotFingerprintableError("code typed into a session")
        return False
    return not any(Path(file).is_relative_to(place) for place in _library_places())


@functools.cache
def _library_places() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    installed = [paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"]]
    installed += [*site.getsitepackages(), site.getusersitepackages()]
    return (*map(Path, installed), Path(__file__).parent)
