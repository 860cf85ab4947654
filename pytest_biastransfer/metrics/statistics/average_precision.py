"""The average precision of groups of images: the area under the precision-recall curve, as a step function.

With every score as a threshold, it is the mean precision at the scores of the positives. That is the definition of
scikit-learn, without interpolation between thresholds, which would be too optimistic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.metrics.statistics.draws import DRAWS, generator_of
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.metrics.statistics.intervals import proportion

Scores = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


def average_precision(positives: Scores, negatives: Scores) -> float:
    """Return the average precision of the scores of positives and of negatives; NaN without positives.

    Equal scores share a threshold.

    >>> average_precision(np.array([0.9, 0.4]), np.array([0.5]))
    0.8333333333333333
    """
    count = len(positives)
    if not count:
        return float("nan")
    ascending = np.sort(positives)
    starts = np.flatnonzero(np.append(True, ascending[1:] != ascending[:-1]))
    true_positives = count - starts
    false_positives = len(negatives) - np.searchsorted(np.sort(negatives), ascending[starts])
    precisions = true_positives / (true_positives + false_positives)
    return float(np.diff(starts, append=count) @ precisions / count)


def average_precision_estimate(value: float, positives: int, n: int, confidence: float = 0.95) -> Estimate:
    """Return an average precision of n images with its interval on the scale of the logit.

    The standard error there is 1 / sqrt(positives * value * (1 - value)) (Boyd, Eng and Page 2013, "Area under the
    precision-recall curve: point estimates and confidence intervals"). At a value of 1 it says nothing: then the
    interval reaches as far as so many positives that are all ranked first can exclude, by Clopper and Pearson.

    >>> average_precision_estimate(0.8, 50, 200)
    0.8 [0.667, 0.889]
    """
    from scipy.special import expit, logit, ndtri

    low, high = 0.0, 1.0
    if 0 < value < 1:
        reach = ndtri((1 + confidence) / 2) * _error(value, positives)
        low, high = (float(expit(logit(value) + sign * reach)) for sign in (-1, 1))
    elif value == 1:
        low = proportion(positives, positives, confidence).low
    return Estimate(value, low=low, high=high, confidence=confidence, n=n, method="logit")


def drawn_average_precisions(values: Floats, positives: Sequence[int], seed: int = 0) -> Floats:
    """Return draws of what true average precisions may be, float64 [draws, groups]: normal on the scale of the logit.

    Of a group whose positives are all ranked first, as of n of n successes by Jeffreys' posterior.

    >>> drawn_average_precisions(np.array([0.8, 1.0]), [50, 50]).mean(axis=0).round(2)
    array([0.79, 0.99])
    """
    from scipy.special import expit, logit

    generator = generator_of(seed)
    draws = np.empty((DRAWS, len(values)))
    for group, (value, count) in enumerate(zip(values.tolist(), positives, strict=True)):
        if value < 1:
            draws[:, group] = expit(logit(value) + _error(value, count) * generator.standard_normal(DRAWS))
        else:
            draws[:, group] = generator.beta(count + 0.5, 0.5, DRAWS)
    return draws


def _error(value: float, positives: int) -> float:
    """Return the standard error of the logit of an average precision between 0 and 1."""
    return float((positives * value * (1 - value)) ** -0.5)
