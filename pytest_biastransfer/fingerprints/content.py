"""Content fingerprints: equal objects have equal fingerprints, on any machine and in any session.

A cached prediction may be used only if everything that it depends on is unchanged. So an object whose content cannot be
described raises `NotFingerprintableError`; nothing is left out silently.

The description of an object consists of its type and the digests of the objects that it refers to. Each object is
described once: the work grows with the number of objects, not with the number of paths to them. In a cycle, objects are
numbered from the one that was reached first.
"""

from __future__ import annotations

import copyreg
import hashlib
import os
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from pytest_biastransfer.fingerprints.installed import FRAMEWORKS
from pytest_biastransfer.fingerprints.patches import Origins, described, unwrapped
from pytest_biastransfer.fingerprints.source_code import THIS_PACKAGE, CodeBase, is_users
from pytest_biastransfer.fingerprints.tensor_tokens import TensorTokens

Content = bytes | memoryview

# Above all positions on the stack: the object refers back to none that is still being described.
_NOWHERE: Final = sys.maxsize


class NotFingerprintableError(Exception):
    """An object has state that cannot be described by its content, such as an open file or a lock."""


def fingerprint(*objects: object) -> str:
    """Return 32 hexadecimal digits that depend on the content of `objects` and on nothing else.

    Classes and functions are described by their code, by the values that it refers to, and by the files of the user's
    modules or the versions of the libraries that they come from. Other objects are described by what pickle would save
    of them.

    Raises
    ------
    NotFingerprintableError
        If pickle cannot save an object.

    Examples
    --------

    >>> fingerprint("a", 1) == fingerprint("a", 1), fingerprint("a", 1) == fingerprint("a", 1.0)
    (True, False)
    """
    return _digits(_Description().token(objects))


def fingerprint_in_session(*objects: object) -> tuple[str, list[object]]:
    """Return a fingerprint that is valid in this process, and the objects that must stay alive meanwhile.

    Objects whose content cannot be described are described by their identity and attributes. Their identity may be
    reused once they are gone.
    """
    description = _Description(by_identity=True)
    return _digits(description.token(objects)), description.identified


