"""The mean of a figure that each image has of its own, such as the share of strengths at which it flips."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.metrics.statistics.estimate import Estimate

Floats = npt.NDArray[np.float64]
_METHOD: Final = "korn-graubard"


def mean_of_images(values: Floats, images: int, confidence: float = 0.95, *, is_signed: bool = False) -> Estimate:
    """Return the mean of one value for each image, with its interval.

    Parameters
    ----------
    values
        Those of the values that are not 0, float64 of shape [at most `images`], in [0, 1], or in [-1, 1] if
        `is_signed`.
    images
        The number of all images; the others have the value 0. Without images, the mean is undefined: NaN.

    Returns
    -------
    The interval is that of Korn and Graubard 1998 ("Confidence intervals for proportions with small expected number of
    positive counts estimated from survey data", Survey Methodology 24, 193-201): Clopper and Pearson's interval for a
    share of as many images as would have the mean's variance. If all values are 0 or 1, it is Clopper and Pearson's.
    Few images say little of the variance: values that are rare may not have been seen. So each end is computed with the
    variance that z squared images more would lead to (about 4, as in Agresti and Coull 1998), of the value that is
    farthest in its direction.

    The mean of signed values is the difference of two means, of the positive and of the negative values, with the
    interval of Zou 2007 for correlated differences ("Toward using confidence intervals to compare correlations",
    Psychological Methods 12, 399-413).

    Examples
    --------
    >>> mean_of_images(np.array([1.0, 0.25, 0.5, 0.25]), 40)
    0.05 [0.0103, 0.158]
    >>> mean_of_images(np.array([0.5, -0.5]), 40, is_signed=True)
    0 [-0.0942, 0.0942]
    """
    if not images:
        return Estimate(math.nan, low=-1 if is_signed else 0, high=1, confidence=confidence, n=0, method=_METHOD)
    tail = (1 - confidence) / 2
    gains = values[values > 0]
    low, high = _ends(gains, images, tail)
    mean = float(gains.sum()) / images
    if is_signed:
        losses = -values[values < 0]
        lost, (least_lost, most_lost) = float(losses.sum()) / images, _ends(losses, images, tail)
        # No image has both a gain and a loss.
        product = -mean * lost / max(_deviation(gains, images) * _deviation(losses, images), math.ulp(0.0))
        correlation = max(product, -1.0)
        mean, low, high = (
            mean - lost,
            mean - lost - _hypotenuse(mean - low, most_lost - lost, correlation),
            mean - lost + _hypotenuse(high - mean, lost - least_lost, correlation),
        )
    low, high = max(low, -1.0), min(high, 1.0)
    return Estimate(mean, low=low, high=high, confidence=confidence, n=images, method=_METHOD)


def _ends(values: Floats, images: int, tail: float) -> tuple[float, float]:
    from scipy.special import betaincinv

    total, squares = float(values.sum()), float((values * values).sum())
    mean = total / images
    more = NormalDist().inv_cdf(1 - tail) ** 2
    below = _effective_images(total, squares, images, more)
    above = _effective_images(total + more, squares + more, images, more)
    # The ends of Clopper and Pearson's interval, for numbers of images that need not be whole.
    low = betaincinv(mean * below, (1 - mean) * below + 1, tail) if mean > 0 else 0.0
    high = betaincinv(mean * above + 1, (1 - mean) * above, 1 - tail) if mean < 1 else 1.0
    return float(low), float(high)


def _effective_images(total: float, squares: float, images: int, more: float) -> float:
    """Return the number of images for which a share has the variance of a mean, given its sums with `more` images."""
    mean = total / (images + more)
    of_share, of_mean = mean * (1 - mean), squares / (images + more) - mean * mean
    return images * max(of_share / of_mean, 1.0) if of_mean > 0 else float(images)


def _deviation(values: Floats, images: int) -> float:
    mean = float(values.sum()) / images
    return math.sqrt(max(float((values * values).sum()) / images - mean * mean, 0.0))


def _hypotenuse(first: float, second: float, correlation: float) -> float:
    return math.sqrt(max(first * first + second * second - 2 * correlation * first * second, 0.0))
