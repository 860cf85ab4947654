"""Gaps in how well scores rank and are calibrated: average precision, and calibration in the large.

The arguments and results are as in `group_gaps`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.metrics.group_gaps import ComparedGroups, Floats, GroupGaps, Integers, Marked, Pair, gaps_of
from pytest_biastransfer.metrics.statistics.average_precision import (
    average_precision,
    average_precision_estimate,
    drawn_average_precisions,
)
from pytest_biastransfer.metrics.statistics.draws import DRAWS, generator_of
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.metrics.statistics.intervals import proportion
from pytest_biastransfer.metrics.statistics.placements import group_parts


def average_precision_gaps(
    scores: npt.NDArray[Any],
    positive: Marked,
    codes: Integers,
    names: Sequence[str],
    *,
    min_group_size: int = 30,
    confidence: float = 0.95,
    between: Pair | None = None,
) -> GroupGaps:
    """Return the average precisions of groups, and the gap between them.

    The figures' intervals are those of `average_precision_estimate`; that of the gap is found as at `rate_gaps`, with
    draws that are normal on the scale of the logit. An average precision depends on the share of positives: a group
    with fewer of them has a lower one, even if the model ranks it as well.

    >>> scores, positive, codes = np.arange(200) % 89, np.arange(200) % 2 == 1, np.arange(200) // 100
    >>> average_precision_gaps(scores, positive, codes, ["day", "night"]).gap.method
    'paired bootstrap'
    """
    parts = group_parts(positive, codes, len(names))
    negatives, positives = parts[::2], parts[1::2]
    values = np.array(
        [average_precision(scores[own], scores[others]) for own, others in zip(positives, negatives, strict=True)]
    )
    sizes = np.array([len(part) for part in positives], dtype=np.int64)
    images = sizes + np.array([len(part) for part in negatives], dtype=np.int64)

    def estimates(level: float) -> list[Estimate]:
        columns = values.tolist(), sizes.tolist(), images.tolist()
        return [average_precision_estimate(value, size, n, level) for value, size, n in zip(*columns, strict=True)]

    compared = ComparedGroups.of(sizes, min_group_size, between)
    draws = drawn_average_precisions(values[compared.places], sizes[compared.places].tolist())
    return gaps_of("average_precision", names, estimates, compared, draws, compared.total(images), confidence)


def calibration_gaps(
    probabilities: Floats,
    positive: Marked,
    codes: Integers,
    names: Sequence[str],
    *,
    min_group_size: int = 30,
    confidence: float = 0.95,
    between: Pair | None = None,
) -> GroupGaps:
    """Return how far the mean probability of each group is above its share of positives, and the gap between groups.

    This is calibration in the large (Van Calster et al. 2019, "Calibration: the Achilles heel of predictive
    analytics"), in [-1, 1]: positive where a group is overestimated. Unlike the expected calibration error, it needs
    no bins, and is not the larger the fewer images a group has.

    The intervals are normal, of the mean of the images' differences. Where all differences are equal, that says
    nothing: then the interval reaches as far as n images that all agree can exclude, by Clopper and Pearson.

    Parameters
    ----------
    probabilities
        In [0, 1], float64 of shape [images].

    Examples
    --------
    >>> positive, codes = np.arange(200) % 2 == 1, np.arange(200) // 100
    >>> round(calibration_gaps(np.where(codes == 0, 0.5, 0.8), positive, codes, ["day", "night"]).gap, 3)
    0.3
    """
    from scipy.special import ndtri

    differences = probabilities - positive
    sizes = np.bincount(codes, minlength=len(names))
    divisors = np.maximum(sizes, 1)
    means = np.bincount(codes, differences, minlength=len(names)) / divisors
    # About the mean, so that little is lost to rounding where all differences are nearly the same.
    squares = np.bincount(codes, (differences - means[codes]) ** 2, minlength=len(names))
    errors = np.sqrt(squares / divisors / np.maximum(sizes - 1, 1))
    alike = np.array([proportion(0, int(size), confidence).high for size in sizes])
    errors = np.where(errors > 1e-12, errors, alike / ndtri((1 + confidence) / 2))

    def estimates(level: float) -> list[Estimate]:
        reach, columns = float(ndtri((1 + level) / 2)), (means.tolist(), errors.tolist(), sizes.tolist())
        return [_calibration_estimate(mean, error * reach, n, level) for mean, error, n in zip(*columns, strict=True)]

    compared = ComparedGroups.of(sizes, min_group_size, between)
    normal = generator_of(0).standard_normal((DRAWS, len(compared.places)))
    draws = means[compared.places] + errors[compared.places] * normal
    return gaps_of("calibration", names, estimates, compared, draws, compared.total(sizes), confidence)


def _calibration_estimate(mean: float, reach: float, n: int, confidence: float) -> Estimate:
    if not n:
        return Estimate(np.nan, low=-1, high=1, confidence=confidence, n=0, method="normal")
    low, high = max(-1.0, mean - reach), min(1.0, mean + reach)
    return Estimate(mean, low=low, high=high, confidence=confidence, n=n, method="normal")
