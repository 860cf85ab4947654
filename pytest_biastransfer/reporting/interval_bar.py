"""An interval and its limit, drawn as a bar of a few characters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pytest_biastransfer.reporting.figures import Limit

WIDTH: Final = 16
_ROUND_ENDS: Final = (0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True)
class Scale:
    """The values at the left and the right end of all bars of a table."""

    low: float
    high: float

    @classmethod
    def of(cls, limits: Iterable[Limit]) -> Scale:
        """Return the smallest round scale that covers all limits and observed values.

        It begins at 0, unless a limit or a value is negative. An interval alone that reaches below 0 is cut off there.

        >>> from pytest_biastransfer.reporting.figures import Interval
        >>> Scale.of([Limit("asr", 0.05, "point", False, "", Interval(0.3, 0.25, 0.35, 0.95, 300), None)])
        Scale(low=0.0, high=0.5)
        """
        limits = list(limits)
        most = max((abs(number) for limit in limits for number in (limit.limit, *_ends(limit))), default=1.0)
        high = next((end for end in _ROUND_ENDS if most <= end), 1.0)
        least = min((number for limit in limits for number in (limit.limit, limit.observed.value or 0.0)), default=0.0)
        return cls(-high if least < 0 else 0.0, high)

    def bar(self, limit: Limit, width: int = WIDTH) -> str:
        """Return a bar of `width` characters: the interval is a heavy line, the limit an upright one.

        >>> from pytest_biastransfer.reporting.figures import Interval
        >>> Scale(0.0, 0.5).bar(Limit("asr", 0.05, "point", False, "", Interval(0.3, 0.25, 0.35, 0.95, 300), None))
        '·│······━━━·····'
        """
        cells = ["·"] * width
        ends = _ends(limit)
        if ends:
            # In half characters; the narrowest interval still takes one, so that it can be seen.
            first, last = (round(self._share(end) * 2 * width) for end in (min(ends), max(ends)))
            first = min(first, 2 * width - 1)
            last = max(last, first + 1)
            for index in range(width):
                left, right = first <= 2 * index < last, first <= 2 * index + 1 < last
                cells[index] = {(True, True): "━", (True, False): "╸", (False, True): "╺"}.get((left, right), "·")
        # A limit at the end of the scale would fall one cell behind the bar.
        cells[min(int(self._share(limit.limit) * width), width - 1)] = "│"
        return "".join(cells)

    def _share(self, value: float) -> float:
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)


def _ends(limit: Limit) -> Sequence[float]:
    observed = limit.observed
    return [end for end in (observed.low, observed.value, observed.high) if end is not None]
