"""Which images a report shows of a test: some of the flipped ones, from all over the dataset."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pytest_biastransfer.metrics.measurement import Measurement

# A report has at most so many images of a test: more make the file large, and nobody looks at them.
MOST_IMAGES: Final = 16


def shown_images(measurement: Measurement, newly: Collection[int] | None, counted: str = "flipped") -> list[int]:
    """Return the flipped images that are shown, of those that a metric counts, newly counted ones first.

    Of too many, some from all over the dataset: it may be sorted by class. Tests of the same images choose the same
    ones where they can, so that a page has the clean picture of an image once.
    """
    new_flips, flips = set(newly or ()), counted_flips(measurement, counted)
    new = choice_of([index for index in flips if index in new_flips], MOST_IMAGES)
    others = choice_of([index for index in flips if index not in new_flips], MOST_IMAGES - len(new))
    return [*new, *others]


def counted_flips(measurement: Measurement, counted: str) -> list[int]:
    """Return the flipped images that are in a set; a flip that never reaches the target explains no hit of it."""
    indices = [flip.index for flip in measurement.flips]
    if counted == "flipped":
        return indices
    images = {int(index) for index in measurement.outcomes.image_sets[counted]}
    return [index for index in indices if index in images]


def choice_of(images: Sequence[int], count: int) -> list[int]:
    """Return `count` of the images, in ascending order, or all if there are fewer.

    Each index has a rank of its own, and the lowest ranks are chosen. Multiples of the golden ratio without their whole
    part lie evenly between 0 and 1 (Weyl's sequence), so that the chosen images are spread over the dataset.

    >>> choice_of(range(0, 1000, 2), 4), choice_of(range(1000), 4)
    ([0, 322, 466, 610], [0, 233, 610, 843])
    """
    return sorted(sorted(images, key=_rank)[:count])


def _rank(index: int) -> int:
    # The golden ratio's fraction times 2**32, as in Knuth's multiplicative hashing.
    return index * 2_654_435_769 % 2**32
