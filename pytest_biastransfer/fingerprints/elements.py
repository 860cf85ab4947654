"""What the description of an object consists of: bytes, and objects to describe in turn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

Content = bytes | memoryview


class NotFingerprintableError(Exception):
    """An object has state that cannot be described by its content, such as an open file or a lock."""


class ReferredObject(NamedTuple):
    """An object that another one refers to."""

    value: object


class UnorderedObjects(NamedTuple):
    """Objects whose order does not matter."""

    values: Iterable[object]


Element = Content | ReferredObject | UnorderedObjects
Elements = Iterator[Element]


def word(kind: str, content: Content = b"") -> bytes:
    """Return bytes with their kind and length before them, so that no two sequences of words are equal."""
    return b"".join((f"{kind}:{len(content)}:".encode(), content))


def all_of(kind: str, values: Iterable[object]) -> Elements:
    """Yield objects to describe, in their order, after their number."""
    objects = list(values)
    # The number of objects is part of the description: otherwise [[1], 2] and [[1, 2]] would be the same.
    yield word(kind, str(len(objects)).encode())
    yield from map(ReferredObject, objects)


def named(kind: str, values: Mapping[str, object]) -> Elements:
    """Yield names in alphabetical order, and then the objects that have them."""
    names = sorted(values)
    yield from all_of(kind, names)
    yield from all_of("values", [values[name] for name in names])


def plain_content(value: object) -> bytes | None:
    """Return the content of a plain value, or None for anything else."""
    kind = type(value)
    if kind is int:
        return f"{value:x}".encode()
    if kind is str:
        return str(value).encode("utf-8", "surrogatepass")
    if kind in (bool, float, complex, bytes, type(None), type(Ellipsis), type(NotImplemented)):
        return repr(value).encode()
    return None
