"""How sure a figure is when training is repeated with other seeds.

Seeds are few, and what differs between them is all that chance does in training; the images are the same ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, variance

from pytest_biastransfer.metrics.statistics.estimate import Estimate

_METHOD = "t over seeds"


def mean_over_seeds(values: Sequence[float], confidence: float = 0.95, *, least: float = 0.0) -> Estimate:
    """Return the mean of figures of several seeds, with Student's t interval: its error is the deviation over √n.

    The interval is clipped to the range of the figures, from `least` to 1: of two seeds it is often all of that.

    >>> mean_over_seeds([0.1, 0.2, 0.3])
    0.2 [0, 0.448]
    """
    n = len(values)
    error = math.sqrt(variance(values) / n)
    return _with_interval(fmean(values), error, n - 1, n, confidence, least)


def difference_over_seeds(first: Sequence[float], second: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Return how much larger the first mean is than the second, with Welch's t interval (1947) in [-1, 1].

    >>> difference_over_seeds([0.5, 0.6, 0.7], [0.1, 0.2, 0.3])
    0.4 [0.173, 0.627]
    """
    squared_errors = [variance(values) / len(values) for values in (first, second)]
    total = sum(squared_errors)
    squares = sum(
        squared_error**2 / (len(values) - 1)
        for squared_error, values in zip(squared_errors, (first, second), strict=True)
    )
    # Without any variance there is no number of degrees of freedom, and none is needed.
    freedom = total**2 / squares if squares > 0 else 1.0
    n = len(first) + len(second)
    return _with_interval(fmean(first) - fmean(second), math.sqrt(total), freedom, n, confidence, least=-1.0)


def _with_interval(value: float, error: float, freedom: float, n: int, confidence: float, least: float) -> Estimate:
    from scipy.special import stdtrit

    reach = float(stdtrit(freedom, (1 + confidence) / 2)) * error
    low, high = max(least, value - reach), min(1.0, value + reach)
    return Estimate(value, low=low, high=high, confidence=confidence, n=n, method=_METHOD)
