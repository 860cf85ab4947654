"""In how many ways images can be dealt."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def log_ways(n: Any, k: Any) -> Any:
    """Return the logarithm of how many ways there are to take k of n; minus infinity for none.

    >>> np.exp(log_ways(4, np.array([-1, 0, 2]))).round(3)
    array([0., 1., 6.])
    """
    from scipy.special import gammaln

    possible = (k >= 0) & (k <= n)
    taken = np.where(possible, k, 0)
    return np.where(possible, gammaln(n + 1) - gammaln(taken + 1) - gammaln(n - taken + 1), -np.inf)


def log_share(dealt: Integers, images: int, sizes: tuple[int, int]) -> Floats:
    """Return how probable each single way of dealing `images` is that gives now so many of them, as a logarithm.

    >>> np.exp(log_share(np.array([0, 1, 2]), images=2, sizes=(2, 2))).round(3)
    array([0.167, 0.333, 0.167])
    """
    whole, now = sum(sizes), sizes[1]
    share: Floats = log_ways(whole - images, now - dealt) - log_ways(whole, np.array(now))
    return share
