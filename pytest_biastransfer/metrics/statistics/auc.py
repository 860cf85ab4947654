"""The area under the ROC curve of groups of images: how probably a positive scores higher than a negative.

The area is the share of pairs of a positive and a negative image in which the positive one has the higher score;
an equal score counts half. Its variance is that of DeLong, DeLong and Clarke-Pearson (1988), found by sorting
(after Sun and Xu 2014): no pair is ever looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.metrics.statistics.draws import DRAWS, generator_of, symmetric_root
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.metrics.statistics.intervals import proportion
from pytest_biastransfer.metrics.statistics.placements import (
    Integers,
    Scores,
    ascending,
    group_parts,
    overtaken,
    places,
)

Floats = npt.NDArray[np.float64]

# Images are looked at in slices that fit into caches, with a row for every area, and that are too short for OpenBLAS
# to share out among threads: those wait for each other, which takes ten times as long where another process runs.
_SLICE: Final = 2**13


class Areas(NamedTuple):
    """The areas under the ROC curves of groups, by one or more models on the same images.

    Attributes
    ----------
    values
        Areas in [0, 1], float64 of shape [models, groups]; NaN for groups without positives or negatives.
    covariance
        DeLong's, float64 of shape [models, groups, models, groups]; 0 for such groups.
    positives, negatives
        How many images of each are compared, int64 of shape [groups].
    """

    values: Floats
    covariance: Floats
    positives: Integers
    negatives: Integers

    @property
    def sizes(self) -> Integers:
        """How many pairs there are that share no image: int64 of shape [groups]."""
        return np.minimum(self.positives, self.negatives)

    def variances(self) -> Floats:
        """Return the areas' variances, float64 of shape [models, groups]."""
        models, groups = self.values.shape
        return np.diagonal(self.covariance.reshape(models * groups, -1)).reshape(models, groups)


def areas(
    scores: Sequence[Scores],
    positive: npt.NDArray[np.bool_],
    codes: Integers,
    groups: int,
    *,
    shared: bool = False,
) -> Areas:
    """Return the areas of groups with their covariance.

    Parameters
    ----------
    scores
        Each model's scores of the images: higher ones for positives, floats of shape [images].
    positive
        Which images are positive, bool of shape [images].
    codes
        The group of each image, in [0, groups), int64 of shape [images].
    groups
        The number of groups.
    shared
        Whether each group's positives are compared with the negatives of all groups, not of its own only.

    Examples
    --------
    >>> positive = np.array([True, True, False, False])
    >>> areas([np.array([0.9, 0.3, 0.5, 0.1])], positive, np.zeros(4, dtype=np.int64), 1).values
    array([[0.75]])
    """
    parts = group_parts(positive, codes, groups)
    counts = np.array([len(part) for part in parts], dtype=np.int64).reshape(groups, 2)
    negatives = np.full(groups, counts[:, 0].sum()) if shared else counts[:, 0]
    group_areas = Areas(
        np.full((len(scores), groups), np.nan),
        np.zeros((len(scores), groups, len(scores), groups)),
        counts[:, 1],
        negatives,
    )
    for members, those in _comparisons(parts, shared):
        measured_groups = np.array([group for group in members if group_areas.sizes[group]], dtype=np.int64)
        if len(measured_groups):
            values, covariance = _delong(scores, [parts[2 * group + 1] for group in measured_groups], those)
            models = np.arange(len(scores))
            group_areas.values[:, measured_groups] = values
            group_areas.covariance[np.ix_(models, measured_groups, models, measured_groups)] = covariance
    return group_areas


def area_estimates(group_areas: Areas, confidence: float = 0.95) -> list[Estimate]:
    """Return the areas of the first model with their intervals.

    The interval is DeLong's on the scale of the logit: an area near 1, whose distribution is skewed, keeps an
    interval below 1 that reaches farther down than up. Where the variance is 0, as with an area of 1, that says
    nothing: of the n pairs that can be made of the images without using one twice, all agreed, and the interval
    reaches as far as n that agree can exclude, by Clopper and Pearson. So it does with a single positive or a
    single negative, whose variance cannot be known.

    >>> positive, alone = np.arange(40) >= 20, np.zeros(40, dtype=np.int64)
    >>> area_estimates(areas([np.arange(40) % 27], positive, alone, 1))
    [0.561 [0.374, 0.732]]
    >>> area_estimates(areas([np.arange(40)], positive, alone, 1))
    [1 [0.832, 1]]
    """
    from scipy.special import expit, ndtri

    tail = (1 - confidence) / 2
    centres, covariance = _logits(group_areas, np.arange(len(group_areas.sizes)))
    reach = np.sqrt(np.diagonal(covariance))[: len(group_areas.sizes)] * ndtri(1 - tail)
    ends = [expit(centres[0] - reach), expit(centres[0] + reach)]
    for group in np.flatnonzero(_unsure(group_areas)[0]):
        ends[0][group], ends[1][group] = _ends(group_areas.values[0, group], int(group_areas.sizes[group]), confidence)
    images = group_areas.positives + group_areas.negatives
    return [
        Estimate(value, low=low, high=high, confidence=confidence, n=n, method="delong")
        for value, low, high, n in zip(group_areas.values[0], *ends, images, strict=True)
    ]


