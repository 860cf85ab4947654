"""Differences between groups of images in how often a model errs: gaps.

Wang and Russakovsky 2023 (arXiv 2303.06167) measure a bias that came from a spurious correlation by the difference
of false-positive rates between groups, where as many images are predicted positive as there are positives, and a
bias that came from underrepresentation by the difference of areas under the ROC curve.

Throughout: `codes` are the groups of the images, int64 of shape [images], as places in `names`, or in
[0, groups). A group is *judged* if it has at least `min_group_size` images that its figure rests on: only such
groups take part in gaps.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.metrics.gap_measurement import GroupFigure
from pytest_biastransfer.metrics.gap_metrics import GROUP_METRICS
from pytest_biastransfer.metrics.statistics.auc import Areas, area_estimates, areas, drawn_areas
from pytest_biastransfer.metrics.statistics.draws import DRAWS, generator_of
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.metrics.statistics.gap_intervals import Spread, signed_estimate, spread_estimate, spread_excess
from pytest_biastransfer.metrics.statistics.group_extremes import ratio_estimate, worst_estimate
from pytest_biastransfer.metrics.statistics.intervals import proportion
from pytest_biastransfer.names import GapMetric, Negatives

RateMetric = Literal["fpr", "tpr", "accuracy", "selection_rate", "precision"]

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


def hits_and_among(
    metric: RateMetric, predicted_positive: Marked, positive: Marked, right: Marked
) -> tuple[Marked, Marked]:
    """Return which images count for a rate, and among which it is taken: bool of shape [images] each.

    Parameters
    ----------
    predicted_positive, positive
        Which images are predicted to be positive, and which are.
    right
        Which images are classified correctly.

    Examples
    --------
    >>> predicted, positive = np.array([True, True, False]), np.array([True, False, False])
    >>> hits, among = hits_and_among("fpr", predicted, positive, predicted == positive)
    >>> hits[among]
    array([ True, False])
    """
    rate = GROUP_METRICS[metric]
    counted = {"predicted positive": predicted_positive, "classified correctly": right, "positive": positive}
    bases = {"negatives": ~positive, "positives": positive, "predicted positives": predicted_positive}
    assert rate.counts is not None
    return counted[rate.counts], bases[rate.base] if rate.base in bases else np.ones(len(positive), dtype=np.bool_)


def at_prevalence(scores: npt.NDArray[Any], positive_count: int) -> Marked:
    """Return which images are predicted positive if as many shall be as there are positives.

    These are the images with the highest scores. Images with the same score fall on the same side of the
    threshold: on the one that makes the count nearest to `positive_count`; if both are as near, they are negative.

    Parameters
    ----------
    scores
        Floats of shape [images].
    positive_count
        The number of positives, in [0, images].

    Examples
    --------
    >>> at_prevalence(np.array([0.1, 0.9, 0.5, 0.5]), 2)
    array([False,  True, False, False])
    >>> at_prevalence(np.array([0.1, 0.9, 0.5, 0.5]), 3)
    array([False,  True,  True,  True])
    """
    marked: Marked = scores > prevalence_cut(scores, positive_count)
    return marked


def prevalence_cut(scores: npt.NDArray[Any], positive_count: int) -> float:
    """Return the number that the scores of as many images are above as there are positives; see `at_prevalence`.

    Of all such numbers, it is the largest: other images have to reach the lowest of these scores.

    >>> prevalence_cut(np.array([0.1, 0.9, 0.5, 0.5]), 2) < 0.9
    True
    """
    if positive_count == 0:
        return np.inf
    index = len(scores) - positive_count
    threshold = np.partition(scores, index)[index]
    above, reached = scores[scores > threshold], scores[scores >= threshold]
    marked = reached if len(reached) - positive_count < positive_count - len(above) else above
    return float(np.nextafter(marked.min(), -np.inf, dtype=scores.dtype)) if len(marked) else np.inf


def rate_gaps(
    metric: RateMetric,
    hits: Marked,
    among: Marked,
    codes: Integers,
    names: Sequence[str],
    *,
    min_group_size: int = 30,
    confidence: float = 0.95,
    between: Pair | None = None,
) -> GroupGaps:
    """Return the rates of groups, and the gap between them.

    The rates' intervals are exact (Clopper and Pearson 1934).

    The largest difference of groups is larger on average than the true one, by what chance alone drives apart, the more
    so of many groups. The interval of the gap begins with the basic bootstrap interval, which takes that back (see
    `basic_bootstrap`), with draws from Jeffreys' posterior of each group's rate. It takes back too little where several
    groups share an end, and too much where two groups hardly differ. So it reaches down to 0 where chance parts equal
    groups that far, down to the smallest true gap with which chance still reaches the observed one (see
    `Spread.lowest`), and up to what the two groups that are farthest apart would allow if no others had been looked at.
    The 95 % interval then contains the true gap in .93 to 1.00 of simulated datasets; docs/statistics.md has the table.

    Once the images are counted, it takes no longer of more of them.

    Parameters
    ----------
    hits, among
        Which images count, and among which: see `hits_and_among`.
    between
        Two groups, for the signed gap: the figure of the first one minus that of the second one. Its interval has the
        quantiles of the draws alone (see `signed_estimate`).

    Examples
    --------
    >>> hits, codes = np.arange(100) % 10 < 3, np.arange(100) // 50
    >>> hits[50:60] = True
    >>> rate_gaps("accuracy", hits, np.ones(100, dtype=bool), codes, ["day", "night"]).gap
    0.14 [0, 0.322]
    """
    cells = _cells([hits], among, codes, len(names))
    sizes = cells.sum(axis=1)

    def estimates(level: float) -> list[Estimate]:
        return [proportion(int(hit), int(size), level) for (_, hit), size in zip(cells, sizes, strict=True)]

    compared = ComparedGroups.of(sizes, min_group_size, between)
    draws = _drawn_rates(cells[compared.places])[:, 0]
    gaps = gaps_of(metric, names, estimates, compared, draws, compared.total(sizes), confidence)
    if gaps.worst is None:
        return gaps
    return dataclasses.replace(
        gaps, ratio=ratio_estimate(cells[compared.places, 1], sizes[compared.places], confidence)
    )


def auc_gaps(
    scores: npt.NDArray[Any],
    positive: Marked,
    codes: Integers,
    names: Sequence[str],
    *,
    negatives: Negatives = "own",
    min_group_size: int = 30,
    confidence: float = 0.95,
    between: Pair | None = None,
) -> GroupGaps:
    """Return the areas under the ROC curve of groups, and the gap between them.

    The areas' intervals are DeLong's (see `area_estimates`). That of the gap is found as at `rate_gaps`, with
    draws of areas that are normal on the scale of the logit (see `drawn_areas`). How often the 95 % interval
    contains the true gap, in 1,000 simulated data sets with so many positives, and as many negatives, in each group:
    where all areas are 0.8; where they are spread evenly from 0.75 to 0.85; and where one is 0.9 and the others are
    0.98; with each group's own negatives, and then with shared ones:

    ======  ======  =======  ======  =======  ===============  ======  =======
    groups  images  all 0.8  spread  one 0.9  shared: all 0.8  spread  one 0.9
    ======  ======  =======  ======  =======  ===============  ======  =======
    2       50      0.95     0.97    0.95     0.95             0.95    0.96
    2       200     0.96     0.96    0.96     0.97             0.96    0.96
    2       2,000   0.96     0.96    0.95     0.97             0.96    0.95
    5       50      0.96     0.97    0.97     0.94             0.97    0.95
    5       200     0.95     0.97    0.95     0.95             0.97    0.95
    5       2,000   0.95     0.96    0.96     0.94             0.96    0.95
    10      50      0.97     0.94    0.98     0.96             0.96    0.97
    10      200     0.97     0.96    0.96     0.95             0.97    0.96
    10      2,000   0.95     0.95    0.94     0.95             0.96    0.94
    ======  ======  =======  ======  =======  ===============  ======  =======

    A million images in ten groups take a tenth of a second or two. Shared negatives take 4 bytes of memory for
    each negative and group.

    Parameters
    ----------
    scores
        Higher ones for positives, floats of shape [images].
    positive
        Which images are positive, bool of shape [images].
    negatives
        Whether each group's positives are compared with its ``"own"`` negatives, or with those of all groups,
        ``"shared"``, as Wang and Russakovsky do.

    Examples
    --------
    >>> scores, positive, codes = np.arange(200) % 89, np.arange(200) % 2 == 1, np.arange(200) // 100
    >>> auc_gaps(scores, positive, codes, ["day", "night"]).gap.method
    'paired bootstrap'
    """
    group_areas = areas([scores], positive, codes, len(names), shared=negatives == "shared")
    compared = ComparedGroups.of(group_areas.sizes, min_group_size, between)
    draws = drawn_areas(group_areas, compared.places)[:, 0]
    estimates, n = functools.partial(area_estimates, group_areas), _images(group_areas, compared.places, negatives)
    return gaps_of("auc", names, estimates, compared, draws, n, confidence)


def gap_excess(
    hits: Marked,
    control_hits: Marked,
    among: Marked,
    codes: Integers,
    groups: int,
    *,
    min_group_size: int = 30,
    confidence: float = 0.95,
    between: Pair | None = None,
) -> Estimate:
    """Return by how much a model's gap exceeds the control model's on the same images, in [-1, 1].

    Both are drawn with the same images, so that what makes them err alike cancels out. The interval contains the
    basic bootstrap interval of the difference and that of the two pairs of groups that are farthest apart; where
    chance alone could have made one of the gaps and not the other, it reaches as far as if that one were 0. How
    often the 95 % interval contains the true excess, in 1,000 simulated data sets with so many images in each group:
    where all rates of both models are 0.2; where the model's are spread evenly from 0.1 to 0.3, and the control's
    are all 0.2; where both are spread like that; and where one group has 0.4, and 0.25 by the control, and others 0.2:

    ======  ======  =======  ===========  ===========  =======
    groups  images  all 0.2  control 0.2  both spread  one 0.4
    ======  ======  =======  ===========  ===========  =======
    2       50      0.98     0.95         0.94         0.95
    2       200     0.98     0.97         0.92         0.97
    2       2,000   0.99     0.97         0.96         0.97
    5       50      0.99     0.89         0.97         0.97
    5       200     0.99     0.96         0.97         0.99
    5       2,000   0.99     0.95         0.95         0.98
    10      50      1.00     0.90         0.99         0.97
    10      200     1.00     0.97         0.98         0.99
    10      2,000   1.00     0.95         0.96         0.98
    ======  ======  =======  ===========  ===========  =======

    Parameters
    ----------
    hits, control_hits
        Which images count for the model, and for the control model.

    Examples
    --------
    >>> among, codes = np.ones(100, dtype=bool), np.arange(100) // 50
    >>> round(float(gap_excess(np.arange(100) < 60, np.arange(100) < 50, among, codes, 2)), 3)
    -0.2
    """
    cells = _cells([hits, control_hits], among, codes, groups)
    sizes = cells.sum(axis=1)
    judged = ComparedGroups.of(sizes, min_group_size, between).places
    # The cells are of neither, of the control only, of the model only, and of both.
    rates = np.stack([cells[:, 2] + cells[:, 3], cells[:, 1] + cells[:, 3]])[:, judged] / sizes[judged]
    draws, n = _drawn_rates(cells[judged]), int(sizes[judged].sum())
    if between is not None:
        return _signed_excess(rates, draws, n, confidence)
    return spread_excess(rates, draws, sizes[judged], n, confidence)


def auc_gap_excess(
    scores: npt.NDArray[Any],
    control_scores: npt.NDArray[Any],
    positive: Marked,
    codes: Integers,
    groups: int,
    *,
    negatives: Negatives = "own",
    min_group_size: int = 30,
    confidence: float = 0.95,
    between: Pair | None = None,
) -> Estimate:
    """Return by how much a model's gap of areas exceeds the control model's on the same images, in [-1, 1].

    The interval is found as at `gap_excess`. In the same simulations with shared negatives, of areas of 0.8 or
    spread evenly from 0.75 to 0.85, the 95 % interval contains the true excess in 0.89 to 1.00 of data sets.

    >>> scores, positive, codes = np.arange(200) % 89, np.arange(200) % 2 == 1, np.arange(200) // 100
    >>> float(auc_gap_excess(scores, scores, positive, codes, 2))
    0.0
    """
    group_areas = areas([scores, control_scores], positive, codes, groups, shared=negatives == "shared")
    judged = ComparedGroups.of(group_areas.sizes, min_group_size, between).places
    n = _images(group_areas, judged, negatives)
    values, draws = group_areas.values[:, judged], drawn_areas(group_areas, judged)
    if between is not None:
        return _signed_excess(values, draws, n, confidence)
    return spread_excess(values, draws, group_areas.sizes[judged], n, confidence)


def _signed_excess(figures: Floats, draws: Floats, n: int, confidence: float) -> Estimate:
    """Return the difference of signed gaps: figures [2, groups] and draws [draws, 2, groups] of model and control."""
    if figures.shape[1] < 2:
        return Estimate(np.nan, low=-2, high=2, confidence=confidence, n=n, method="paired bootstrap")
    (model, control), moved = figures[:, 0] - figures[:, 1], draws[:, :, 0] - draws[:, :, 1]
    return signed_estimate(float(model - control), moved[:, 0] - moved[:, 1], n, confidence, most=2.0)


def _cells(hits: Sequence[Marked], among: Marked, codes: Integers, groups: int) -> Integers:
    """Count the images of each group that count for none of the models, ..., for all: shape [groups, 2^models]."""
    keys = codes * 2 + among
    for marked in hits:
        keys = keys * 2 + marked
    kinds = 2 ** len(hits)
    counts = np.bincount(keys, minlength=2 * groups * kinds)
    return counts.reshape(groups, 2, kinds)[:, 1]


def _images(group_areas: Areas, judged: Integers, negatives: Negatives) -> int:
    """Return how many images the areas of groups rest on; shared negatives are there once."""
    compared = group_areas.negatives[judged][:1] if negatives == "shared" else group_areas.negatives[judged]
    return int(group_areas.positives[judged].sum() + compared.sum())


def _drawn_rates(cells: Integers) -> Floats:
    """Return draws of what the true rates may be: counts [groups, 2^models] -> [draws, models, groups].

    Each rate is drawn from Jeffreys' posterior, Beta(hits + 1/2, misses + 1/2): resampling counts of 0, of which
    small rates have many, would give 0 every time.
    """
    kinds = cells.shape[1]
    weights = generator_of(0).standard_gamma(cells + 1 / kinds, size=(DRAWS, *cells.shape))
    weights /= weights.sum(axis=2, keepdims=True)
    # The first model's hits are the second half of the cells, the second one's those with odd numbers.
    models = [weights[:, :, kinds // 2 :].sum(axis=2)]
    if kinds == 4:
        models.append(weights[:, :, 1::2].sum(axis=2))
    return np.stack(models, axis=1)


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
