"""Gaps of average precision, calibration and equalized odds: against scikit-learn and fairlearn, and how often intervals hold."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from fairlearn.metrics import MetricFrame, equalized_odds_difference
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from pytest_biastransfer.metrics.equalized_odds import equalized_odds_gaps
from pytest_biastransfer.metrics.group_gaps import GroupGaps
from pytest_biastransfer.metrics.rate_gaps import hits_and_among, rate_gaps
from pytest_biastransfer.metrics.score_gaps import average_precision_gaps, calibration_gaps
from pytest_biastransfer.metrics.statistics.average_precision import average_precision
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.metrics.statistics.gap_intervals import unpaired_excess
from pytest_biastransfer.metrics.statistics.intervals import proportion

Marked = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

quick = settings(max_examples=60, deadline=None)
NAMES = ["a", "b", "c"]
# Few values, so that scores are often equal.
rows = st.lists(
    st.tuples(st.integers(0, 2), st.booleans(), st.booleans(), st.sampled_from([0.0, 0.2, 0.5, 0.7, 1.0])),
    min_size=1,
    max_size=60,
)


def columns(images: list[tuple[int, bool, bool, float]]) -> tuple[Integers, Marked, Marked, Floats]:
    codes, positive, predicted, scores = zip(*images, strict=True)
    return np.array(codes), np.array(positive), np.array(predicted), np.array(scores)


def values(gaps: GroupGaps) -> list[float]:
    return [float(figure.estimate) for figure in gaps.groups]


@quick
@given(rows)
def test_average_precisions_agree_with_scikit_learn(images: list[tuple[int, bool, bool, float]]) -> None:
    codes, positive, _, scores = columns(images)
    gaps = average_precision_gaps(scores, positive, codes, NAMES, min_group_size=1)
    expected = [
        average_precision_score(positive[codes == code], scores[codes == code])
        if positive[codes == code].any()
        else math.nan
        for code in range(3)
    ]
    assert values(gaps) == pytest.approx(expected, abs=1e-9, nan_ok=True)
    measured = [value for value in expected if not math.isnan(value)]
    difference = max(measured) - min(measured) if len(measured) > 1 else math.nan
    assert float(gaps.gap) == pytest.approx(difference, abs=1e-9, nan_ok=True)
    assert [figure.size for figure in gaps.groups] == [
        np.count_nonzero(positive & (codes == code)) for code in range(3)
    ]
    for figure in gaps.groups:
        if figure.size:
            assert figure.estimate.low <= figure.estimate <= figure.estimate.high
            assert figure.estimate.low < figure.estimate.high


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_average_precision_of_many_images_agrees_with_scikit_learn(dtype: type[np.generic]) -> None:
    generator = np.random.default_rng(0)
    positive = generator.random(50_000) < 0.1
    scores = (generator.standard_normal(50_000) + positive).astype(dtype).round(2)
    expected = average_precision_score(positive, scores)
    assert average_precision(scores[positive], scores[~positive]) == pytest.approx(expected, abs=1e-9)


@quick
@given(rows)
def test_calibration_is_the_mean_probability_minus_the_share_of_positives(
    images: list[tuple[int, bool, bool, float]],
) -> None:
    codes, positive, _, probabilities = columns(images)
    gaps = calibration_gaps(probabilities, positive, codes, NAMES, min_group_size=1)
    occurring = sorted(set(codes.tolist()))
    frame = MetricFrame(
        metrics=lambda true, predicted: predicted.mean() - true.mean(),
        y_true=positive.astype(float),
        y_pred=probabilities,
        sensitive_features=codes.tolist(),
    )
    assert [values(gaps)[code] for code in occurring] == pytest.approx(frame.by_group[occurring].tolist(), abs=1e-9)
    if len(occurring) > 1:
        assert float(gaps.gap) == pytest.approx(frame.difference(), abs=1e-9)
        signed = calibration_gaps(
            probabilities, positive, codes, NAMES, min_group_size=1, between=(occurring[1], occurring[0])
        )
        expected = values(gaps)[occurring[1]] - values(gaps)[occurring[0]]
        assert float(signed.gap) == pytest.approx(expected, abs=1e-12)
        assert signed.gap.low <= signed.gap <= signed.gap.high
    else:
        assert math.isnan(gaps.gap)
    for figure in gaps.groups:
        assert not figure.size or figure.estimate.low < figure.estimate.high


@quick
@given(rows)
def test_equalized_odds_agree_with_fairlearn(images: list[tuple[int, bool, bool, float]]) -> None:
    codes, positive, predicted, _ = columns(images)
    gaps = equalized_odds_gaps(predicted, positive, codes, NAMES, min_group_size=1)
    complete = [
        code for code in range(3) if 0 < np.count_nonzero(positive[codes == code]) < np.count_nonzero(codes == code)
    ]
    occurring = set(codes.tolist())
    if len(complete) < 2 or set(complete) != occurring:
        # Where a rate has nothing to divide by, fairlearn says 0, and we leave the group out.
        return
    expected = equalized_odds_difference(positive, predicted, sensitive_features=codes.tolist())
    assert float(gaps.gap) == pytest.approx(expected, abs=1e-9)
    assert gaps.gap.low <= gaps.gap <= gaps.gap.high
    hits, among = hits_and_among("fpr" if gaps.metric == "fpr" else "tpr", predicted, positive, predicted == positive)
    assert values(gaps) == pytest.approx(
        values(rate_gaps("fpr", hits, among, codes, NAMES, min_group_size=1)), nan_ok=True
    )


def test_equalized_odds_need_both_rates() -> None:
    codes, positive = np.repeat([0, 1], 40), np.zeros(80, dtype=np.bool_)
    gaps = equalized_odds_gaps(codes == 1, positive, codes, NAMES[:2])
    assert math.isnan(gaps.gap)
    assert (gaps.metric, gaps.worst) == ("tpr", None)


# ------------------------------------------------------------------- how often intervals are right


def covered(truth: float, draw: Callable[[np.random.Generator], Estimate], count: int = 300) -> float:
    generator = np.random.default_rng(11)
    estimates = [draw(generator) for _ in range(count)]
    return float(np.mean([estimate.low <= truth + 1e-12 and truth - 1e-12 <= estimate.high for estimate in estimates]))


def test_the_gap_of_average_precisions() -> None:
    codes, positive = np.repeat([0, 1], 400), np.tile(np.arange(400) < 200, 2)
    shift = np.where(positive, np.array([1.0, 1.5])[codes], 0)
    generator, many = np.random.default_rng(0), 1_000_000
    first, second = (
        average_precision(generator.standard_normal(many) + distance, generator.standard_normal(many))
        for distance in (1.0, 1.5)
    )

    def draw(generator: np.random.Generator) -> Estimate:
        scores = generator.standard_normal(800) + shift
        return average_precision_gaps(scores, positive, codes, NAMES[:2], between=(0, 1)).gap

    assert covered(first - second, draw) >= 0.93


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_the_gap_of_calibration(shift: float) -> None:
    codes = np.repeat([0, 1], 200)

    def draw(generator: np.random.Generator) -> Estimate:
        true = generator.beta(2, 5, 400) * 0.8
        return calibration_gaps(true + shift * (codes == 1), generator.random(400) < true, codes, NAMES[:2]).gap

    assert covered(shift, draw) >= 0.91


@pytest.mark.parametrize(("fpr", "tpr"), [((0.2, 0.2), (0.8, 0.8)), ((0.1, 0.3), (0.9, 0.7))])
def test_the_gap_of_equalized_odds(fpr: tuple[float, float], tpr: tuple[float, float]) -> None:
    codes, positive = np.repeat([0, 1], 400), np.arange(800) % 2 == 0
    shares = np.where(positive, np.array(tpr)[codes], np.array(fpr)[codes])

    def draw(generator: np.random.Generator) -> Estimate:
        return equalized_odds_gaps(generator.random(800) < shares, positive, codes, NAMES[:2]).gap

    assert covered(max(abs(fpr[0] - fpr[1]), abs(tpr[0] - tpr[1])), draw) >= 0.91


def test_the_excess_of_gaps_as_if_of_other_images() -> None:
    def draw(generator: np.random.Generator) -> Estimate:
        model, control = (proportion(int(generator.binomial(200, share)), 200) for share in (0.3, 0.1))
        return unpaired_excess(model, control)

    assert covered(0.2, draw) >= 0.93
