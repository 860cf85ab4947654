"""Groups of images by their attributes: the values of one, intervals of numbers, and intersections of several."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_biastransfer.data.attribute_values import require_attribute
from pytest_biastransfer.errors import DatasetError

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data.labelled_images import LabelledImages

# What an empty cell, a NaN and a None are as text.
MISSING: Final = frozenset({"", "nan", "NaN", "None"})
_NO_GROUP: Final = -1


@dataclass(frozen=True)
class AttributeGroups:
    """Groups of the images of a dataset.

    Attributes
    ----------
    names
        Of the groups that have images; at least two.
    codes
        For each image, the index of its group in `names`, or -1 where a value is missing; int64 of shape [images].
    """

    names: tuple[str, ...]
    codes: npt.NDArray[np.int64]


def groups_of(
    images: LabelledImages, attributes: Sequence[str], bins: Mapping[str, Sequence[float]]
) -> AttributeGroups:
    """Return the groups of images that have the same values of all attributes.

    Parameters
    ----------
    attributes
        Their names. The name of a group has a value of each, as ``"female & 40-60"``.
    bins
        By the name of an attribute whose values are numbers, the ascending ends of intervals: 40 and 60 make the
        groups ``"<40"``, ``"40-60"`` and ``">=60"``; a number at an end is in the upper interval.

    Raises
    ------
    DatasetError
        If an attribute is missing, if a value is no number where there are bins, or if there are fewer than two groups.
    """
    names, codes = _values(images, attributes[0], bins.get(attributes[0]))
    for attribute in attributes[1:]:
        other_names, other_codes = _values(images, attribute, bins.get(attribute))
        together = np.where((codes < 0) | (other_codes < 0), _NO_GROUP, codes * len(other_names) + other_codes)
        names, codes = _occurring([f"{first} & {second}" for first in names for second in other_names], together)
    if len(names) < 2:
        listed = " & ".join(attributes)
        found = f"all images of {images.name} have {listed}={names[0]!r}" if names else f"no image has a {listed}"
        raise DatasetError(f"{found}; expected at least two values")
    return AttributeGroups(tuple(names), codes)


def _values(
    images: LabelledImages, attribute: str, ends: Sequence[float] | None
) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Return the values of one attribute that occur, or the intervals, and that of each image."""
    values = require_attribute(images, attribute)
    numbers: defaultdict[str, int] = defaultdict(itertools.count().__next__)
    # `map` calls no Python code for a value: of a million, that saves a quarter of the time.
    numbered = np.fromiter(map(numbers.__getitem__, values), np.int64, len(values))
    distinct = sorted(numbers.keys() - MISSING)
    if ends is None:
        codes = {value: code for code, value in enumerate(distinct)}
        names = distinct
    else:
        codes = {value: _interval(images, attribute, value, ends) for value in distinct}
        names = interval_names(ends)
    own = np.array([codes.get(value, _NO_GROUP) for value in numbers], dtype=np.int64)
    names, own = _occurring(names, own)
    return names, own[numbered]


def interval_names(ends: Sequence[float]) -> list[str]:
    """Return the names of intervals between ascending numbers.

    >>> interval_names([40, 60])
    ['<40', '40-60', '>=60']
    """
    texts = [f"{end:g}" for end in ends]
    inner = [f"{low}-{high}" for low, high in itertools.pairwise(texts)]
    return [f"<{texts[0]}", *inner, f">={texts[-1]}"]


def _interval(images: LabelledImages, attribute: str, value: str, ends: Sequence[float]) -> int:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise DatasetError(f"bins of {attribute}: {images.name} has the value {value!r:.60}, expected numbers")
    return int(np.searchsorted(ends, number, side="right"))


def _occurring(names: Sequence[str], codes: npt.NDArray[np.int64]) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Return the names that any of the codes stands for, and for each code the index among them."""
    has_images = np.bincount(codes + 1, minlength=len(names) + 1)[1:] > 0
    places = np.append(np.cumsum(has_images) - 1, _NO_GROUP)
    return [name for name, occurs in zip(names, has_images, strict=True) if occurs], places[codes]
