"""The worst group and the ratio of rates: against fairlearn, and how often the intervals hold the truth."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from fairlearn.metrics import MetricFrame, selection_rate
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_biastransfer.metrics.area_gaps import auc_gaps
from pytest_biastransfer.metrics.group_gaps import ComparedGroups, gaps_of
from pytest_biastransfer.metrics.rate_gaps import RateMetric, rate_gaps
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.metrics.statistics.group_extremes import ratio_estimate, worst_estimate
from pytest_biastransfer.metrics.statistics.intervals import proportion

NAMES = ["a", "b", "c"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=2, max_size=60))
def test_the_ratio_and_the_worst_group_agree_with_fairlearn(images: list[tuple[int, bool]]) -> None:
    codes, predicted = map(np.array, zip(*images, strict=True))
    gaps = rate_gaps("selection_rate", predicted, np.ones(len(codes), dtype=bool), codes, NAMES, min_group_size=1)
    if len(set(codes.tolist())) < 2:
        assert (gaps.ratio, gaps.worst_value) == (None, None)
        return
    frame = MetricFrame(metrics=selection_rate, y_true=predicted, y_pred=predicted, sensitive_features=codes.tolist())
    assert gaps.ratio is not None
    assert gaps.worst_value is not None
    assert float(gaps.ratio) == pytest.approx(frame.ratio(), abs=1e-9, nan_ok=True)
    assert float(gaps.worst_value) == pytest.approx(frame.group_min(), abs=1e-9)
    assert gaps.worst_value.low <= gaps.worst_value <= gaps.worst_value.high
    assert math.isnan(gaps.ratio) or 0 <= gaps.ratio.low <= gaps.ratio <= gaps.ratio.high <= 1


@pytest.mark.parametrize(("metric", "extreme"), [("fpr", max), ("accuracy", min)])
def test_the_worst_group_is_the_highest_or_the_lowest_one(metric: RateMetric, extreme: Any) -> None:
    codes = np.repeat(np.arange(3), 40)
    hits = np.arange(120) % 40 < np.array([10, 30, 20])[codes]
    gaps = rate_gaps(metric, hits, np.ones(120, dtype=bool), codes, NAMES)
    assert gaps.worst_value is not None
    assert float(gaps.worst_value) == extreme([0.25, 0.75, 0.5])
    assert gaps.worst_value.n == 40


def test_an_area_has_a_worst_group_and_no_ratio() -> None:
    generator = np.random.default_rng(0)
    codes, positive = np.arange(300) // 100, np.arange(300) % 2 == 0
    gaps = auc_gaps(generator.standard_normal(300) + positive * codes, positive, codes, NAMES)
    assert gaps.ratio is None
    assert gaps.worst_value is not None
    assert float(gaps.worst_value) == min(float(figure.estimate) for figure in gaps.groups)


RATES = [[0.2, 0.2], [0.5, 0.4], [0.1, 0.3, 0.3], [0.6] * 5, [0.9, 0.5, 0.7, 0.72]]


def shares(rates: list[float], n: int, generator: np.random.Generator) -> Any:
    return generator.binomial(n, rates)


@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("n", [50, 400])
def test_how_often_the_interval_of_the_ratio_holds_the_truth(rates: list[float], n: int) -> None:
    generator, truth = np.random.default_rng(1), min(rates) / max(rates)
    estimates = [ratio_estimate(shares(rates, n, generator), np.full(len(rates), n)) for _ in range(400)]
    assert np.mean([estimate.low <= truth <= estimate.high for estimate in estimates]) >= 0.92


@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("n", [50, 400])
@pytest.mark.parametrize("is_highest", [False, True])
def test_how_often_the_interval_of_the_worst_group_holds_the_truth(
    rates: list[float], n: int, is_highest: bool
) -> None:
    generator, truth = np.random.default_rng(1), (max if is_highest else min)(rates)

    def estimate() -> Estimate:
        counts = shares(rates, n, generator)
        return worst_estimate(
            lambda level: [proportion(int(count), n, level) for count in counts], is_highest=is_highest
        )

    estimates = [estimate() for _ in range(300)]
    # The intervals of the rates are exact, so it is at least as often as said, but for chance in 300 datasets.
    assert np.mean([one.low <= truth <= one.high for one in estimates]) >= 0.94


def test_the_figures_of_many_groups_are_computed_once_for_each_confidence() -> None:
    confidences: list[float] = []

    def estimates_at(level: float) -> list[Estimate]:
        confidences.append(level)
        return [proportion(count, 100, level) for count in range(50)]

    draws = np.random.default_rng(0).random((100, 50))
    gap = ComparedGroups.of(np.full(50, 100), 30, None)
    names = [str(number) for number in range(50)]
    gaps_of("accuracy", names, estimates_at, gap, draws, 5000, 0.95)
    assert confidences == [0.95, 0.95, pytest.approx(0.999)]
