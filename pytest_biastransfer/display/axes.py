"""Axes of charts. Positions are in per cent of the axis, so that charts fit any width and their text is not scaled."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# The approximate number of steps of an axis.
_STEPS = 4


@dataclass(frozen=True)
class Tick:
    """A labelled value of an axis: its position in per cent, and its text."""

    at: float
    text: str


@dataclass(frozen=True)
class Axis:
    """A linear axis between two round values.

    Attributes
    ----------
    low, high
        The values at its ends.
    step
        The distance between two labelled values.
    """

    low: float
    high: float
    step: float

    def at(self, value: float) -> float:
        """Return the position of a value, from 0 to 100; a value beyond an end is at that end."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 1)

    def from_top(self, value: float) -> float:
        """Return the distance of a value from the top of the axis if that is vertical, from 0 to 100."""
        return round(100 - self.at(value), 1)

    @property
    def ticks(self) -> Sequence[Tick]:
        """The labelled values."""
        steps = round((self.high - self.low) / self.step)
        values = [self.low + number * self.step for number in range(steps + 1)]
        # Rounding errors of the sum would print a zero as -0.
        return [Tick(self.at(value), f"{round(value, 9) + 0.0:g}") for value in values]

    @property
    def ticks_from_top(self) -> Sequence[Tick]:
        """The labelled values, at their distances from the top."""
        return [Tick(round(100 - tick.at, 1), tick.text) for tick in self.ticks]


def axis_over(values: Iterable[float | None]) -> Axis:
    """Return the shortest axis with round ends that covers 0 and all the values; None and NaN are left out.

    >>> axis = axis_over([0.381, 0.05, None])
    >>> axis.low, axis.high, axis.at(0.2), [tick.text for tick in axis.ticks]
    (0.0, 0.4, 50.0, ['0', '0.1', '0.2', '0.3', '0.4'])
    """
    finite = [value for value in values if value is not None and math.isfinite(value)]
    least, most = min([0.0, *finite]), max([0.0, *finite])
    step = _round_step((most - least) / _STEPS)
    low, high = _floor(least / step) * step, _ceil(most / step) * step
    # If all values are 0, the axis still needs a length.
    return Axis(low, high, step) if high > low else Axis(0.0, step, step)


def _round_step(least: float) -> float:
    """Return 1, 2, 2.5 or 5 times a power of ten that is not below `least`."""
    if least <= 0:
        return 0.25
    power = 10.0 ** math.floor(math.log10(least))
    # 0.3 / 0.1 is a little less than 3, and 0.30000000000000004 / 0.1 a little more.
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= least * (1 - 1e-9))


def _floor(value: float) -> int:
    return math.floor(value + 1e-9)


def _ceil(value: float) -> int:
    return math.ceil(value - 1e-9)
