"""Content fingerprints: equal objects have equal fingerprints, on any machine and in any session.

A cached prediction may be used only if everything that it depends on is unchanged. So an object whose content cannot be
described raises `NotFingerprintableError`; nothing is left out silently.

The description of an object consists of its type and the digests of the objects that it refers to. Each object is
described once: the work grows with the number of objects, not with the number of paths to them. In a cycle, objects are
numbered from the one that was reached first.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from pytest_biastransfer.fingerprints.arrays import is_torch
from pytest_biastransfer.fingerprints.elements import (
    Element,
    Elements,
    NotFingerprintableError,
    ReferredObject,
    UnorderedObjects,
    plain_content,
    word,
)
from pytest_biastransfer.fingerprints.objects import ObjectElements, identity
from pytest_biastransfer.fingerprints.patches import Origins
from pytest_biastransfer.fingerprints.source_code import CodeBase
from pytest_biastransfer.fingerprints.tensor_tokens import TensorTokens

# Above all positions on the stack: the object refers back to none that is still being described.
_NOWHERE: Final = sys.maxsize


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


class _Frame:
    """One object that is being described."""

    def __init__(self, value: object, position: int, elements: Elements) -> None:
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
        self._elements_of = ObjectElements(self._code.identity, self._code.origins).of

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
            elif isinstance(element, ReferredObject):
                token, reached = self._enter(element.value, frames)
            elif isinstance(element, UnorderedObjects):
                token, reached = self._unordered(element.values)
            else:
                frame.digest.update(element)
                continue
            # An object that was just entered has no token yet; it gets one when its frame is closed.
            if token and frames:
                frames[-1].add(token, reached)
        return token, reached

    def _enter(self, value: object, frames: list[_Frame]) -> tuple[bytes, int]:
        content = plain_content(value)
        if content is not None:
            return word(type(value).__name__, content), _NOWHERE
        number = id(value)
        if number in self._tokens:
            return self._tokens[number], _NOWHERE
        unchanged = _tensor_tokens.token(value) if is_torch(value, "Tensor") else None
        if unchanged is not None:
            return unchanged, _NOWHERE
        if number in self._positions:
            position = self._positions[number]
            return word("cycle", str(len(self._stack) - position).encode()), position
        position = self._positions[number] = len(self._stack)
        self._stack.append(value)
        frames.append(_Frame(value, position, self._elements_of(value)))
        return b"", _NOWHERE

    def _next_element(self, frame: _Frame) -> Element | None:
        try:
            return next(frame.elements, None)
        except NotFingerprintableError:
            if not self._by_identity:
                raise
        self.identified.append(frame.value)
        frame.elements = identity(frame.value)
        return next(frame.elements, None)

    def _close(self, frame: _Frame) -> tuple[bytes, int]:
        content = frame.digest.digest()
        token = word("content", content)
        if frame.lowest < frame.position:
            return token, frame.lowest
        # The root of a component: no member refers to an object that is still being described. So the tokens do not
        # depend on the path by which the component was reached, and can be used again.
        members = self._stack[frame.position :]
        del self._stack[frame.position :]
        for number, member in enumerate(members):
            del self._positions[id(member)]
            self._tokens[id(member)] = word("member", f"{number} ".encode() + content) if number else token
        self._alive.extend(members)
        if is_torch(frame.value, "Tensor"):
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
        return word("unordered", b"".join(sorted(tokens))), lowest
