"""Content fingerprints: equal things have equal fingerprints, on any machine and in any session.

A prediction may be reused only if everything that it depends on is unchanged. So whatever cannot be
described by its content raises `NotFingerprintableError` instead of being left out.

An object is described by its type and by the digests of what it holds, and each object once: the work grows with
the number of objects, not with the number of paths to them. Within a cycle, objects are numbered from the one that
was reached first.
"""

from __future__ import annotations

import copyreg
import hashlib
import os
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from pytest_biastransfer.fingerprints.installed import FRAMEWORKS
from pytest_biastransfer.fingerprints.patches import Origins, described, unwrapped
from pytest_biastransfer.fingerprints.source_code import THIS_PACKAGE, CodeBase, is_users

Content = bytes | memoryview

# Further than any position on the stack: nothing that is still being described was referred to.
_NOWHERE: Final = sys.maxsize


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
    return _digits(_Description().token(parts))


def fingerprint_in_session(*parts: object) -> tuple[str, list[object]]:
    """Return a fingerprint that means the same as long as this process runs, and what must stay alive for that.

    Objects without a content to describe are described by their identity and their attributes.
    """
    description = _Description(by_identity=True)
    return _digits(description.token(parts)), description.identified


def _digits(token: bytes) -> str:
    return hashlib.sha256(token).hexdigest()[:32]


class _Of(NamedTuple):
    """An object that is part of another one's description."""

    value: object


class _InAnyOrder(NamedTuple):
    """Objects of which the order decides nothing."""

    values: Iterable[object]


# What a description consists of.
_Part = Content | _Of | _InAnyOrder
_Parts = Iterator[_Part]


class _Frame:
    """One object that is being described."""

    def __init__(self, value: object, position: int, parts: _Parts) -> None:
        self.value = value
        self.position = position
        self.parts = parts
        self.digest = hashlib.sha256()
        # The lowest position on the stack of those that it, or what it holds, refers back to.
        self.lowest = position

    def take(self, token: bytes, reached: int) -> None:
        """Add the description of an object that this one holds."""
        self.digest.update(token)
        self.lowest = min(self.lowest, reached)


