"""How many images a share of a value takes, and which sizes and shares are possible."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

Counts = tuple[int, int, int, int]

# Shares that are suggested have so many digits.
_STEPS: Final = 10_000


@dataclass(frozen=True)
class Proportions:
    """Images inside and outside of a class, with and without a value.

    Inside, a share has the value; outside, the same share has it not.

    Attributes
    ----------
    there
        How many there are: inside with it, inside without, outside with it, outside without.
    """

    there: Counts

    def needed(self, share: float, size: int) -> Counts:
        """Return how many of `there` a selection of a size takes; the part inside is that of all images."""
        inside = round(size * sum(self.there[:2]) / sum(self.there))
        outside = size - inside
        inside_with, outside_without = round(share * inside), round(share * outside)
        return inside_with, inside - inside_with, outside - outside_without, outside_without

    def lacking(self, share: float, size: int) -> int | None:
        """Return the first place in `there` of which there are not enough, or None."""
        pairs = zip(self.needed(share, size), self.there, strict=True)
        return next((place for place, (needed, there) in enumerate(pairs) if needed > there), None)

    def missing(self, share: float) -> int | None:
        """Return the first place in `there` of which there are none, and some at any size that is large enough."""
        inside, outside = sum(self.there[:2]), sum(self.there[2:])
        parts = (share * inside, (1 - share) * inside, (1 - share) * outside, share * outside)
        return next((place for place, part in enumerate(parts) if part and not self.there[place]), None)

    def largest(self, share: float) -> int:
        """Return the largest size that is possible with a share; 0 if there is none."""
        # No number that is needed becomes less with the size, so the possible sizes come first.
        sizes = range(1, sum(self.there) + 1)
        return bisect_left(sizes, True, key=lambda size: self.lacking(share, size) is not None)

    def shares(self, size: int) -> tuple[float, float] | None:
        """Return the least and the largest share, to four digits, that are possible with a size; None without any."""
        inside_with, inside_without, outside_with, outside_without = self.there
        inside = sum(self.needed(0, size)[:2])
        outside = size - inside
        low = max([0.0, *_quotients((inside - inside_without, inside), (outside - outside_with, outside))])
        high = min([1.0, *_quotients((inside_with, inside), (outside_without, outside))])
        found = math.ceil(low * _STEPS) / _STEPS, math.floor(high * _STEPS) / _STEPS
        return found if all(self.lacking(share, size) is None for share in found) else None


def _quotients(*pairs: tuple[int, int]) -> list[float]:
    return [above / below for above, below in pairs if below]
