"""Where the values of a setting are on a horizontal axis: by their size, on a logarithm, or side by side."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

Scale = Literal["linear", "log", "symlog", "words"]

# Numbers that reach from one to so many times as much are drawn on a logarithmic axis.
_WIDE: Final = 50


@dataclass(frozen=True)
class Positions:
    """The horizontal axis of curves.

    Attributes
    ----------
    scale
        ``"symlog"`` is linear from 0 to `threshold`, where a logarithm has no room for 0.
    coordinates
        The number that each value is drawn at.
    threshold
        The smallest number above 0; 0 unless the scale is ``"symlog"``.
    """

    scale: Scale
    coordinates: Mapping[object, float]
    threshold: float = 0.0

    def share(self, value: object) -> float:
        """Return where a value is, from 0 at the left end to 1 at the right one; a single value is in the middle."""
        numbers = [self._stretched(coordinate) for coordinate in self.coordinates.values()]
        low, high = min(numbers), max(numbers)
        return (self._stretched(self.coordinates[value]) - low) / (high - low) if high > low else 0.5

    def _stretched(self, number: float) -> float:
        if self.scale == "log":
            return math.log10(number)
        if self.scale == "symlog":
            return math.log10(number / self.threshold) + 1 if number > self.threshold else number / self.threshold
        return number


def positions_of(values: Sequence[Any]) -> Positions:
    """Return where the values of a setting are; the axis is one of numbers if all of them are numbers.

    >>> positions_of([0.001, 0.1]).scale, positions_of([0, 0.001, 0.1]).scale, positions_of(["a", "b"]).coordinates
    ('log', 'symlog', {'a': 0.0, 'b': 1.0})
    """
    if not are_numbers(values):
        return Positions("words", {value: float(coordinate) for coordinate, value in enumerate(values)})
    coordinates = {value: float(value) for value in values}
    above_zero = [number for number in coordinates.values() if number > 0]
    if not above_zero or min(coordinates.values()) < 0 or max(above_zero) / min(above_zero) < _WIDE:
        return Positions("linear", coordinates)
    return (
        Positions("log", coordinates)
        if min(coordinates.values()) > 0
        else Positions("symlog", coordinates, min(above_zero))
    )


def are_numbers(values: Iterable[Any]) -> bool:
    """Return whether all values of a setting are numbers."""
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def value_text(value: object) -> str:
    """Return the value of a setting in words.

    >>> value_text(0.1), value_text("full-network")
    ('0.1', 'full-network')
    """
    return f"{value:g}" if isinstance(value, float) else str(value)
