"""How far a sum gets from 0 if each of its terms has a random sign: what exchanging two measurements of images does."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from math import prod, sqrt
from typing import Final

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.metrics.statistics.combinatorics import log_ways
from pytest_biastransfer.metrics.statistics.normal_tail import normal_p_value

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Combinations up to which all are looked at.
_MANY: Final = 2**19


def exchange_p_value(total: int, counts: Mapping[int, int]) -> float:
    """Return the probability that a sum with random signs is as far from 0 as `total`, or farther.

    It is exact where at most half a million combinations have to be looked at, and else the normal distribution's.

    Parameters
    ----------
    total
        The sum.
    counts
        How many of its terms have each size; sizes are above 0.

    Examples
    --------
    >>> exchange_p_value(4, {1: 2, 2: 1})
    0.25
    """
    counts = {size: count for size, count in counts.items() if count}
    if not total or not counts:
        return 1.0
    # The terms of the size that is the most frequent one have the tail of a binomial distribution.
    inner = max(counts, key=counts.__getitem__)
    others = {size: count for size, count in counts.items() if size != inner}
    if prod(count + 1 for count in others.values()) > _MANY:
        return normal_p_value(total, sqrt(sum(size**2 * count for size, count in counts.items())))
    sums, shares = reduce(_added, others.items(), (np.zeros(1, dtype=np.int64), np.ones(1)))
    # So many of these terms must have a plus: inner * (2 * needed - count) + sum >= total.
    needed = -((sums - abs(total) - inner * counts[inner]) // (2 * inner))
    return min(1.0, 2 * float(shares @ _at_least(needed, counts[inner])))


def _added(sums: tuple[Integers, Floats], terms: tuple[int, int]) -> tuple[Integers, Floats]:
    """Return all sums with further terms of a size, and the probability of each."""
    size, count = terms
    plus = np.arange(count + 1)
    shares = np.exp(log_ways(count, plus) - count * np.log(2))
    return np.add.outer(sums[0], size * (2 * plus - count)).ravel(), np.outer(sums[1], shares).ravel()


def _at_least(needed: Integers, n: int) -> Floats:
    from scipy.special import bdtrc

    inside: Floats = bdtrc(np.clip(needed - 1, 0, n), n, 0.5)
    return np.where(needed <= 0, 1.0, np.where(needed > n, 0.0, inside))
