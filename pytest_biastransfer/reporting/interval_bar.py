"""An interval beside its limit, as a few characters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pytest_biastransfer.reporting.figures import Limit

WIDTH: Final = 16
_NICE: Final = (0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True)
class Scale:
    """What the ends of all bars stand for."""

    low: float
    high: float

    @classmethod
    def of(cls, limits: Iterable[Limit]) -> Scale:
        """Return the smallest plain scale that the limits and what was observed are on.

        It begins at 0, unless something itself is below that, and not only the end of an interval.

        >>> from pytest_biastransfer.reporting.figures import Interval
        >>> Scale.of([Limit("asr", 0.05, "point", False, "", Interval(0.3, 0.25, 0.35, 0.95, 300), None)])
        Scale(low=0.0, high=0.5)
        """
        drawn = list(limits)
        most = max((abs(number) for limit in drawn for number in (limit.limit, *_ends(limit))), default=1.0)
        high = next((nice for nice in _NICE if most <= nice), 1.0)
        least = min((number for limit in drawn for number in (limit.limit, limit.observed.value or 0.0)), default=0.0)
        return cls(-high if least < 0 else 0.0, high)

    def bar(self, limit: Limit, width: int = WIDTH) -> str:
        """Return the interval as a heavy line, and the limit as an upright one, in so many characters.

        >>> from pytest_biastransfer.reporting.figures import Interval
        >>> Scale(0.0, 0.5).bar(Limit("asr", 0.05, "point", False, "", Interval(0.3, 0.25, 0.35, 0.95, 300), None))
        '·│······━━━·····'
        """
        cells = ["·"] * width
        ends = _ends(limit)
        if ends:
            # In half characters, and never nothing.
            first, last = (round(self._share(end) * 2 * width) for end in (min(ends), max(ends)))
            first = min(first, 2 * width - 1)
            last = max(last, first + 1)
            for place in range(width):
                left, right = first <= 2 * place < last, first <= 2 * place + 1 < last
                cells[place] = {(True, True): "━", (True, False): "╸", (False, True): "╺"}.get((left, right), "·")
        cells[min(int(self._share(limit.limit) * width), width - 1)] = "│"
        return "".join(cells)

    def _share(self, value: float) -> float:
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)


def _ends(limit: Limit) -> Sequence[float]:
    observed = limit.observed
    return [end for end in (observed.low, observed.value, observed.high) if end is not None]
