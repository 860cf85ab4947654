"""How sure a figure is when training is repeated with other seeds, and measured on other images.

Seeds are few, and what differs between them is all that chance does in training. All of them are measured on the same
images, so that the error of these does not become smaller with the number of seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, variance

from pytest_biastransfer.metrics.statistics.estimate import Estimate

_METHOD = "t over seeds"


def mean_over_seeds(figures: Sequence[Estimate], confidence: float = 0.95, *, least: float = 0.0) -> Estimate:
    """Return the mean of figures of several seeds, with an interval about other seeds and other images.

    On each side, the distance of its end is the root of the sum of two squares: of the reach of Student's t interval
    over the seeds, and of the mean distance of the ends of the figures' own intervals, which are about the images. For
    independent errors this is the method of Zou and Donner (2008, "Construction of confidence limits about effect
    measures"). It is conservative: what differs between images counts in the deviation over the seeds as well.

    The 95 % interval of a share covers the true mean in at least .93 of simulated experiments with 2 to 5 seeds, 100 to
    5,000 images and means from .001 to .999, if seeds have a standard deviation of up to half of the mean (or of 1
    minus the mean). With one as large as the mean, few seeds differ much from the others, and it is .88.

    Parameters
    ----------
    figures
        That of each seed, with its interval about the images; of the same confidence.
    least
        The least possible figure. The interval is clipped there, and at 1: of two seeds it is often all of that.

    Examples
    --------
    >>> from pytest_biastransfer.metrics.statistics.intervals import proportion
    >>> mean_over_seeds([proportion(count, 1000) for count in (100, 200, 300)])
    0.2 [0, 0.45]
    >>> mean_over_seeds([proportion(1, 100)] * 3)
    0.01 [0.000253, 0.0545]
    """
    n = len(figures)
    reach = _reach(math.sqrt(_variance(figures) / n), n - 1, confidence)
    below, above = _image_errors(figures)
    return _estimate(fmean(figures), math.hypot(reach, below), math.hypot(reach, above), n, confidence, least)


def difference_over_seeds(first: Sequence[Estimate], second: Sequence[Estimate], confidence: float = 0.95) -> Estimate:
    """Return how much larger the first mean is than the second, with an interval in [-1, 1] as of `mean_over_seeds`.

    Over the seeds it is Welch's t interval (1947). The images' errors are added as if both were measured on different
    images: errors that both share do not cancel out, so that the interval is rather too wide.

    One of the two may be a single figure, which is taken to vary as those of the other one do (Crawford and Howell
    1998, "Comparing an individual's test score against norms derived from small samples").

    >>> from pytest_biastransfer.metrics.statistics.intervals import proportion
    >>> first, second = ([proportion(count, 1000) for count in counts] for counts in ((500, 600, 700), (100, 200, 300)))
    >>> difference_over_seeds(first, second)
    0.4 [0.17, 0.63]
    """
    reach = _reach(*_welch(first, second), confidence)
    (below, above), (below_second, above_second) = _image_errors(first), _image_errors(second)
    return _estimate(
        fmean(first) - fmean(second),
        math.hypot(reach, below, above_second),
        math.hypot(reach, above, below_second),
        len(first) + len(second),
        confidence,
        least=-1.0,
    )


def mean_on_images(figures: Sequence[Estimate]) -> Estimate:
    """Return the mean of figures as one figure, with an interval that is about other images alone.

    >>> from pytest_biastransfer.metrics.statistics.intervals import proportion
    >>> mean_on_images([proportion(10, 100), proportion(20, 100)])
    0.15 [0.0878, 0.234]
    """
    first, value = figures[0], fmean(figures)
    below, above = _image_errors(figures)
    return Estimate(
        value,
        low=value - below,
        high=value + above,
        confidence=first.confidence,
        n=first.n,
        method=first.method,
    )


def error_of_a_further_figure(figures: Sequence[float]) -> tuple[float, int]:
    """Return the standard error of the difference of a further figure and the mean of two or more, and its freedom.

    All are draws of the same kind: the further one varies as the others do, and their mean is uncertain, too (Crawford
    and Howell 1998). The number of degrees of freedom is that of the figures less one.

    >>> error, freedom = error_of_a_further_figure([0.1, 0.2, 0.3])
    >>> round(error, 6), freedom
    (0.11547, 2)
    """
    return math.sqrt(_variance(figures) * (1 + 1 / len(figures))), len(figures) - 1


def _welch(first: Sequence[Estimate], second: Sequence[Estimate]) -> tuple[float, float]:
    """Return the standard error of a difference of means, and its number of degrees of freedom."""
    if min(len(first), len(second)) == 1:
        return error_of_a_further_figure(max(first, second, key=len))
    squared_errors = [_variance(figures) / len(figures) for figures in (first, second)]
    total = sum(squared_errors)
    squares = sum(
        squared_error**2 / (len(figures) - 1)
        for squared_error, figures in zip(squared_errors, (first, second), strict=True)
    )
    # Without any variance there is no number of degrees of freedom, and none is needed.
    return math.sqrt(total), total**2 / squares if squares > 0 else 1.0


def _variance(figures: Sequence[float]) -> float:
    return variance(map(float, figures))


def _reach(error: float, freedom: float, confidence: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + confidence) / 2)) * error


def _image_errors(figures: Sequence[Estimate]) -> tuple[float, float]:
    """Return how far below and above their mean the truth may be because of the images.

    The same images may be wrong for all seeds, so these distances are not divided by the root of their number.
    """
    return fmean(figure - figure.low for figure in figures), fmean(figure.high - figure for figure in figures)


def _estimate(value: float, below: float, above: float, n: int, confidence: float, least: float) -> Estimate:
    low, high = max(least, value - below), min(1.0, value + above)
    return Estimate(value, low=low, high=high, confidence=confidence, n=n, method=_METHOD)
