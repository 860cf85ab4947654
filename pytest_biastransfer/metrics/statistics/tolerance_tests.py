"""Is a share larger by more than a tolerance? P-values of changes beyond a margin.

The hypothesis is that the share became larger by exactly the margin. What else it depends on is estimated by maximum
likelihood under this hypothesis, as in the score tests of Nam (1997, Biometrics 53, 1422-1430), Tango (1998, Statistics
in Medicine 17, 891-908) and Farrington and Manning (1990, Statistics in Medicine 9, 1447-1454). The tail is the exact
one with this estimate (Storer & Kim 1990, Journal of the American Statistical Association 85, 146-155): where a few
images are expected, the normal distribution's is too small by powers of ten.

All p-values are twice the probability of one tail, to be compared with those of two-sided tests of no change.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.metrics.statistics.combinatorics import log_ways
from pytest_biastransfer.metrics.statistics.paired_difference import share_of_second_only

Floats = npt.NDArray[np.float64]

# Halving an interval of length 1 so often leaves less than a double resolves.
_HALVINGS: Final = 60


def paired_share_beyond(more: int, fewer: int, n: int, margin: float) -> float:
    """Return the p-value that a share of the same n images grew by more than the margin.

    Parameters
    ----------
    more, fewer
        How many images count now and did not before, and the other way round.
    margin
        In (0, 1).

    Examples
    --------
    >>> [round(paired_share_beyond(more, 20, 1000, 0.03), 4) for more in (50, 70, 90)]
    [1.0, 0.0332, 0.0001]
    """
    fewer_share = min(max(0.0, share_of_second_only(more, fewer, n, margin)), (1 - margin) / 2)
    more_share = fewer_share + margin
    counts = np.arange(max(0, more - fewer), n + 1)
    # Of the images that are not among the ones more, so many at most are among the ones fewer.
    rest = _at_most(counts - (more - fewer), n - counts, fewer_share / (1 - more_share))
    return min(1.0, 2 * float(_binomial(counts, n, more_share) @ rest))


def share_beyond(hits: int, n: int, low_hits: int, low_n: int, margin: float) -> float:
    """Return the p-value that a share is larger than one of other images by more than the margin.

    Parameters
    ----------
    hits, n
        How many images count, and among how many, for the share that is the larger one.
    low_hits, low_n
        The same of the other share.
    margin
        In (0, 1).

    Examples
    --------
    >>> [round(share_beyond(hits, 1000, 100, 1000, 0.03), 4) for hits in (130, 160, 190)]
    [1.0, 0.0486, 0.0001]
    """
    low = _lower_share(hits, n, low_hits, low_n, margin)
    counts = np.arange(low_n + 1)
    # In whole numbers, so that equal differences are equal.
    needed = -((low_hits * n - hits * low_n - counts * n) // low_n)
    return min(1.0, 2 * float(_binomial(counts, low_n, low) @ _at_least(needed, n, low + margin)))


def _lower_share(hits: int, n: int, low_hits: int, low_n: int, margin: float) -> float:
    """Return the lower share by maximum likelihood, if the other one is larger by the margin."""
    low, high = 0.0, 1 - margin
    for _ in range(_HALVINGS):
        share = (low + high) / 2
        # The derivative of the log likelihood, times what is above 0; it falls.
        slope = (hits - n * (share + margin)) * share * (1 - share)
        slope += (low_hits - low_n * share) * (share + margin) * (1 - share - margin)
        low, high = (share, high) if slope > 0 else (low, share)
    return (low + high) / 2


def _binomial(counts: Any, n: int, share: float) -> Floats:
    from scipy.special import xlog1py, xlogy

    logs = log_ways(n, counts) + xlogy(counts, share) + xlog1py(n - counts, -share)
    shares: Floats = np.exp(logs)
    return shares


def _at_most(counts: Any, n: Any, share: float) -> Floats:
    from scipy.special import bdtr

    shares: Floats = bdtr(np.minimum(counts, n), n, min(1.0, share))
    return shares


def _at_least(needed: Any, n: int, share: float) -> Floats:
    from scipy.special import bdtrc

    inside: Floats = bdtrc(np.clip(needed - 1, 0, n), n, min(1.0, share))
    return np.where(needed <= 0, 1.0, np.where(needed > n, 0.0, inside))