class _Description:
    """One walk over objects: Tarjan's search for cycles, without recursion as chains of objects may be long."""

    def __init__(self, *, by_identity: bool = False) -> None:
        self._by_identity = by_identity
        self.identified: list[object] = []
        # What stands for an object whose description is complete, by its identity.
        self._tokens: dict[int, bytes] = {}
        # The objects that are being described, or hold one of these; and where they are among them.
        self._stack: list[object] = []
        self._positions: dict[int, int] = {}
        # An identity may be used again once its object is gone.
        self._alive: list[object] = []
        # Identifying the code of a module reads files, and many classes and functions come from one module.
        self._code_of = CodeBase().identity
        self._origins = Origins()
        self._by_kind: tuple[tuple[type, Callable[[Any], _Parts]], ...] = (
            (types.ModuleType, self._imported),
            (type, self._class),
            (types.FunctionType, self._function),
            (types.CodeType, _code),
            # Pickle would save its name only, but any function can be bound to any object.
            (types.MethodType, lambda method: _all("method", (method.__self__, method.__func__))),
            # What is read of it is observed.
            (type(os.environ), lambda environment: iter([_word("environment")])),
        )

    def token(self, value: object) -> bytes:
        """Return bytes that stand for the content of an object."""
        return self._walk(value)[0]

    def _walk(self, value: object) -> tuple[bytes, int]:
        """Return what stands for an object, and the lowest position that it refers back to."""
        frames: list[_Frame] = []
        token, reached = self._enter(value, frames)
        while frames:
            frame = frames[-1]
            part = self._next_part(frame)
            if part is None:
                token, reached = self._close(frames.pop())
            elif isinstance(part, _Of):
                token, reached = self._enter(part.value, frames)
            elif isinstance(part, _InAnyOrder):
                token, reached = self._unordered(part.values)
            else:
                frame.digest.update(part)
                continue
            # An object that was entered has no token yet.
            if token and frames:
                frames[-1].take(token, reached)
        return token, reached

    def _enter(self, value: object, frames: list[_Frame]) -> tuple[bytes, int]:
        content = _plain(value)
        if content is not None:
            return _word(type(value).__name__, content), _NOWHERE
        number = id(value)
        if number in self._tokens:
            return self._tokens[number], _NOWHERE
        if number in self._positions:
            position = self._positions[number]
            return _word("cycle", str(len(self._stack) - position).encode()), position
        position = self._positions[number] = len(self._stack)
        self._stack.append(value)
        frames.append(_Frame(value, position, self._parts(value)))
        return b"", _NOWHERE

    def _next_part(self, frame: _Frame) -> _Part | None:
        try:
            return next(frame.parts, None)
        except NotFingerprintableError:
            if not self._by_identity:
                raise
        self.identified.append(frame.value)
        frame.parts = self._identity(frame.value)
        return next(frame.parts, None)

    def _close(self, frame: _Frame) -> tuple[bytes, int]:
        content = frame.digest.digest()
        token = _word("content", content)
        if frame.lowest < frame.position:
            return token, frame.lowest
        # Nothing in it refers to what is still being described: it means the same wherever it is referred to.
        members = self._stack[frame.position :]
        del self._stack[frame.position :]
        for number, member in enumerate(members):
            del self._positions[id(member)]
            self._tokens[id(member)] = _word("member", f"{number} ".encode() + content) if number else token
        self._alive.extend(members)
        return token, _NOWHERE

    def _unordered(self, values: Iterable[object]) -> tuple[bytes, int]:
        tokens, lowest, height = [], _NOWHERE, len(self._stack)
        for value in values:
            token, reached = self._walk(value)
            tokens.append(token)
            lowest = min(lowest, reached)
            # What refers back is forgotten: its number would depend on which came first.
            for member in self._stack[height:]:
                del self._positions[id(member)]
            del self._stack[height:]
        return _word("unordered", b"".join(sorted(tokens))), lowest

    def _parts(self, value: Any) -> _Parts:
        """Yield the description of an object that is not plain."""
        describe = next((describe for kinds, describe in self._by_kind if isinstance(value, kinds)), None)
        if describe is not None:
            yield from describe(value)
        elif type(value) in (tuple, list, set, frozenset, dict):
            yield from _container(value)
        elif hasattr(type(value), "__fingerprint__"):
            # Of this package: what the object holds cannot be looked into, and it knows what tells it from others.
            yield from _all("own", (type(value), value.__fingerprint__()))
            # What somebody else has made of it.
            hooks = ("_forward_hooks", "_forward_pre_hooks")
            yield from _all("hooks", [hook for name in hooks for hook in getattr(value, name, {}).values()])
        elif (words := _array(value)) is not None:
            yield from words
        elif _is_torch(value, "nn", "Module"):
            yield from self._module(value)
        elif _is_torch(value, "fx", "Graph"):
            # Its nodes know one another, and where they came from.
            yield _word("graph", str(value).encode())
            yield from _all("targets", [node.target for node in value.nodes])
        else:
            yield from self._object(value)

    def _imported(self, value: types.ModuleType) -> _Parts:
        yield _word("module", f"{value.__name__} {self._code_of(value.__name__)}".encode())

    def _class(self, value: type) -> _Parts:
        name = _full_name(value.__module__, value.__qualname__)
        yield _word("class", f"{name} {self._code_of(value.__module__)}".encode())
        if is_users(sys.modules.get(value.__module__)):
            yield from _all("bases", value.__bases__)
            yield from _named("members", dict(_members(value)))
        else:
            yield from _named("constants", _library_constants(value))
            yield from _named("patched", self._origins.patches_of(value))

    def _function(self, value: types.FunctionType) -> _Parts:
        yield _word("function", _full_name(value.__module__, value.__qualname__).encode())
        # Not the module that it says: functools.wraps takes over that of another function.
        home = str(value.__globals__.get("__name__"))
        yield _word("code", self._code_of(home).encode())
        yield from _all("defaults", (value.__code__, value.__defaults__, value.__kwdefaults__))
        yield from _all("closure", (_cell_content(cell) for cell in value.__closure__ or ()))
        if is_users(sys.modules.get(home)):
            yield from _named("globals", _used_globals(value))
            # What it wraps is in its closure.
            yield from _named("attributes", {name: part for name, part in vars(value).items() if name != "__wrapped__"})

    def _module(self, module: Any) -> _Parts:
        """Describe a torch.nn.Module: class, plain attributes, parameters, buffers, hooks, children.

        Left out is what evaluation does not depend on: gradients, training flags, backward hooks and
        the counters that number the hooks.
        """
        yield _Of(type(module))
        torch: Any = sys.modules["torch"]
        yield _word("default", str(torch.get_default_dtype()).encode())
        everywhere = torch.nn.modules.module
        for hooks in (everywhere._global_forward_hooks, everywhere._global_forward_pre_hooks):
            yield from _all("hooks of all modules", hooks.values())
        state = dict(vars(module))
        if isinstance(module, torch.fx.GraphModule):
            # Its class has the function that was made of the graph. What tools have noted is not computed with.
            state.pop("_graph", None)
            state.pop("meta", None)
        for name in sorted(vars(torch.nn.Module()).keys() & state.keys()):
            content = state.pop(name)
            if name in ("_parameters", "_buffers", "_modules"):
                yield from _all(name, (*content.keys(), *content.values()))
            elif name in ("_forward_hooks", "_forward_pre_hooks"):
                yield from _all(name, content.values())
        yield from _named("attributes", state)

    def _object(self, value: Any) -> _Parts:
        """Describe an object by what pickle would save: how it is made, its state and its items."""
        try:
            registered = copyreg.dispatch_table.get(type(value))
            saved = registered(value) if registered else value.__reduce_ex__(4)
        except Exception as error:  # What a class does to be saved is its own code, and may raise anything.
            raise NotFingerprintableError(f"an object of type {type(value).__qualname__}: {error}") from error
        if isinstance(saved, str):
            yield _word("global", _full_name(getattr(value, "__module__", None), saved).encode())
            yield _Of(getattr(value, "__wrapped__", None))
            return
        make, arguments, state, items, pairs = (*saved, None, None, None)[:5]
        yield _Of(type(value))
        yield from _all("object", (make, arguments, _in_order(state), tuple(items or ()), tuple(pairs or ())))

    def _identity(self, value: Any) -> _Parts:
        """Describe an object that has no content to describe: which one it is, and its attributes."""
        yield _word("identity", str(id(value)).encode())
        attributes = getattr(value, "__dict__", None)
        if isinstance(attributes, dict):
            yield from _named("attributes", attributes)


