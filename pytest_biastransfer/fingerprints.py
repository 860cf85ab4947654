"""Content fingerprints: equal things have equal fingerprints, on any machine and in any session.

A prediction may be reused only if everything that it depends on is unchanged. So whatever cannot be
described by its content raises `NotFingerprintableError` instead of being left out.
"""

from __future__ import annotations

import copyreg
import functools
import hashlib
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pytest_biastransfer.source_code import code_identity, is_users

Content = bytes | memoryview


class NotFingerprintableError(Exception):
    """An object holds state that cannot be described by its content (an open file, a lock)."""


def fingerprint(*parts: object) -> str:
    """Return 32 hexadecimal digits that depend on the content of `parts` and on nothing else.

    Classes and functions are described by their code, the values that it refers to, and the files of the
    user's modules or the versions of the libraries that it comes from; other objects by what pickle would
    save of them. What pickle cannot save raises `NotFingerprintableError`.

    >>> fingerprint("a", 1) == fingerprint("a", 1), fingerprint("a", 1) == fingerprint("a", 1.0)
    (True, False)
    """
    digest = hashlib.sha256()
    _Description(digest.update).add(parts)
    return digest.hexdigest()[:32]


class _Description:
    """One walk over an object, feeding a hash with an unambiguous description of it."""

    def __init__(self, feed: Callable[[Content], None]) -> None:
        self._feed = feed
        # What is being described, outermost first: a reference back to one of these is a cycle.
        self._path: list[int] = []
        # Code that was described already is referred to by its number.
        self._described: dict[int, int] = {}
        self._alive: list[object] = []
        # Identifying the code of a module reads files, and many classes and functions come from one module.
        self._code_of = functools.cache(code_identity)

    def add(self, value: object) -> None:
        content = _plain(value)
        if content is not None:
            self._word(type(value).__name__, content)
        elif id(value) in self._path:
            self._word("cycle", str(self._path[::-1].index(id(value))).encode())
        else:
            self._path.append(id(value))
            self._add_compound(value)
            self._path.pop()

    def _word(self, kind: str, content: Content = b"") -> None:
        self._feed(f"{kind}:{len(content)}:".encode())
        self._feed(content)

    def _add_all(self, kind: str, values: Iterable[object]) -> None:
        every = list(values)
        self._word(kind, str(len(every)).encode())
        for value in every:
            self.add(value)

    def _add_named(self, kind: str, values: Mapping[str, object]) -> None:
        names = sorted(values)
        self._add_all(kind, names)
        self._add_all("values", [values[name] for name in names])

    def _add_compound(self, value: Any) -> None:
        if isinstance(value, types.ModuleType):
            self._word("module", f"{value.__name__} {self._code_of(value.__name__)}".encode())
        elif isinstance(value, type):
            self._once(value, self._add_class)
        elif isinstance(value, types.FunctionType):
            self._once(value, self._add_function)
        elif isinstance(value, types.CodeType):
            self._add_code(value)
        elif isinstance(value, types.MethodType):
            # Pickle would save its name only, but any function can be bound to any object.
            self._add_all("method", (value.__self__, value.__func__))
        elif type(value) in (tuple, list):
            self._add_all(type(value).__name__, value)
        elif type(value) in (set, frozenset):
            self._word(type(value).__name__, "".join(sorted(map(fingerprint, value))).encode())
        elif type(value) is dict:
            self._add_all("keys", value.keys())
            self._add_all("values", value.values())
        elif hasattr(type(value), "__fingerprint__"):
            # Of this package: what the object holds cannot be looked into, and it knows what tells it from others.
            self._add_all("own", (type(value), value.__fingerprint__()))
            # What somebody else has made of it.
            hooks = ("_forward_hooks", "_forward_pre_hooks")
            self._add_all("hooks", [hook for name in hooks for hook in getattr(value, name, {}).values()])
        elif not _add_array(value, self._word):
            self._add_module(value) if _is_torch(value, "nn", "Module") else self._add_object(value)

    def _once(self, value: Any, describe: Callable[[Any], None]) -> None:
        number = self._described.get(id(value))
        if number is not None:
            return self._word("again", str(number).encode())
        self._described[id(value)] = len(self._described)
        self._alive.append(value)
        return describe(value)

    def _add_class(self, value: type) -> None:
        self._word("class", f"{value.__module__}.{value.__qualname__} {self._code_of(value.__module__)}".encode())
        if is_users(sys.modules.get(value.__module__)):
            self._add_all("bases", value.__bases__)
            self._add_named("members", dict(_members(value)))

    def _add_function(self, value: types.FunctionType) -> None:
        module = sys.modules.get(value.__module__)
        self._word("function", f"{value.__module__}.{value.__qualname__}".encode())
        self._word("code", self._code_of(value.__module__).encode())
        self._add_all("defaults", (value.__code__, value.__defaults__, value.__kwdefaults__))
        self._add_all("closure", (_cell_content(cell) for cell in value.__closure__ or ()))
        if is_users(module):
            self._add_named("globals", _used_globals(value))

    def _add_code(self, value: types.CodeType) -> None:
        # Not the file name nor the line numbers: a moved function is the same function.
        self._word("bytecode", value.co_code)
        self._add_all("names", (value.co_names, value.co_varnames, value.co_consts))

    def _add_module(self, module: Any) -> None:
        """Describe a torch.nn.Module: class, plain attributes, parameters, buffers, hooks, children.

        Left out is what evaluation does not depend on: gradients, training flags, backward hooks and
        the counters that number the hooks.
        """
        self.add(type(module))
        state = dict(vars(module))
        for name in sorted(vars(sys.modules["torch"].nn.Module()).keys() & state.keys()):
            content = state.pop(name)
            if name in ("_parameters", "_buffers", "_modules"):
                self._add_all(name, (*content.keys(), *content.values()))
            elif name in ("_forward_hooks", "_forward_pre_hooks"):
                self._add_all(name, content.values())
        self._add_named("attributes", state)

    def _add_object(self, value: Any) -> None:
        """Describe an object by what pickle would save: how it is made, its state and its items."""
        try:
            registered = copyreg.dispatch_table.get(type(value))
            saved = registered(value) if registered else value.__reduce_ex__(4)
        except Exception as error:  # What a class does to be saved is its own code, and may raise anything.
            raise NotFingerprintableError(f"an object of type {type(value).__qualname__}: {error}") from error
        if isinstance(saved, str):
            self._word("global", f"{getattr(value, '__module__', None)}.{saved}".encode())
            return self.add(getattr(value, "__wrapped__", None))
        make, arguments, state, items, pairs = (*saved, None, None, None)[:5]
        self.add(type(value))
        return self._add_all("object", (make, arguments, _in_order(state), tuple(items or ()), tuple(pairs or ())))


