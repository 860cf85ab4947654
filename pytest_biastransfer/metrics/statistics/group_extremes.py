"""The worst one of several groups, and the ratio of the lowest and the highest rate, with intervals.

Both are the smallest one of several quantities. It is below a number if any of them is, and above it only if all are:
the lower end needs no correction, and the upper ends share the probability of error (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.metrics.statistics.estimate import Estimate

Integers = npt.NDArray[np.int64]


def worst_estimate(
    estimates_at: Callable[[float], Sequence[Estimate]], *, is_highest: bool, confidence: float = 0.95
) -> Estimate:
    """Return the lowest, or the highest, of the figures that `estimates_at` returns for a confidence.

    >>> from pytest_biastransfer.metrics.statistics.intervals import proportion
    >>> worst_estimate(lambda level: [proportion(count, 100, level) for count in (80, 95)], is_highest=False)
    0.8 [0.708, 0.882]
    """
    estimates = estimates_at(confidence)
    corrected = estimates_at(1 - (1 - confidence) / len(estimates))
    if is_highest:
        value, low, high = (
            max(map(float, estimates)),
            max(estimate.low for estimate in corrected),
            max(estimate.high for estimate in estimates),
        )
    else:
        value, low, high = (
            min(map(float, estimates)),
            min(estimate.low for estimate in estimates),
            min(estimate.high for estimate in corrected),
        )
    n = next(estimate.n for estimate in estimates if float(estimate) == value)
    return Estimate(value, low=min(low, value), high=max(high, value), confidence=confidence, n=n, method="extreme")


def ratio_estimate(hits: Integers, sizes: Integers, confidence: float = 0.95) -> Estimate:
    """Return the lowest rate of several groups divided by the highest one; NaN where no image counts.

    The interval of each pair's ratio is normal on the scale of the logarithm, with half an image added to each count
    (Katz et al. 1978, "Obtaining confidence intervals for the risk ratio in cohort studies"; Walter 1975).

    >>> ratio_estimate(np.array([40, 50]), np.array([100, 100]))
    0.8 [0.59, 1]
    """
    from scipy.special import ndtri

    rates, n = hits / sizes, int(sizes.sum())
    value = float(rates.min() / rates.max()) if rates.max() > 0 else float("nan")
    logarithms, variances = np.log((hits + 0.5) / (sizes + 0.5)), 1 / (hits + 0.5) - 1 / (sizes + 0.5)
    pairs = ~np.eye(len(hits), dtype=np.bool_)
    ratios = (logarithms[:, None] - logarithms)[pairs]
    errors = np.sqrt(variances[:, None] + variances)[pairs]
    tail = (1 - confidence) / 2
    low = float(np.exp((ratios + ndtri(tail) * errors).min()))
    high = float(np.exp((ratios - ndtri(tail / len(ratios)) * errors).min()))
    if np.isnan(value):
        low, high = 0.0, 1.0
    return Estimate(
        value, low=min(low, value), high=min(1.0, max(high, value)), confidence=confidence, n=n, method="katz"
    )
