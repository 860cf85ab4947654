"""Where values are on an axis, in per cent of its length: pictures fit any width, and their text is never scaled."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# About so many steps has an axis.
_STEPS = 4


@dataclass(frozen=True)
class Tick:
    """A value that is written at the axis, and where."""

    at: float
    text: str


@dataclass(frozen=True)
class Axis:
    """A linear axis between two round values.

    Attributes
    ----------
    low, high
        Its ends.
    step
        Between the values that are written at it.
    """

    low: float
    high: float
    step: float

    def at(self, value: float) -> float:
        """Return where a value is, from 0 to 100; at the end where it is beyond."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 1)

    @property
    def ticks(self) -> Sequence[Tick]:
        """The values that are written at it."""
        steps = round((self.high - self.low) / self.step)
        values = [self.low + number * self.step for number in range(steps + 1)]
        # What is not quite zero, from adding up, would be written with a minus.
        return [Tick(self.at(value), f"{round(value, 9) + 0.0:g}") for value in values]


def axis_over(values: Iterable[float | None]) -> Axis:
    """Return the axis that has zero and all the values on it.

    >>> axis = axis_over([0.381, 0.05, None])
    >>> axis.low, axis.high, axis.at(0.2), [tick.text for tick in axis.ticks]
    (0.0, 0.4, 50.0, ['0', '0.1', '0.2', '0.3', '0.4'])
    """
    known = [value for value in values if value is not None and math.isfinite(value)]
    least, most = min([0.0, *known]), max([0.0, *known])
    step = _round_step((most - least) / _STEPS)
    low, high = (turned(value / step) * step for turned, value in ((_floor, least), (_ceil, most)))
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