def _full_name(module_name: str | None, name: str) -> str:
    """Return the name of a class or function with that of its module; for this package's own with the package's alone.

    Our modules are an implementation detail. A class that moves to another one still computes the same, and its
    version is part of the description. So cached predictions and accepted measurements stay valid.
    """
    package = str(module_name).partition(".")[0]
    return f"{package if package == THIS_PACKAGE else module_name}.{name}"


def _word(kind: str, content: Content = b"") -> bytes:
    return b"".join((f"{kind}:{len(content)}:".encode(), content))


def _all(kind: str, values: Iterable[object]) -> _Parts:
    every = list(values)
    yield _word(kind, str(len(every)).encode())
    yield from map(_Of, every)


def _code(value: types.CodeType) -> _Parts:
    # Not the file name nor the line numbers: a moved function is the same function.
    yield _word("bytecode", value.co_code)
    yield from _all("names", (value.co_names, value.co_varnames, value.co_consts))


def _container(value: Any) -> _Parts:
    if type(value) in (tuple, list):
        yield from _all(type(value).__name__, value)
    elif type(value) is dict:
        yield from _all("keys", value.keys())
        yield from _all("values", value.values())
    else:
        yield _word(type(value).__name__)
        yield _InAnyOrder(value)


def _named(kind: str, values: Mapping[str, object]) -> _Parts:
    names = sorted(values)
    yield from _all(kind, names)
    yield from _all("values", [values[name] for name in names])


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
        if unwrapped(member):
            yield name, described(member)
        elif not (name.startswith(("__", "_abc_")) or hasattr(member, "__get__")):
            yield name, member


def _library_constants(value: type) -> dict[str, object]:
    """Return the plain values that a library's class has, and those that its methods take from its module."""
    members = {
        f"{base.__qualname__}.{name}": member
        for base in value.__mro__
        for name, member in vars(base).items()
        if not name.startswith("__") and _plain(member) is not None
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
    return _plain(value) is not None


def _cell_content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # A variable that is not set yet.
        return NotImplemented


def _used_globals(function: types.FunctionType) -> dict[str, object]:
    """Return the values of its module's names that a function uses, directly or as ``module.name``.

    They may come from a file or from the environment, which the source does not tell. The environment itself is left
    out: what is read of it is observed.
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


def _array(value: Any) -> list[Content] | None:
    """Return the description of a tensor, an array or one of their types; None for anything else."""
    if _is_torch(value, "dtype") or _is_torch(value, "device") or _is_torch(value, "Size"):
        return [_word("torch", str(value).encode())]
    if _is_torch(value, "Tensor"):
        return _tensor(value)
    numpy: Any = sys.modules.get("numpy")
    if numpy is None or not (type(value) is numpy.ndarray or isinstance(value, numpy.generic)):
        return None
    if value.dtype.hasobject:
        raise NotFingerprintableError("an array of objects")
    return [_word("array", f"{value.dtype}{value.shape}".encode()), numpy.ascontiguousarray(value).tobytes()]


def _tensor(value: Any) -> list[Content]:
    torch: Any = sys.modules["torch"]
    if value.layout is not torch.strided:
        raise NotFingerprintableError(f"a {value.layout} tensor of {value.dtype}")
    words: list[Content] = [_word("tensor", f"{value.dtype}{tuple(value.shape)}".encode())]
    if value.is_quantized:
        words.append(_word("quantized", _quantization(value).encode()))
        value = value.int_repr()
    flat = value.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    # Not copied into a word: its length follows from the shape.
    return [*words, memoryview(flat.view(torch.uint8).numpy())] if flat.numel() else words


def _quantization(tensor: Any) -> str:
    """Return what the integers of a quantized tensor stand for."""
    torch: Any = sys.modules["torch"]
    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return f"{tensor.qscheme()} {tensor.q_scale()!r} {tensor.q_zero_point()}"
    scales, zeros = tensor.q_per_channel_scales().tolist(), tensor.q_per_channel_zero_points().tolist()
    return f"{tensor.qscheme()} {scales!r} {zeros!r} {tensor.q_per_channel_axis()}"