def _plain(value: object) -> bytes | None:
    """Return the content of a plain value, or None for anything else."""
    kind = type(value)
    if kind is int:
        return f"{value:x}".encode()
    if kind is str:
        return str(value).encode("utf-8", "surrogatepass")
    if kind in (bool, float, complex, bytes, type(None), type(Ellipsis), type(NotImplemented)):
        return repr(value).encode()
    return None


def _in_order(state: object) -> object:
    """Return the attributes of an object by name: the order in which they were set decides nothing."""
    if type(state) is dict and all(type(name) is str for name in state):
        return dict(sorted(state.items()))
    return state


def _members(value: type) -> Iterator[tuple[str, object]]:
    """Yield what a user's class defines: methods, and attributes that may have been changed since."""
    for name, member in vars(value).items():
        wrappers = ("__func__", "fget", "func", "__wrapped__")
        function = next(filter(None, (getattr(member, name, None) for name in wrappers)), member)
        if isinstance(function, types.FunctionType):
            yield name, function
        elif not (name.startswith(("__", "_abc_")) or hasattr(member, "__get__")):
            yield name, member


def _cell_content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # A variable that is not set yet.
        return NotImplemented


def _used_globals(function: types.FunctionType) -> dict[str, object]:
    """Return the values of its module's names that a function uses, directly or as ``module.name``.

    They may come from a file or from the environment, which the source does not tell.
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


def _is_torch(value: object, *path: str) -> bool:
    """Whether `value` is of a torch class; torch is not imported for the question."""
    found: Any = sys.modules.get("torch")
    for name in path:
        found = getattr(found, name, None)
    return found is not None and isinstance(value, found)


def _add_array(value: Any, word: Callable[[str, Content], None]) -> bool:
    """Describe a tensor, an array or one of their types; return whether `value` was one."""
    if _is_torch(value, "dtype") or _is_torch(value, "device") or _is_torch(value, "Size"):
        word("torch", str(value).encode())
    elif _is_torch(value, "Tensor"):
        torch: Any = sys.modules["torch"]
        if value.layout is not torch.strided:
            raise NotFingerprintableError(f"a {value.layout} tensor of {value.dtype}")
        word("tensor", f"{value.dtype}{tuple(value.shape)}".encode())
        if value.is_quantized:
            word("quantized", _quantization(value).encode())
            value = value.int_repr()
        flat = value.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
        word("bytes", memoryview(flat.view(torch.uint8).numpy()) if flat.numel() else b"")
    else:
        numpy: Any = sys.modules.get("numpy")
        if numpy is None or not (type(value) is numpy.ndarray or isinstance(value, numpy.generic)):
            return False
        if value.dtype.hasobject:
            raise NotFingerprintableError("an array of objects")
        word("array", f"{value.dtype}{value.shape}".encode())
        word("bytes", numpy.ascontiguousarray(value).tobytes())
    return True


def _quantization(tensor: Any) -> str:
    """Return what the integers of a quantized tensor stand for."""
    torch: Any = sys.modules["torch"]
    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return f"{tensor.qscheme()} {tensor.q_scale()!r} {tensor.q_zero_point()}"
    scales, zeros = tensor.q_per_channel_scales().tolist(), tensor.q_per_channel_zero_points().tolist()
    return f"{tensor.qscheme()} {scales!r} {zeros!r} {tensor.q_per_channel_axis()}"
