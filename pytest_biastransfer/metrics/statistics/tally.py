"""Images of a measurement, counted: of a share, or of a mean of -1, 0 or 1 an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Tally(NamedTuple):
    """The images of one measurement, counted.

    Attributes
    ----------
    plus
        How many count; of a mean, how many add 1 to its sum.
    images
        How many there are.
    minus
        Of a mean of -1, 0 or 1, how many subtract 1; None of a share.
    """

    plus: int
    images: int
    minus: int | None = None

    @property
    def mean(self) -> float:
        """The share, or the mean; 0 without images."""
        return (self.plus - (self.minus or 0)) / max(1, self.images)

    @property
    def opposite(self) -> Tally:
        """The share of the other images, or the mean with the other sign.

        >>> Tally(9, 10).opposite, Tally(5, 10, minus=2).opposite
        (Tally(plus=1, images=10, minus=None), Tally(plus=2, images=10, minus=5))
        """
        if self.minus is None:
            return Tally(self.images - self.plus, self.images)
        return Tally(self.minus, self.images, self.plus)


def total(tallies: Sequence[Tally]) -> Tally:
    """Return the images of several measurements of one kind together.

    >>> total([Tally(3, 10), Tally(5, 20)])
    Tally(plus=8, images=30, minus=None)
    """
    has_minus = any(tally.minus is not None for tally in tallies)
    minus = sum(tally.minus or 0 for tally in tallies) if has_minus else None
    return Tally(sum(tally.plus for tally in tallies), sum(tally.images for tally in tallies), minus)
