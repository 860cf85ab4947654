"""JSON -> dataclasses: reads plain data back into the types that wrote it, and refuses anything else."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, get_args, get_origin

# JSON's own terms for what Python reads from it; they stand in messages.
_JSON_TYPES: Final[Mapping[Any, str]] = {
    (int, float): "a number",
    (list, tuple): "a list",
    dict: "an object",
    str: "a string",
    int: "a whole number",
    bool: "true or false",
}


def from_plain(kind: Any, content: Any) -> Any:
    """Return an object of the type `kind` from plain data, such as `json.loads` returns.

    Parameters
    ----------
    kind
        A dataclass, ``Sequence[...]``, ``Mapping[str, ...]``, ``Literal[...]``, an optional of these, ``Any``, or a
        plain type. The types of a dataclass's fields are read from its annotations.
    content
        The plain data.

    Raises
    ------
    TypeError, ValueError, KeyError
        If the data does not have the form that the type demands; KeyError for a field that a dataclass lacks.

    Examples
    --------
    >>> from pytest_biastransfer.reporting.figures import Interval
    >>> from_plain(Interval, {"value": 0.5, "low": 0.4, "high": 0.6, "confidence": 0.95, "n": 100})
    Interval(value=0.5, low=0.4, high=0.6, confidence=0.95, n=100)
    """
    if dataclasses.is_dataclass(kind):
        if not isinstance(content, dict):
            raise TypeError(f"expected {getattr(kind, '__name__', kind)}, found {content!r:.60}")
        hints = _hints(typing.cast("typing.Hashable", kind))
        return kind(**{name: from_plain(hints[name], field) for name, field in content.items()})  # type: ignore[operator]
    origin, arguments = get_origin(kind), get_args(kind)
    # Only optional types are supported: of several types, plain data would not tell which one was written.
    if origin in (typing.Union, types.UnionType):
        (inner,) = (argument for argument in arguments if argument is not types.NoneType)
        return None if content is None else from_plain(inner, content)
    if origin is Sequence:
        return [from_plain(arguments[0], entry) for entry in _of_type((list, tuple), content)]
    if origin is Mapping:
        return {name: from_plain(arguments[1], entry) for name, entry in _of_type(dict, content).items()}
    if origin is Literal:
        if content not in arguments:
            raise ValueError(f"expected one of {', '.join(map(str, arguments))}, found {content!r:.60}")
        return content
    # JSON writers may leave out the decimal point of a whole number.
    return content if kind is Any else _of_type((int, float) if kind is float else kind, content)


@functools.cache
def _hints(kind: typing.Hashable) -> Mapping[str, Any]:
    """Return the types of a dataclass's fields; cached, because evaluating annotations takes long."""
    return typing.get_type_hints(kind)


def _of_type(kind: Any, content: Any) -> Any:
    """Return the content if it is an instance of `kind`."""
    # For Python, True is a whole number. For JSON, it is not.
    if not isinstance(content, kind) or (isinstance(content, bool) and kind is not bool):
        raise TypeError(f"expected {_JSON_TYPES.get(kind) or kind.__name__}, found {content!r:.60}")
    return content
