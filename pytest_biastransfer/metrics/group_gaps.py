"""Differences between groups of images in how often a model errs: gaps.

Wang and Russakovsky 2023 (arXiv 2303.06167) measure a bias that came from a spurious correlation by the difference
of false-positive rates between groups, where as many images are predicted positive as there are positives, and a
bias that came from underrepresentation by the difference of areas under the ROC curve.

Throughout: `codes` are the groups of the images, int64 of shape [images], as places in `names`, or in
[0, groups). A group is *judged* if it has at least `min_group_size` images that its figure rests on: only such
groups take part in gaps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.metrics.gap_measurement import GroupFigure
from pytest_biastransfer.metrics.gap_metrics import GROUP_METRICS
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.metrics.statistics.gap_intervals import Spread, signed_estimate, spread_estimate
from pytest_biastransfer.metrics.statistics.group_extremes import worst_estimate
from pytest_biastransfer.names import GapMetric

Marked = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
# The places of two groups: the signed gap is the figure of the first minus that of the second.
Pair = tuple[int, int]


@dataclass(frozen=True)
class GroupGaps:
    """A metric of all groups, and the gap between them.

    Attributes
    ----------
    metric
        What is measured.
    groups
        The figure of each group.
    gap
        The largest difference between two judged groups, in [0, 1], or the signed difference of the two named ones, in
        [-1, 1]; NaN if fewer than two of them are judged.
    worst, best
        The judged group with the highest false-positive rate, or the lowest of another metric, and the one at the
        other end; the first of equals; None if fewer than two are judged.
    inflation
        By how much chance makes the gap larger, on average: 0 for a signed one; NaN if there is none.
    error
        The standard error of the gap; NaN if there is none.
    by_chance
        How often chance alone would part equal groups at least that far, in [0, 1]: 0 for a signed gap, whose test of
        change does not ask; NaN if there is no gap.
    worst_value
        The figure of the worst compared group; None if there is no gap.
    ratio
        The lowest one of the compared groups' rates divided by the highest one; None if there is no gap, or no rate.
    """

    metric: GapMetric
    groups: tuple[GroupFigure, ...]
    gap: Estimate
    worst: str | None
    best: str | None
    inflation: float
    error: float
    by_chance: float
    worst_value: Estimate | None = None
    ratio: Estimate | None = None

    @property
    def unjudged(self) -> tuple[str, ...]:
        """The names of the groups that have too few images."""
        return tuple(figure.group for figure in self.groups if not figure.judged)


class ComparedGroups(NamedTuple):
    """The groups that a gap compares.

    Attributes
    ----------
    sizes
        How many images the figure of each group rests on.
    judged
        The places of the groups for which that is enough.
    places
        Those of the compared groups: all judged ones, or the two named ones if both are judged.
    is_signed
        Whether two groups are named.
    """

    sizes: Integers
    judged: Integers
    places: Integers
    is_signed: bool

    @classmethod
    def of(cls, sizes: Integers, min_group_size: int, between: Pair | None) -> ComparedGroups:
        """Return the groups that are compared, of groups of some sizes."""
        judged = np.flatnonzero(sizes >= max(1, min_group_size))
        if between is None:
            return cls(sizes, judged, judged, is_signed=False)
        pair = np.array(between, dtype=np.int64)
        return cls(sizes, judged, pair if np.isin(pair, judged).all() else pair[:0], is_signed=True)

    def total(self, images: Integers) -> int:
        """Return the sum of the numbers of images of the compared groups."""
        return int(images[self.places].sum())


def gaps_of(
    metric: GapMetric,
    names: Sequence[str],
    estimates_at: Callable[[float], Sequence[Estimate]],
    compared: ComparedGroups,
    draws: Floats,
    n: int,
    confidence: float,
) -> GroupGaps:
    """Put the figures of the groups, which `estimates_at` returns for a confidence, and the gap together.

    `draws` are of the compared groups' true figures, which rest on `n` images together.
    """
    estimates, sizes, places = estimates_at(confidence), compared.sizes, compared.places
    enough = set(compared.judged.tolist())
    groups = tuple(
        GroupFigure(name, estimate, int(size), index in enough)
        for index, (name, estimate, size) in enumerate(zip(names, estimates, sizes, strict=True))
    )
    if len(places) < 2:
        least = -1 if compared.is_signed else 0
        nothing = Estimate(np.nan, low=least, high=1, confidence=confidence, n=n, method="paired bootstrap")
        return GroupGaps(metric, groups, nothing, None, None, np.nan, np.nan, np.nan)
    figures = np.array([float(estimates[index]) for index in places])
    lowest, highest = (names[places[index]] for index in (figures.argmin(), figures.argmax()))
    is_highest = GROUP_METRICS[metric].worst == "highest"
    worst, best = (highest, lowest) if is_highest else (lowest, highest)

    def compared_at(level: float) -> list[Estimate]:
        at_level = estimates_at(level)
        return [at_level[index] for index in places]

    worst_value = worst_estimate(compared_at, is_highest=is_highest, confidence=confidence)
    if compared.is_signed:
        differences = draws[:, 0] - draws[:, 1]
        signed = signed_estimate(float(figures[0] - figures[1]), differences, n, confidence)
        return GroupGaps(metric, groups, signed, worst, best, 0.0, float(differences.std()), 0.0, worst_value)
    spread = Spread.of(figures, draws)
    largest = spread_estimate(spread, int(sizes[places].min()), n, confidence)
    inflation = float(spread.resampled.mean() - spread.value)
    return GroupGaps(metric, groups, largest, worst, best, inflation, spread.error, spread.by_chance, worst_value)


def signed_excess(figures: Floats, draws: Floats, n: int, confidence: float) -> Estimate:
    """Return the difference of signed gaps: figures [2, groups] and draws [draws, 2, groups] of model and control."""
    if figures.shape[1] < 2:
        return Estimate(np.nan, low=-2, high=2, confidence=confidence, n=n, method="paired bootstrap")
    (model, control), moved = figures[:, 0] - figures[:, 1], draws[:, :, 0] - draws[:, :, 1]
    return signed_estimate(float(model - control), moved[:, 0] - moved[:, 1], n, confidence, most=2.0)
