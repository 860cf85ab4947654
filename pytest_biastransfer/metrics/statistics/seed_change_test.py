"""Is a model another draw of the training that several accepted models came from, or is it worse?

All are measured on the same images. In the model with crossed random effects of seeds and images, the images' effects
cancel out of a difference between two seeds, and what remains of it, with the interaction of seeds and images, is what
the figures of the seeds vary by. Of such balanced data the exact test is therefore that of the figures alone
(`beyond_seeds`). It is about seeds: where they hardly differ, it says nothing of chance among few images. So a change
also has to be seen image by image, beside most of the seeds (`beside_most`): the larger p-value counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean, median
from typing import Final

from pytest_biastransfer.metrics.statistics.seed_intervals import error_of_a_further_figure

Scale = Callable[[float], float]

# The correction of Anscombe (1948) for few images.
_ADDED_HITS: Final = 3 / 8
_ADDED_IMAGES: Final = 3 / 4


def beyond_seeds(
    now: float,
    seeds: Sequence[float],
    *,
    resolution: float,
    scale: Scale = float,
    margin: float = 0.0,
    image_p_values: Sequence[float] | None = None,
) -> float:
    """Return the two-sided p-value that one more seed of a training differs as much from several by chance.

    The test of Crawford and Howell (1998, "Comparing an individual's test score against norms derived from small
    samples"), with one degree of freedom less than there are seeds. It is exact if seeds are normal on the scale.

    Figures of so many images are rounded numbers, and two seeds agree now and then by chance. What rounding hides is
    added to the variance of the seeds: a twelfth of the square of a step (Sheppard 1898).

    Parameters
    ----------
    now, seeds
        The figure of the model, and those of two or more seeds.
    resolution
        The step between two possible figures, such as 1 divided by the number of images.
    scale
        The scale on which seeds vary by a normal distribution; see `root_scale`.
    margin
        The test is of a difference beyond it, at least 0: p is twice that of one side, and 1 within it.
    image_p_values
        Where the model is measured on other images than the seeds are: the p-values of tests of it against each seed
        that take the images for random. Such a test says how uncertain the images make the difference (Miettinen 1976),
        and the uncertainty is added to that of the seeds. None for the same images.

    Returns
    -------
    The p-value, in (0, 1]; 1 of no difference.

    Examples
    --------
    >>> round(beyond_seeds(0.19, [0.139, 0.151, 0.143], resolution=0.001), 3)
    0.023
    >>> round(beyond_seeds(0.19, [0.139, 0.151], resolution=0.001), 3)
    0.145
    >>> round(beyond_seeds(0.19, [0.145, 0.145], resolution=0.001), 3)
    0.005
    """
    middle = fmean(seeds)
    difference = now - middle
    if abs(difference) <= margin:
        return 1.0
    moved, values = scale(now - math.copysign(margin, difference)), [scale(figure) for figure in seeds]
    step = scale(middle + resolution / 2) - scale(middle - resolution / 2)
    error, freedom = error_of_a_further_figure(values)
    error = math.hypot(error, step * math.sqrt((1 + 1 / len(seeds)) / 12))
    if image_p_values is not None:
        error = math.hypot(error, _image_error(scale(now), values, image_p_values))
    from scipy.special import stdtr

    return 2 * float(stdtr(freedom, -abs(moved - fmean(values)) / error))


def beside_most(p_values: Sequence[float]) -> float:
    """Return the p-value that a model differs from none of several seeds, of its p-values against each.

    The smallest p-value that more than half of them do not exceed, times their number and divided by how many those
    are. It is valid whatever the tests have in common (Rüger 1978), and that of the test if there is one.

    >>> beside_most([0.02])
    0.02
    >>> beside_most([0.01, 0.04])
    0.04
    >>> round(beside_most([0.001, 0.01, 0.6]), 6)
    0.015
    """
    most = len(p_values) // 2 + 1
    return min(1.0, sorted(p_values)[most - 1] * len(p_values) / most)


def root_scale(images: int | None = None) -> Scale:
    """Return the scale of figures in [0, 1] on which rare ones vary as others do: the arcsine of the square root.

    Seeds of a rare share differ by an amount that grows with it, and a few have much more than the others: as they
    are, the test takes such a seed for a worse model. `images` is the number of images of a share (Anscombe 1948), and
    None of a figure that is no share.

    >>> scale = root_scale()
    >>> [round(scale(figure), 3) for figure in (0.0, 0.01, 0.02, 0.5)]
    [0.0, 0.1, 0.142, 0.785]
    """

    def of(figure: float) -> float:
        if images is not None:
            figure = (figure * images + _ADDED_HITS) / (images + _ADDED_IMAGES)
        return math.asin(math.sqrt(min(1.0, max(0.0, figure))))

    return of


def _image_error(now: float, seeds: Sequence[float], p_values: Sequence[float]) -> float:
    from scipy.special import ndtri

    deviations = [abs(float(ndtri(p / 2))) for p in p_values]
    differences = [abs(now - figure) for figure in seeds]
    return median(
        difference / deviation if deviation else math.inf
        for difference, deviation in zip(differences, deviations, strict=True)
    )
