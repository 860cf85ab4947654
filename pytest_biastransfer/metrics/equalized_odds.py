"""Equalized odds: the larger one of the gaps of false-positive and of true-positive rates.

Hardt, Price and Srebro 2016 (arXiv 1610.02413) ask for both rates to be equal in all groups.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np

from pytest_biastransfer.metrics.group_gaps import GroupGaps, Integers, Marked
from pytest_biastransfer.metrics.rate_gaps import RateMetric, hits_and_among, rate_gaps
from pytest_biastransfer.metrics.statistics.estimate import Estimate

_RATES: Final[tuple[RateMetric, RateMetric]] = ("fpr", "tpr")


def equalized_odds_gaps(
    predicted_positive: Marked,
    positive: Marked,
    codes: Integers,
    names: Sequence[str],
    *,
    min_group_size: int = 30,
    confidence: float = 0.95,
) -> GroupGaps:
    """Return the gap of the rate whose gap is the larger one, with that rate of each group.

    The larger of two gaps is at least `x` if either is, so the lower ends of both intervals have to hold at once, and
    share the probability of error (Bonferroni). It is at most `x` only if both are: the upper end is the larger one of
    the two, without a correction.

    >>> codes, positive = np.arange(200) // 100, np.arange(200) % 2 == 1
    >>> predicted = positive.copy()
    >>> predicted[:40] = True
    >>> gaps = equalized_odds_gaps(predicted, positive, codes, ["day", "night"])
    >>> gaps.metric, float(gaps.gap)
    ('fpr', 0.4)
    """
    right = predicted_positive == positive

    def gaps(rate: RateMetric, level: float) -> GroupGaps:
        hits, among = hits_and_among(rate, predicted_positive, positive, right)
        return rate_gaps(rate, hits, among, codes, names, min_group_size=min_group_size, confidence=level)

    both = [gaps(rate, confidence) for rate in _RATES]
    undefined = [rate for rate in both if np.isnan(rate.gap)]
    if undefined:
        return undefined[0]
    larger = max(both, key=lambda rate: float(rate.gap))
    estimate = Estimate(
        larger.gap,
        low=min(float(larger.gap), max(gaps(rate, (1 + confidence) / 2).gap.low for rate in _RATES)),
        high=max(rate.gap.high for rate in both),
        confidence=confidence,
        n=larger.gap.n,
        method=larger.gap.method,
    )
    return dataclasses.replace(larger, gap=estimate)
