"""The numbers of images that a selection with a share needs, and the feasible sizes and shares."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

Counts = tuple[int, int, int, int]

# Suggested shares have four digits.
_STEPS: Final = 10_000


@dataclass(frozen=True)
class Proportions:
    """Numbers of images inside and outside of a class, with and without a value.

    In a selection with a share, that share of the images inside has the value, and the same share outside lacks it.

    Attributes
    ----------
    available
        The available images: inside with the value, inside without, outside with, outside without.
    """

    available: Counts

    def needed(self, share: float, size: int) -> Counts:
        """Return how many images a selection of a size takes; the proportion inside is that of all images."""
        inside = round(size * sum(self.available[:2]) / sum(self.available))
        outside = size - inside
        inside_with, outside_without = round(share * inside), round(share * outside)
        return inside_with, inside - inside_with, outside - outside_without, outside_without

    def lacking(self, share: float, size: int) -> int | None:
        """Return the index of the first kind of image with too few available, or None."""
        pairs = zip(self.needed(share, size), self.available, strict=True)
        return next((kind for kind, (needed, available) in enumerate(pairs) if needed > available), None)

    def missing(self, share: float) -> int | None:
        """Return the index of the first kind of image with none available that larger sizes need, or None."""
        inside, outside = sum(self.available[:2]), sum(self.available[2:])
        needed = (share * inside, (1 - share) * inside, (1 - share) * outside, share * outside)
        return next((kind for kind, count in enumerate(needed) if count and not self.available[kind]), None)

    def largest(self, share: float) -> int:
        """Return the largest feasible size for a share; 0 if there is none."""
        # No needed number decreases with the size, so all feasible sizes come first: bisect.
        sizes = range(1, sum(self.available) + 1)
        return bisect_left(sizes, True, key=lambda size: self.lacking(share, size) is not None)

    def shares(self, size: int) -> tuple[float, float] | None:
        """Return the smallest and the largest feasible share for a size, to four digits; None if there is none."""
        inside_with, inside_without, outside_with, outside_without = self.available
        inside = sum(self.needed(0, size)[:2])
        outside = size - inside
        low = max([0.0, *_quotients((inside - inside_without, inside), (outside - outside_with, outside))])
        high = min([1.0, *_quotients((inside_with, inside), (outside_without, outside))])
        bounds = math.ceil(low * _STEPS) / _STEPS, math.floor(high * _STEPS) / _STEPS
        return bounds if all(self.lacking(share, size) is None for share in bounds) else None


def _quotients(*pairs: tuple[int, int]) -> list[float]:
    return [above / below for above, below in pairs if below]
