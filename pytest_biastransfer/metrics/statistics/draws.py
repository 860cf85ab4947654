"""The random draws of bootstraps: how many, and of which generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

DRAWS: Final = 2000
# Beyond so many draws from the end, a quantile is too uncertain to be read off.
_FAR: Final = 10
# Below it, relative to the largest one, an eigenvalue is a rounding error.
_ROUNDING: Final = 1e-12


def quantiles(draws: npt.NDArray[np.float64], shares: Sequence[float]) -> npt.NDArray[np.float64]:
    """Return quantiles of draws, float64 [draws]; far out, with the tail of a normal distribution.

    A quantile that fewer than 10 draws lie beyond is as far from the median, compared with the one that 10 lie beyond,
    as in a normal distribution.

    >>> quantiles(np.linspace(-1.0, 1.0, 2001), [0.025, 0.5]).round(2)
    array([-0.95,  0.  ])
    """
    from scipy.special import ndtri

    nearest = _FAR / len(draws)
    found = np.quantile(draws, np.clip(shares, nearest, 1 - nearest))
    median = float(np.median(draws))
    farther = [ndtri(share) / ndtri(nearest if share < 0.5 else 1 - nearest) for share in shares]
    is_far = np.array([not nearest <= share <= 1 - nearest for share in shares])
    beyond: npt.NDArray[np.float64] = np.where(is_far, median + (found - median) * farther, found)
    return beyond


def generator_of(seed: int) -> np.random.Generator:
    """Return a random generator, of the kind whose raw bits numpy promises never to change."""
    return np.random.Generator(np.random.PCG64(seed))


def symmetric_root(covariance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the symmetric square root: alone of all roots, it hardly changes when the matrix hardly does.

    >>> symmetric_root(np.diag([4.0, 0.25]))
    array([[2. , 0. ],
           [0. , 0.5]])
    """
    values, vectors = np.linalg.eigh(covariance)
    values[values < _ROUNDING * values.max(initial=0)] = 0
    root: npt.NDArray[np.float64] = (vectors * np.sqrt(values)) @ vectors.T
    return root
