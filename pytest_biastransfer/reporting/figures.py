"""Figures as plain data, and how plain data becomes objects again after it travelled as JSON."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin

if TYPE_CHECKING:
    from pytest_biastransfer.metrics.statistics.estimate import Estimate


@dataclass(frozen=True)
class Interval:
    """A figure with its confidence interval; None where it is undefined. `n` is the number of images it rests on."""

    value: float | None
    low: float | None
    high: float | None
    confidence: float | None
    n: int

    @property
    def text(self) -> str:
        """The figure with its interval.

        >>> Interval(0.25, 0.1, 0.5, 0.95, 8).text
        '0.250 [0.100, 0.500]'
        """
        if self.value is None:
            return "undefined"
        ends = "" if self.low is None or self.high is None else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.value:.3f}{ends}"


@dataclass(frozen=True)
class Limit:
    """One limit and what was observed.

    Attributes
    ----------
    metric, limit, rule
        What was demanded, such as ``"asr"``, 0.05 and ``"point"``.
    holds
        The verdict; None where it was not decided.
    note
        What to add, such as ``"within noise"``.
    observed, control
        The figure; and the control model's of the same metric, of an excess that of the metric itself.
    """

    metric: str
    limit: float
    rule: str
    holds: bool | None
    note: str
    observed: Interval
    control: Interval | None


# What there is in JSON.
_WORDS: Final[Mapping[Any, str]] = {
    (int, float): "a number",
    (list, tuple): "a list",
    dict: "an object",
    str: "a text",
    int: "a whole number",
    bool: "true or false",
}


def interval_of(estimate: Estimate) -> Interval:
    """Return an estimate as plain data."""
    numbers = (estimate, estimate.low, estimate.high, estimate.confidence)
    value, low, high, confidence = (None if math.isnan(number) else float(number) for number in numbers)
    return Interval(value, low, high, confidence, estimate.n)


def from_plain(kind: Any, content: Any) -> Any:
    """Return an object of a type that is made of dataclasses, sequences, mappings and plain data from what JSON holds.

    Raises
    ------
    TypeError, ValueError
        If that is something else.

    Examples
    --------
    >>> from_plain(Interval, {"value": 0.5, "low": 0.4, "high": 0.6, "confidence": 0.95, "n": 100})
    Interval(value=0.5, low=0.4, high=0.6, confidence=0.95, n=100)
    """
    if dataclasses.is_dataclass(kind):
        if not isinstance(content, dict):
            raise TypeError(f"expected {getattr(kind, '__name__', kind)}, found {content!r:.60}")
        hints = _hints(typing.cast("typing.Hashable", kind))
        return kind(**{name: from_plain(hints[name], part) for name, part in content.items()})  # type: ignore[operator]
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (typing.Union, types.UnionType):
        (inner,) = (part for part in parts if part is not types.NoneType)
        return None if content is None else from_plain(inner, content)
    if origin is Sequence:
        return [from_plain(parts[0], part) for part in _expected((list, tuple), content)]
    if origin is Mapping:
        return {name: from_plain(parts[1], part) for name, part in _expected(dict, content).items()}
    if origin is Literal:
        if content not in parts:
            raise ValueError(f"expected one of {', '.join(map(str, parts))}, found {content!r:.60}")
        return content
    return content if kind is Any else _expected((int, float) if kind is float else kind, content)


@functools.cache
def _hints(kind: typing.Hashable) -> Mapping[str, Any]:
    return typing.get_type_hints(kind)


def _expected(kind: Any, content: Any) -> Any:
    if not isinstance(content, kind):
        raise TypeError(f"expected {_WORDS.get(kind) or kind.__name__}, found {content!r:.60}")
    return content
