"""Permutation tests of a mean, where every image has a value of -1, 0 or 1."""

from __future__ import annotations

from math import erfc, hypot, sqrt
from typing import Final

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.metrics.statistics.combinatorics import log_share, log_ways
from pytest_biastransfer.metrics.statistics.normal_tail import normal_p_value
from pytest_biastransfer.metrics.statistics.random_signs import exchange_p_value

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Pairs of counts up to which they are all looked at.
_MANY: Final = 2**18
_ROUNDING: Final = 1e-12


def paired_means(before: tuple[Integers, Integers], now: tuple[Integers, Integers]) -> float:
    """Return the exact two-sided p-value of a change, by exchanging the two values of images (Fisher 1935).

    Parameters
    ----------
    before, now
        The images with 1, and those with -1.

    Examples
    --------
    Two images change by 1, and one by 2:

    >>> none = np.array([], dtype=np.int64)
    >>> paired_means((none, np.array([7])), (np.array([3, 5, 7]), none))
    0.25
    """
    changes = _changes(before, now)
    sizes = {size: int(np.count_nonzero(np.abs(changes) == size)) for size in (1, 2)}
    return exchange_p_value(int(changes.sum()), sizes)


def unpaired_means(before: tuple[Integers, Integers], now: tuple[Integers, Integers], sizes: tuple[int, int]) -> float:
    """Return the two-sided p-value of a change, by dealing the images anew to before and now.

    It is exact where at most some hundreds of images have a value, and else by the normal approximation.

    Parameters
    ----------
    before, now
        The images with 1, and those with -1.
    sizes
        How many images there are, before and now.

    Examples
    --------
    >>> none = np.array([], dtype=np.int64)
    >>> round(unpaired_means((np.arange(1), none), (np.arange(9), none), (20, 20)), 4)
    0.0084
    """
    plus, minus = ([len(np.setdiff1d(*pair)) for pair in pairs] for pairs in ((before, now), (before[::-1], now[::-1])))
    first, second = ((up - down) / size for up, down, size in zip(plus, minus, sizes, strict=True))
    if (sum(plus) + 1) * (sum(minus) + 1) <= _MANY:
        return _all_ways(second - first, sum(plus), sum(minus), sizes)
    n = sum(sizes)
    variance = (sum(plus) + sum(minus)) / n - ((sum(plus) - sum(minus)) / n) ** 2
    error = sqrt(variance * (1 / sizes[0] + 1 / sizes[1]))
    return erfc(abs(second - first) / error / sqrt(2)) if error else 1.0


def means_beyond(
    before: tuple[Integers, Integers],
    now: tuple[Integers, Integers],
    sizes: tuple[int, int],
    margin: float,
    *,
    paired: bool,
) -> float:
    """Return the p-value of a change beyond a margin, by the standard error of the change that was observed.

    Of a change for the worse, which makes some values larger, this standard error is rather too large.

    Parameters
    ----------
    before, now
        The images with 1, and those with -1.
    sizes
        How many images there are, before and now.
    margin
        It has the sign of the change.
    """
    none = (np.arange(0), np.arange(0))
    if paired:
        return normal_p_value(*_mean_and_error(_changes(before, now), sizes[1]), margin)
    (earlier, error), (later, later_error) = (
        _mean_and_error(_changes(none, marked), size) for marked, size in zip((before, now), sizes, strict=True)
    )
    return normal_p_value(later - earlier, hypot(error, later_error), margin)


def _mean_and_error(values: Integers, n: int) -> tuple[float, float]:
    """Return the mean over n images, of which those without a value may be left out, and its standard error."""
    mean = float(values.sum()) / n
    return mean, sqrt(max(0.0, float(values @ values) / n - mean**2) / n)


def _changes(before: tuple[Integers, Integers], now: tuple[Integers, Integers]) -> Integers:
    """Return by how much the value of each image changes that has one."""
    parts = [(now[0], 1), (now[1], -1), (before[0], -1), (before[1], 1)]
    _, places = np.unique(np.concatenate([images for images, _ in parts]), return_inverse=True)
    changes = np.zeros(places.max(initial=-1) + 1, dtype=np.int64)
    np.add.at(changes, places, np.repeat([sign for _, sign in parts], [len(images) for images, _ in parts]))
    return changes


def _all_ways(change: float, plus: int, minus: int, sizes: tuple[int, int]) -> float:
    up, down = np.arange(plus + 1)[:, None], np.arange(minus + 1)
    changes = (up - down) / sizes[1] - ((plus - up) - (minus - down)) / sizes[0]
    shares = np.exp(log_ways(plus, up) + log_ways(minus, down) + log_share(up + down, plus + minus, sizes))
    # Equal changes differ in their last bits.
    return min(1.0, float(shares[np.abs(changes) >= abs(change) - _ROUNDING].sum()))
