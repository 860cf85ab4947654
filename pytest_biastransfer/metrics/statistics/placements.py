"""Where positives and negatives stand among each other by their scores, found by sorting (after Sun and Xu 2014)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]

# So many groups at most are looked for one by one.
_FEW: Final = 8


def group_parts(positive: npt.NDArray[np.bool_], codes: Integers, groups: int) -> list[Integers]:
    """Return the places of the negatives of group 0, of its positives, of the negatives of group 1, and so on."""
    keys = codes * 2 + positive
    # Numbers of 16 bits are sorted by counting, several times as fast; a few parts are found one by one faster still.
    small = keys.astype(np.int16) if 2 * groups <= 2**15 else keys
    if groups <= _FEW:
        return [np.flatnonzero(small == key) for key in range(2 * groups)]
    ends = np.cumsum(np.bincount(keys, minlength=2 * groups))
    return np.split(np.argsort(small, kind="stable"), ends[:-1])


def ascending(scores: Scores, keeps_order: bool) -> tuple[Scores, Integers | slice]:
    """Return scores in ascending order, and where they were if that is needed: to find it takes several times as long.

    Otherwise they count as if they had been in that order.
    """
    if not keeps_order:
        return np.sort(scores), slice(None)
    order = np.argsort(scores)
    return scores[order], order


def places(ranked: Scores, scores: Scores, keeps_order: bool) -> tuple[Integers, Integers]:
    """Return how many of the ranked ones have a lower score than each given one, and how many no higher one."""
    # Neighbours are found near each other: it is faster to sort first.
    sorted_scores, order = ascending(scores, keeps_order)
    found = np.empty((2, len(scores)), dtype=np.int64)
    low = np.searchsorted(ranked, sorted_scores)
    high, equal = low.copy(), ranked[np.minimum(low, len(ranked) - 1)] == sorted_scores
    high[equal] = np.searchsorted(ranked, sorted_scores[equal], side="right")
    found[0, order], found[1, order] = low, high
    return found[0], found[1]


def overtaken(low: Integers, high: Integers, n: int) -> npt.NDArray[np.int32]:
    """Return twice how many positives each of the n ranked negatives scores higher than, equal ones counted half."""
    counts = np.bincount(low, minlength=n + 1) + np.bincount(high, minlength=n + 1)
    return np.cumsum(counts[:n], dtype=np.int32)
