"""Gaps between groups in a rate: exact intervals of the rates, and draws of what the true ones may be.

The arguments and results are as in `group_gaps`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from pytest_biastransfer.metrics.gap_metrics import GROUP_METRICS
from pytest_biastransfer.metrics.group_gaps import (
    ComparedGroups,
    Floats,
    GroupGaps,
    Integers,
    Marked,
    Pair,
    gaps_of,
    signed_excess,
)
from pytest_biastransfer.metrics.statistics.draws import DRAWS, generator_of
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.metrics.statistics.gap_intervals import spread_excess
from pytest_biastransfer.metrics.statistics.group_extremes import ratio_estimate
from pytest_biastransfer.metrics.statistics.intervals import proportion

RateMetric = Literal["fpr", "tpr", "accuracy", "selection_rate", "precision"]


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
        return signed_excess(rates, draws, n, confidence)
    return spread_excess(rates, draws, sizes[judged], n, confidence)


def _cells(hits: Sequence[Marked], among: Marked, codes: Integers, groups: int) -> Integers:
    """Count the images of each group that count for none of the models, ..., for all: shape [groups, 2^models]."""
    keys = codes * 2 + among
    for marked in hits:
        keys = keys * 2 + marked
    kinds = 2 ** len(hits)
    counts = np.bincount(keys, minlength=2 * groups * kinds)
    return counts.reshape(groups, 2, kinds)[:, 1]


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
