"""Confidence intervals: exact for proportions, by bootstrap for gaps."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.metrics.statistics.draws import quantiles
from pytest_biastransfer.metrics.statistics.estimate import Estimate


def proportion(count: int, n: int, confidence: float = 0.95) -> Estimate:
    """Return the share ``count / n`` with its exact interval (Clopper and Pearson 1934).

    With ``n == 0`` the share is undefined: NaN, with the interval [0, 1].

    >>> proportion(5, 20)
    0.25 [0.0866, 0.491]
    """
    tail = (1 - confidence) / 2
    low, high = float(lower_end(count, n, tail)), float(upper_end(count, n, tail))
    value = count / n if n else float("nan")
    return Estimate(value, low=low, high=high, confidence=confidence, n=n, method="clopper-pearson")


def lower_end(count: Any, n: Any, tail: float) -> Any:
    """Return the lower end of Clopper and Pearson's interval; whole numbers, or int64 arrays of one shape."""
    # scipy.stats has the same under a friendlier name, at three times the import time.
    from scipy.special import betaincinv

    return np.where(count > 0, betaincinv(np.maximum(count, 1), n - count + 1, tail), 0.0)


def upper_end(count: Any, n: Any, tail: float) -> Any:
    """Return its upper end."""
    from scipy.special import betaincinv

    return np.where(count < n, betaincinv(count + 1, np.maximum(n - count, 1), 1 - tail), 1.0)


def basic_bootstrap(
    value: float,
    draws: npt.NDArray[np.float64],
    n: int,
    confidence: float = 0.95,
    *,
    least: float = -1.0,
    most: float = 1.0,
) -> Estimate:
    """Return a value on n images with its interval by resampled values, float64 of shape [draws].

    The interval is the basic bootstrap interval (Davison and Hinkley 1997, section 5.2): as far as
    the resampled values lie from the observed one, so far the observed one may lie from the truth. A distance
    between resampled distributions is larger than the observed one on average, just as the observed one is
    larger than the true one; this interval corrects for that, where the percentile interval doubles it. It is
    clipped to the range of the statistic and widened to contain the value.

    Where all resampled values are the observed one, as with images that all agree, that says nothing about
    the images that were not seen: then the interval reaches as far as n images that all agree can exclude, by
    Clopper and Pearson.

    >>> basic_bootstrap(0.3, np.linspace(0.2, 0.5, 2001), n=100)
    0.3 [0.107, 0.392]
    """
    tail = (1 - confidence) / 2
    low, high = 2 * value - quantiles(draws, [1 - tail, tail])
    low, high = max(least, min(low, value)), min(most, max(high, value))
    if low == high:
        reach = proportion(0, n, confidence).high
        low, high = max(least, value - reach), min(most, value + reach)
    return Estimate(value, low=low, high=high, confidence=confidence, n=n, method="paired bootstrap")
