"""Is a measurement another one than the accepted one, or is that chance? P-values of changes.

Two measurements are *paired* where they are of the same images, in the same order, and *unpaired* where their
images were drawn independently.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_biastransfer.names import Correction

    Images = npt.NDArray[np.int64]

_ROUNDING_OF_LOGS: Final = 1e-7


def mcnemar(newly: int, no_longer: int) -> float:
    """Return the exact two-sided p-value of McNemar's test (1947) for a share of the same images.

    Parameters
    ----------
    newly, no_longer
        How many images are counted now and were not before, and the other way round.

    Returns
    -------
    How often chance alone would part the images that changed at least as unevenly; 1 if none changed.

    Examples
    --------
    >>> mcnemar(9, 1)
    0.021484375
    """
    from scipy.special import bdtr

    fewer, changed = min(newly, no_longer), newly + no_longer
    return min(1.0, 2 * float(bdtr(fewer, changed, 0.5)))


def two_proportions(hits: int, n: int, other_hits: int, other_n: int) -> float:
    """Return the two-sided p-value of Fisher's exact test (1935) that two shares of different images are equal.

    >>> round(two_proportions(1, 20, 9, 20), 4)
    0.0084
    """
    import numpy as np

    from pytest_biastransfer.metrics.statistics.combinatorics import log_ways

    all_hits = hits + other_hits
    least = max(0, all_hits - other_n)
    ways = np.arange(least, min(all_hits, n) + 1)
    logs = log_ways(n, ways) + log_ways(other_n, all_hits - ways)
    shares = np.exp(logs - logs.max())
    # Equal probabilities differ in their last bits.
    as_rare = logs <= logs[hits - least] + _ROUNDING_OF_LOGS
    return float(shares[as_rare].sum() / shares.sum())


def corrected(
    p_values: Sequence[float], least: Sequence[float], alpha: float, correction: Correction = "holm"
) -> list[float]:
    """Return the p-values corrected for there being many of them, in the given order: compare them with `alpha`.

    Parameters
    ----------
    p_values
        The probabilities of such a change, or a larger one, by chance.
    least
        The smallest p-value that each comparison could have had, 0 where that is unknown: of k images that changed
        2^(1 - k), and 1 of identical predictions. A comparison that cannot be significant cannot be a false alarm.
    alpha
        The probability of any false alarm, or with ``"fdr"`` the expected share of false alarms among all alarms.
    correction
        ``"holm"`` (default): Tarone's (1990) multiplier, the smallest k such that at most k comparisons could be
        significant at ``alpha / k``, in steps as Holm's (1979); ``"fdr"``: Benjamini and Hochberg (1995); ``"none"``.

    Examples
    --------
    >>> corrected([0.004, 1.0, 1.0], least=[0.0, 1.0, 1.0], alpha=0.01)
    [0.004, 1.0, 1.0]
    >>> corrected([0.004, 1.0, 1.0], least=[0.0, 0.0, 0.0], alpha=0.01)
    [0.012, 1.0, 1.0]
    """
    if correction == "none":
        return list(p_values)
    return _benjamini_hochberg(p_values) if correction == "fdr" else _tarone_holm(p_values, least, alpha)


def _tarone_holm(p_values: Sequence[float], least: Sequence[float], alpha: float) -> list[float]:
    adjusted, remaining = [1.0] * len(p_values), sorted(range(len(p_values)), key=lambda index: least[index])
    while remaining:
        multiplier = _multiplier([least[index] for index in remaining], alpha)
        significant = {index for index in remaining if p_values[index] <= alpha / multiplier}
        for index in significant or remaining:
            adjusted[index] = min(1.0, multiplier * p_values[index])
        if not significant:
            break
        remaining = [index for index in remaining if index not in significant]
    return adjusted


def _multiplier(least: Sequence[float], alpha: float) -> int:
    """Return the smallest k such that at most k of ascending numbers are at most ``alpha / k``."""
    low, high = 1, max(1, len(least))
    while low < high:
        middle = (low + high) // 2
        if bisect.bisect_right(least, alpha / middle) <= middle:
            high = middle
        else:
            low = middle + 1
    return low


def _benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    order = sorted(range(len(p_values)), key=lambda index: p_values[index], reverse=True)
    adjusted, most = [1.0] * len(p_values), 1.0
    for place, index in enumerate(order):
        most = min(most, p_values[index] * len(p_values) / (len(p_values) - place))
        adjusted[index] = most
    return adjusted


def mean_change(
    before: tuple[Images, Images],
    now: tuple[Images, Images],
    n_before: int,
    n_now: int,
    *,
    paired: bool,
    margin: float = 0.0,
) -> float:
    """Return the two-sided p-value of a change of the mean of a value of -1, 0 or 1 an image.

    By permutation: exact where `paired` (if no image changes by 2, it is McNemar's test), and else where few
    images have a value; with the normal distribution's tail where many have.

    Parameters
    ----------
    before, now
        The images that add 1 to their value, and those that take 1 from it, as places in the dataset: integers.
        An image that is among both has a value of 0.
    n_before, n_now
        The numbers of images, those with 0 included; the same number where `paired`.
    paired
        Whether the images are the same ones, in the same order.
    margin
        The test is of a change beyond it, by the standard error; it has the sign of the change.

    Examples
    --------
    >>> import numpy as np
    >>> none = np.array([], dtype=np.int64)
    >>> mean_change((none, none), (np.arange(5), none), 100, 100, paired=True)
    0.0625
    """
    from pytest_biastransfer.metrics.statistics.sign_test import means_beyond, paired_means, unpaired_means

    if margin:
        return means_beyond(before, now, (n_before, n_now), margin, paired=paired)
    if paired:
        return paired_means(before, now)
    return unpaired_means(before, now, (n_before, n_now))