def drawn_areas(group_areas: Areas, groups: Integers, seed: int = 0) -> Floats:
    """Return draws of what the true areas of some groups may be: float64 of shape [draws, models, groups].

    They are normal on the scale of the logit, with DeLong's covariance: models see the same images, and
    groups with shared negatives too.

    >>> positive, alone = np.arange(40) >= 20, np.zeros(40, dtype=np.int64)
    >>> found = areas([np.arange(40) % 27], positive, alone, 1)
    >>> np.quantile(drawn_areas(found, np.array([0])), [0.025, 0.975]).round(1)
    array([0.4, 0.7])
    """
    from scipy.special import expit

    centres, covariance = _logits(group_areas, groups)
    normal = generator_of(seed).standard_normal((DRAWS, centres.size))
    draws: Floats = expit(centres + (normal @ symmetric_root(covariance)).reshape(DRAWS, *centres.shape))
    return draws


def _comparisons(parts: list[Integers], shared: bool) -> Iterator[tuple[list[int], Integers]]:
    """Yield groups whose positives are compared with the same negatives, and those."""
    groups = len(parts) // 2
    if shared:
        yield list(range(groups)), np.concatenate(parts[::2])
    else:
        yield from (([group], parts[2 * group]) for group in range(groups))


def _delong(scores: Sequence[Scores], positives: Sequence[Integers], negatives: Integers) -> tuple[Floats, Floats]:
    """Return the areas of groups of positives [models, groups], and their covariance, twice that shape."""
    models, groups, n = len(scores), len(positives), len(negatives)
    sizes = np.array([len(part) for part in positives])
    # Only where there are two models do their images need one order.
    keeps_order = models > 1
    below: list[list[Integers]] = []
    higher = np.empty((models, groups, n), dtype=np.int32)
    for model, part in enumerate(scores):
        ranked, columns = ascending(part[negatives], keeps_order)
        placed = [places(ranked, part[members], keeps_order) for members in positives]
        below.append([low + high for low, high in placed])
        for group, place in enumerate(placed):
            higher[model, group, columns] = overtaken(*place, n)
    # Whole numbers up to here: sums do not depend on the order of the images.
    values = np.array([[int(one.sum()) for one in row] for row in below]) / (2 * n * sizes)
    covariance = _spread(higher.reshape(-1, n), np.tile(2 * sizes, models), 1 - values.ravel()) / n
    covariance = covariance.reshape(models, groups, models, groups)
    for group, size in enumerate(sizes):
        rows = np.stack([row[group] for row in below])
        covariance[:, group, :, group] += _spread(rows, np.full(models, 2 * n), values[:, group]) / size
    return values, covariance


def _spread(rows: npt.NDArray[Any], scales: Integers, means: Floats) -> Floats:
    """Return the covariance of rows of whole numbers, each divided by its scale, whose means are known."""
    products = np.zeros((len(rows), len(rows)))
    for start in range(0, rows.shape[1], _SLICE):
        part = rows[:, start : start + _SLICE] / scales[:, None] - means[:, None]
        products += part @ part.T
    covariance: Floats = products / max(1, rows.shape[1] - 1)
    return covariance


def _unsure(group_areas: Areas) -> npt.NDArray[np.bool_]:
    """Tell which areas' variance cannot be known from these images: bool of shape [models, groups]."""
    unsure: npt.NDArray[np.bool_] = (group_areas.variances() == 0) | (group_areas.sizes < 2)
    return unsure


def _ends(value: float, n: int, confidence: float) -> tuple[float, float]:
    reach = proportion(0, n, confidence).high
    return (max(0.0, value - reach), min(1.0, value + reach)) if n else (0.0, 1.0)


def _logits(group_areas: Areas, groups: Integers) -> tuple[Floats, Floats]:
    """Return logits of areas [models, groups], and their covariance as a matrix.

    Areas whose variance cannot be known count as proportions among as many pairs as share no image, with half a
    pair added to either side (the posterior of Jeffreys).
    """
    values, n = group_areas.values[:, groups], group_areas.sizes[groups]
    unsure = _unsure(group_areas)[:, groups]
    centres = np.where(unsure, (np.nan_to_num(values) * n + 0.5) / (n + 1), values)
    covariance = group_areas.covariance[:, groups][:, :, :, groups].reshape(values.size, values.size)
    covariance[unsure.ravel()] = 0
    covariance[:, unsure.ravel()] = 0
    covariance += np.diag(np.where(unsure, centres * (1 - centres) / (n + 2), 0).ravel())
    slopes = 1 / (centres * (1 - centres)).ravel()
    return np.log(centres / (1 - centres)), covariance * np.outer(slopes, slopes)