class ExaminedCode:
    """The code of classes and modules, each examined once: many of them share a module.

    One walk over an object graph has one. Several walks may share it as long as no class changes meanwhile.
    """

    def __init__(self) -> None:
        self.identity = CodeBase().identity
        self.origins = Origins()
        # The tokens of classes by their identity, and the classes, which must stay alive.
        self.tokens: dict[int, bytes] = {}
        self.classes: list[type] = []

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Have all fingerprints that are computed in this context use this examination."""
        token = _examined.set(self)
        try:
            yield
        finally:
            _examined.reset(token)


_tensor_tokens: Final = TensorTokens()
_examined: Final[ContextVar[ExaminedCode | None]] = ContextVar("_examined", default=None)


def _digits(token: bytes) -> str:
    return hashlib.sha256(token).hexdigest()[:32]


class _Reference(NamedTuple):
    """An object that another one refers to."""

    value: object


class _Unordered(NamedTuple):
    """Objects whose order does not matter."""

    values: Iterable[object]


# What a description consists of: bytes, and objects to describe in turn.
_Element = Content | _Reference | _Unordered
_Elements = Iterator[_Element]


class _Frame:
    """One object that is being described."""

    def __init__(self, value: object, position: int, elements: _Elements) -> None:
        self.value = value
        self.position = position
        self.elements = elements
        self.digest = hashlib.sha256()
        # The lowest stack position that the object, or one that it refers to, refers back to ("low link").
        self.lowest = position

    def add(self, token: bytes, reached: int) -> None:
        """Add the token of an object that this one refers to."""
        self.digest.update(token)
        self.lowest = min(self.lowest, reached)


class _Description:
    """One walk over an object graph: Tarjan's algorithm for strongly connected components.

    It does not recurse: a chain of objects, such as an autograd graph, may be longer than Python's stack.
    """

    def __init__(self, *, by_identity: bool = False) -> None:
        self._by_identity = by_identity
        self.identified: list[object] = []
        self._code = _examined.get() or ExaminedCode()
        # The tokens of objects whose description is complete, by the objects' identity.
        self._tokens = {} if by_identity else dict(self._code.tokens)
        # The objects that are being described or refer to one of these, and their positions.
        self._stack: list[object] = []
        self._positions: dict[int, int] = {}
        # Keeps objects alive: Python may reuse an identity once its object is gone.
        self._alive: list[object] = []
        self._code_of = self._code.identity
        self._origins = self._code.origins
        self._by_kind: tuple[tuple[type, Callable[[Any], _Elements]], ...] = (
            (types.ModuleType, self._imported),
            (type, self._class),
            (types.FunctionType, self._function),
            (types.CodeType, _code),
            # Pickle would save the name only, but any function can be bound to any object.
            (types.MethodType, lambda method: _all("method", (method.__self__, method.__func__))),
            # Its content is no part of it: `observation` records which variables are read.
            (type(os.environ), lambda environment: iter([_word("environment")])),
        )

    def token(self, value: object) -> bytes:
        """Return bytes that identify the content of an object."""
        return self._walk(value)[0]

    def _walk(self, value: object) -> tuple[bytes, int]:
        """Return the token of an object, and the lowest stack position that it refers back to."""
        frames: list[_Frame] = []
        token, reached = self._enter(value, frames)
        while frames:
            frame = frames[-1]
            element = self._next_element(frame)
            if element is None:
                token, reached = self._close(frames.pop())
            elif isinstance(element, _Reference):
                token, reached = self._enter(element.value, frames)
            elif isinstance(element, _Unordered):
                token, reached = self._unordered(element.values)
            else:
                frame.digest.update(element)
                continue
            # An object that was just entered has no token yet; it gets one when its frame is closed.
            if token and frames:
                frames[-1].add(token, reached)
        return token, reached

    def _enter(self, value: object, frames: list[_Frame]) -> tuple[bytes, int]:
        content = _plain(value)
        if content is not None:
            return _word(type(value).__name__, content), _NOWHERE
        number = id(value)
        if number in self._tokens:
            return self._tokens[number], _NOWHERE
        unchanged = _tensor_tokens.token(value) if _is_torch(value, "Tensor") else None
        if unchanged is not None:
            return unchanged, _NOWHERE
        if number in self._positions:
            position = self._positions[number]
            return _word("cycle", str(len(self._stack) - position).encode()), position
        position = self._positions[number] = len(self._stack)
        self._stack.append(value)
        frames.append(_Frame(value, position, self._elements(value)))
        return b"", _NOWHERE

    def _next_element(self, frame: _Frame) -> _Element | None:
        try:
            return next(frame.elements, None)
        except NotFingerprintableError:
            if not self._by_identity:
                raise
        self.identified.append(frame.value)
        frame.elements = self._identity(frame.value)
        return next(frame.elements, None)

    def _close(self, frame: _Frame) -> tuple[bytes, int]:
        content = frame.digest.digest()
        token = _word("content", content)
        if frame.lowest < frame.position:
            return token, frame.lowest
        # The root of a component: no member refers to an object that is still being described. So the tokens do not
        # depend on the path by which the component was reached, and can be used again.
        members = self._stack[frame.position :]
        del self._stack[frame.position :]
        for number, member in enumerate(members):
            del self._positions[id(member)]
            self._tokens[id(member)] = _word("member", f"{number} ".encode() + content) if number else token
        self._alive.extend(members)
        if _is_torch(frame.value, "Tensor"):
            _tensor_tokens.note(frame.value, token)
        # In a component of several objects, the tokens depend on the one that was reached first.
        if isinstance(frame.value, type) and len(members) == 1 and not self._by_identity:
            self._code.tokens[id(frame.value)] = token
            self._code.classes.append(frame.value)
        return token, _NOWHERE

    def _unordered(self, values: Iterable[object]) -> tuple[bytes, int]:
        tokens, lowest, height = [], _NOWHERE, len(self._stack)
        for value in values:
            token, reached = self._walk(value)
            tokens.append(token)
            lowest = min(lowest, reached)
            # Members that refer back are forgotten: their numbers would depend on the order of the set.
            for member in self._stack[height:]:
                del self._positions[id(member)]
            del self._stack[height:]
        return _word("unordered", b"".join(sorted(tokens))), lowest

    def _elements(self, value: Any) -> _Elements:
        """Yield the description of an object that is not plain."""
        describe = next((describe for kind, describe in self._by_kind if isinstance(value, kind)), None)
        if describe is not None:
            yield from describe(value)
        elif type(value) in (tuple, list, set, frozenset, dict):
            yield from _container(value)
        elif hasattr(type(value), "__fingerprint__"):
            # A class of this package with state that cannot be described, such as a compiled program: it names its
            # own inputs.
            yield from _all("own", (type(value), value.__fingerprint__()))
            # Hooks that the user has added.
            hooks = ("_forward_hooks", "_forward_pre_hooks")
            yield from _all("hooks", [hook for name in hooks for hook in getattr(value, name, {}).values()])
        elif (array := _array(value)) is not None:
            yield from array
        elif _is_torch(value, "nn", "Module"):
            yield from self._module(value)
        elif _is_torch(value, "fx", "Graph"):
            # Not as an object: its nodes refer to one another, and to the code lines that they were traced from.
            yield _word("graph", str(value).encode())
            yield from _all("targets", [node.target for node in value.nodes])
        else:
            yield from self._object(value)

    def _imported(self, value: types.ModuleType) -> _Elements:
        yield _word("module", f"{value.__name__} {self._code_of(value.__name__)}".encode())

    def _class(self, value: type) -> _Elements:
        name = _full_name(value.__module__, value.__qualname__)
        yield _word("class", f"{name} {self._code_of(value.__module__)}".encode())
        if is_users(sys.modules.get(value.__module__)):
            yield from _all("bases", value.__bases__)
            yield from _named("members", dict(_members(value)))
        else:
            yield from _named("constants", _library_constants(value))
            yield from _named("patched", self._origins.patches_of(value))

    def _function(self, value: types.FunctionType) -> _Elements:
        yield _word("function", _full_name(value.__module__, value.__qualname__).encode())
        # Not `__module__`: functools.wraps copies that of the wrapped function.
        home = str(value.__globals__.get("__name__"))
        yield _word("code", self._code_of(home).encode())
        yield from _all("defaults", (value.__code__, value.__defaults__, value.__kwdefaults__))
        yield from _all("closure", (_cell_content(cell) for cell in value.__closure__ or ()))
        if is_users(sys.modules.get(home)):
            yield from _named("globals", _used_globals(value))
            # `__wrapped__` is in the closure already.
            attributes = {name: attribute for name, attribute in vars(value).items() if name != "__wrapped__"}
            yield from _named("attributes", attributes)

    def _module(self, module: Any) -> _Elements:
        """Describe a torch.nn.Module: class, plain attributes, parameters, buffers, hooks, children.

        Evaluation does not depend on gradients, training flags, backward hooks and the numbers of hooks; these are
        left out.
        """
        yield _Reference(type(module))
        torch: Any = sys.modules["torch"]
        yield _word("default", str(torch.get_default_dtype()).encode())
        everywhere = torch.nn.modules.module
        for hooks in (everywhere._global_forward_hooks, everywhere._global_forward_pre_hooks):
            yield from _all("hooks of all modules", hooks.values())
        state = dict(vars(module))
        if isinstance(module, torch.fx.GraphModule):
            # The graph is in the generated class already; `meta` has notes of tools, which do not compute anything.
            state.pop("_graph", None)
            state.pop("meta", None)
        for name in sorted(vars(torch.nn.Module()).keys() & state.keys()):
            content = state.pop(name)
            if name in ("_parameters", "_buffers", "_modules"):
                yield from _all(name, (*content.keys(), *content.values()))
            elif name in ("_forward_hooks", "_forward_pre_hooks"):
                yield from _all(name, content.values())
        yield from _named("attributes", state)

    def _object(self, value: Any) -> _Elements:
        """Describe an object by what pickle would save: its constructor, its state and its items."""
        try:
            registered = copyreg.dispatch_table.get(type(value))
            saved = registered(value) if registered else value.__reduce_ex__(4)
        except Exception as error:  # `__reduce_ex__` is code of the user's class, and may raise anything.
            raise NotFingerprintableError(f"an object of type {type(value).__qualname__}: {error}") from error
        if isinstance(saved, str):
            yield _word("global", _full_name(getattr(value, "__module__", None), saved).encode())
            yield _Reference(getattr(value, "__wrapped__", None))
            return
        constructor, arguments, state, items, pairs = (*saved, None, None, None)[:5]
        yield _Reference(type(value))
        yield from _all("object", (constructor, arguments, _in_order(state), tuple(items or ()), tuple(pairs or ())))

    def _identity(self, value: Any) -> _Elements:
        """Describe an object by its identity and attributes, as its content cannot be described."""
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


def _all(kind: str, values: Iterable[object]) -> _Elements:
    objects = list(values)
    # The number of objects is part of the description: otherwise [[1], 2] and [[1, 2]] would be the same.
    yield _word(kind, str(len(objects)).encode())
    yield from map(_Reference, objects)


def _code(value: types.CodeType) -> _Elements:
    # Without file name and line numbers: a function that is moved within a file is the same function.
    yield _word("bytecode", value.co_code)
    yield from _all("names", (value.co_names, value.co_varnames, value.co_consts))


def _container(value: Any) -> _Elements:
    if type(value) in (tuple, list):
        yield from _all(type(value).__name__, value)
    elif type(value) is dict:
        yield from _all("keys", value.keys())
        yield from _all("values", value.values())
    else:
        yield _word(type(value).__name__)
        yield _Unordered(value)


def _named(kind: str, values: Mapping[str, object]) -> _Elements:
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
    """Return the attributes of an object sorted by name: the order in which they were set does not matter."""
    if type(state) is dict and all(type(name) is str for name in state):
        return dict(sorted(state.items()))
    return state


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


def _is_torch(value: object, *path: str) -> bool:
    """Whether `value` is an instance of a class of torch, without importing torch."""
    kind: Any = sys.modules.get("torch")
    for name in path:
        kind = getattr(kind, name, None)
    return kind is not None and isinstance(value, kind)


def _array(value: Any) -> list[Content] | None:
    """Return the description of a tensor, an array, a dtype, device or size; None for anything else."""
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
    description: list[Content] = [_word("tensor", f"{value.dtype}{tuple(value.shape)}".encode())]
    if value.is_quantized:
        description.append(_word("quantized", _quantization(value).encode()))
        value = value.int_repr()
    flat = value.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    # A view, not a copy, of the weights. It needs no length: that follows from the shape.
    return [*description, memoryview(flat.view(torch.uint8).numpy())] if flat.numel() else description


def _quantization(tensor: Any) -> str:
    """Return the scales and zero points of a quantized tensor."""
    torch: Any = sys.modules["torch"]
    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return f"{tensor.qscheme()} {tensor.q_scale()!r} {tensor.q_zero_point()}"
    scales, zeros = tensor.q_per_channel_scales().tolist(), tensor.q_per_channel_zero_points().tolist()
    return f"{tensor.qscheme()} {scales!r} {zeros!r} {tensor.q_per_channel_axis()}"
