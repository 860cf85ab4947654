"""Gaps between groups: against fairlearn, scikit-learn and all pairs, and their properties."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import accuracy_score, precision_score, roc_auc_score

from pytest_biastransfer.metrics.area_gaps import auc_gap_excess, auc_gaps
from pytest_biastransfer.metrics.group_gaps import GroupGaps
from pytest_biastransfer.metrics.rate_gaps import RateMetric, gap_excess, hits_and_among, rate_gaps
from pytest_biastransfer.metrics.statistics.auc import area_estimates, areas, drawn_areas
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.metrics.statistics.intervals import proportion
from pytest_biastransfer.names import Negatives

Marked = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

quick = settings(max_examples=40, deadline=None)
rate_metrics = st.sampled_from(get_args(RateMetric))
kinds_of_negatives = st.sampled_from(get_args(Negatives))
# Few values, so that scores are often equal, and such as differ in their last bits.
scores_of_images = st.one_of(st.integers(-2, 2).map(float), st.floats(-4, 4, width=32))


class Images:
    """Images of up to five groups, of which some have no positives, no negatives or a single image."""

    def __init__(self, rows: list[tuple[int, bool, bool, float, float]], groups: int) -> None:
        codes, positive, predicted, scores, others = zip(*rows, strict=True)
        self.codes = np.array(codes, dtype=np.int64)
        self.positive, self.predicted = np.array(positive), np.array(predicted)
        self.scores, self.others = np.array(scores, dtype=np.float32), np.array(others)
        self.names = [f"group {place}" for place in range(groups)]

    def rates(self, metric: RateMetric) -> GroupGaps:
        return rate_gaps(metric, *self.hits_and_among(metric), self.codes, self.names, min_group_size=1)

    def hits_and_among(self, metric: RateMetric) -> tuple[Marked, Marked]:
        return hits_and_among(metric, self.predicted, self.positive, self.predicted == self.positive)

    def aucs(self, negatives: Negatives) -> GroupGaps:
        return auc_gaps(self.scores, self.positive, self.codes, self.names, negatives=negatives, min_group_size=1)

    def all_gaps(self) -> list[GroupGaps]:
        return [*map(self.rates, get_args(RateMetric)), *map(self.aucs, get_args(Negatives))]

    def ordered(self, order: Any) -> Images:
        """The same images in another order, or some of them several times."""
        return self.of(self.codes[order], *(part[order] for part in self.parts()))

    def regrouped(self, codes: Integers) -> Images:
        return self.of(codes, *self.parts())

    def parts(self) -> list[npt.NDArray[Any]]:
        return [self.positive, self.predicted, self.scores, self.others]

    def of(self, *columns: npt.NDArray[Any]) -> Images:
        return Images(list(zip(*(column.tolist() for column in columns), strict=True)), len(self.names))

    def compared(self, negatives: Negatives) -> list[tuple[Integers, Integers]]:
        """The places of the positives and negatives of each group."""
        return [
            (
                np.flatnonzero(self.positive & (self.codes == code)),
                np.flatnonzero(~self.positive & ((self.codes == code) | (negatives == "shared"))),
            )
            for code in range(len(self.names))
        ]


@st.composite
def images(draw: st.DrawFn, most: int = 60) -> Images:
    groups = draw(st.integers(1, 5))
    row = st.tuples(st.integers(0, groups - 1), st.booleans(), st.booleans(), scores_of_images, scores_of_images)
    return Images(draw(st.lists(row, min_size=1, max_size=most)), groups)


def figures(estimate: Estimate) -> list[float]:
    return [float(estimate), estimate.low, estimate.high, estimate.confidence, estimate.n]


def figures_of(gaps: GroupGaps) -> list[float]:
    every = [one.estimate for one in gaps.groups]
    return [*(figure for one in [*every, gaps.gap] for figure in figures(one)), gaps.inflation, gaps.error]


def values(gaps: GroupGaps) -> list[float]:
    return [float(one.estimate) for one in gaps.groups]


# --------------------------------------------------------------- against fairlearn and scikit-learn


def fairlearn_frame(metric: RateMetric, some: Images, seen: Marked) -> Any:
    from fairlearn import metrics

    functions: dict[RateMetric, Callable[..., float]] = {
        "fpr": metrics.false_positive_rate,
        "tpr": metrics.true_positive_rate,
        "accuracy": accuracy_score,
        "selection_rate": metrics.selection_rate,
        "precision": precision_score,
    }
    return metrics.MetricFrame(
        metrics=functions[metric],
        y_true=some.positive[seen].astype(int),
        y_pred=some.predicted[seen].astype(int),
        sensitive_features=some.codes[seen].tolist(),
    )


@quick
@given(images(), rate_metrics)
def test_rates_and_their_largest_difference_agree_with_fairlearn(some: Images, metric: RateMetric) -> None:
    among = some.hits_and_among(metric)[1]
    found = some.rates(metric)
    measured = [code for code, one in enumerate(found.groups) if one.size]
    assert measured == sorted(set(some.codes[among].tolist()))
    # Where there is nothing to divide by, fairlearn says 0: such groups are left out.
    seen = np.isin(some.codes, measured)
    if not measured:
        assert np.isnan(values(found)).all()
        return
    frame = fairlearn_frame(metric, some, seen)
    assert [values(found)[code] for code in measured] == pytest.approx(frame.by_group[measured].tolist(), abs=1e-9)
    if len(measured) > 1:
        assert found.gap == pytest.approx(frame.difference(), abs=1e-9)
    else:
        assert math.isnan(found.gap)


@quick
@given(images(), kinds_of_negatives)
def test_areas_agree_with_scikit_learn(some: Images, negatives: Negatives) -> None:
    found = some.aucs(negatives)
    for (positives, others), figure in zip(some.compared(negatives), found.groups, strict=True):
        assert figure.size == min(len(positives), len(others))
        if not figure.size:
            assert math.isnan(figure.estimate)
            assert (figure.estimate.low, figure.estimate.high, figure.judged) == (0.0, 1.0, False)
            continue
        both = np.concatenate([positives, others])
        expected = roc_auc_score(some.positive[both], some.scores[both])
        assert figure.estimate == pytest.approx(expected, abs=1e-9)
        assert figure.estimate.n == len(both)
    known = [value for value in values(found) if not math.isnan(value)]
    if len(known) > 1:
        assert found.gap == pytest.approx(max(known) - min(known), abs=1e-9)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_areas_of_many_images_agree_with_scikit_learn(dtype: type[np.generic]) -> None:
    generator = np.random.default_rng(3)
    positive, codes = generator.random(20_000) < 0.3, generator.integers(0, 3, 20_000)
    scores: npt.NDArray[Any] = (5 * generator.standard_normal(20_000) + 4 * positive).astype(dtype)
    found = auc_gaps(scores, positive, codes, ["a", "b", "c"])
    expected = [roc_auc_score(positive[codes == code], scores[codes == code]) for code in range(3)]
    assert values(found) == pytest.approx(expected, abs=1e-9)


def of_all_pairs(positives: Floats, negatives: Floats) -> Floats:
    won: Floats = (positives[:, None] > negatives) + (positives[:, None] == negatives) / 2
    return won


def covariance_of_all_pairs(
    positives: tuple[Integers, Integers], negatives: tuple[Integers, Integers], scores: tuple[Floats, Floats]
) -> float:
    """Compute DeLong's covariance of two areas from the matrices of pairs; images are shared or they are not."""
    matrices = [
        of_all_pairs(one[members], one[others])
        for one, members, others in zip(scores, positives, negatives, strict=True)
    ]
    total = 0.0
    for axis, (first, second) in ((1, positives), (0, negatives)):
        shared, at_first, at_second = np.intersect1d(first, second, return_indices=True)
        rest = [matrix.mean(axis=axis) - matrix.mean() for matrix in matrices]
        products = (rest[0][at_first] * rest[1][at_second]).sum()
        total += products / max(1, len(shared) - 1) / len(first) if len(shared) else 0.0
    return float(total)


@quick
@given(images(), kinds_of_negatives)
def test_variances_are_those_of_all_pairs(some: Images, negatives: Negatives) -> None:
    scores = [some.scores.astype(np.float64), some.others]
    found = areas(scores, some.positive, some.codes, len(some.names), shared=negatives == "shared")
    compared = some.compared(negatives)
    known = np.flatnonzero(found.sizes)
    for first in known:
        for second in known:
            for model in (0, 1):
                for other in (0, 1):
                    positives, those = zip(compared[first], compared[second], strict=True)
                    expected = covariance_of_all_pairs(positives, those, (scores[model], scores[other]))
                    assert found.covariance[model, first, other, second] == pytest.approx(expected, abs=1e-9)


def test_the_interval_of_an_area_is_that_of_its_logit() -> None:
    generator = np.random.default_rng(5)
    positive = np.arange(300) < 100
    scores = generator.standard_normal(300) + positive
    alone = np.zeros(300, dtype=np.int64)
    (found,) = area_estimates(areas([scores], positive, alone, 1), 0.9)
    places = np.flatnonzero(positive), np.flatnonzero(~positive)
    variance = covariance_of_all_pairs((places[0],) * 2, (places[1],) * 2, (scores, scores))
    area = roc_auc_score(positive, scores)
    reach = stats.norm.ppf(0.95) * math.sqrt(variance) / (area * (1 - area))
    ends = [1 / (1 + math.exp(-(math.log(area / (1 - area)) + side * reach))) for side in (-1, 1)]
    assert [found.low, found.high] == pytest.approx(ends, abs=1e-9)
    assert (found.n, found.method, found.confidence) == (300, "delong", 0.9)


@pytest.mark.parametrize(("scores", "area"), [(np.arange(50), 1.0), (-np.arange(50), 0.0), (np.zeros(50), 0.5)])
def test_an_area_without_variance_is_no_surer_than_as_many_pairs(scores: Floats, area: float) -> None:
    positive = np.arange(50) >= 20
    (found,) = area_estimates(areas([scores], positive, np.zeros(50, dtype=np.int64), 1))
    reach = proportion(0, 20).high
    assert found == area
    assert [found.low, found.high] == [max(0.0, area - reach), min(1.0, area + reach)]


def test_draws_of_areas_are_as_far_apart_and_as_alike_as_the_areas_themselves() -> None:
    def sample(generator: np.random.Generator) -> tuple[list[Floats], Marked, Integers]:
        positive, codes = np.arange(800) % 2 == 1, np.arange(800) // 400
        scores = generator.standard_normal(800) + positive
        return [scores, scores + 0.5 * generator.standard_normal(800)], positive, codes

    generator = np.random.default_rng(8)
    observed = np.array([areas(*sample(generator), 2, shared=True).values.ravel() for _ in range(400)])
    found = areas(*sample(generator), 2, shared=True)
    drawn = drawn_areas(found, np.arange(2)).reshape(-1, 4)
    expected = np.cov(observed.T)
    # Standard errors of covariances of 400 are 7 % of the variances.
    assert np.cov(drawn.T) == pytest.approx(expected, abs=0.3 * expected.max())
    assert expected[0, 1] > 0.2 * expected[0, 0]


# ------------------------------------------------------------------------- relations and symmetries


@quick
@given(images(), st.randoms(use_true_random=False))
def test_the_order_of_the_images_decides_nothing(some: Images, random: Any) -> None:
    order = list(range(len(some.codes)))
    random.shuffle(order)
    for found, shuffled in zip(some.all_gaps(), some.ordered(order).all_gaps(), strict=True):
        assert values(found) == pytest.approx(values(shuffled), abs=0, nan_ok=True)
        tolerance = 1e-9 if found.metric == "auc" else 0
        assert figures_of(found) == pytest.approx(figures_of(shuffled), abs=tolerance, nan_ok=True)


@quick
@given(images(), st.permutations(range(5)))
def test_other_numbers_for_the_groups_permute_the_figures(some: Images, numbers: list[int]) -> None:
    numbers = [number for number in numbers if number < len(some.names)]
    renumbered = some.regrouped(np.array(numbers)[some.codes])
    for found, other in zip(some.all_gaps(), renumbered.all_gaps(), strict=True):
        assert [values(other)[number] for number in numbers] == pytest.approx(values(found), abs=0, nan_ok=True)
        assert [other.groups[number].size for number in numbers] == [one.size for one in found.groups]
        assert other.gap == pytest.approx(found.gap, abs=0, nan_ok=True)


@quick
@given(images())
def test_gaps_and_their_intervals_are_within_0_and_1(some: Images) -> None:
    for found in some.all_gaps():
        assert 0 <= found.gap.low <= found.gap.high <= 1
        judged = [one for one in found.groups if one.judged]
        assert math.isnan(found.gap) == (len(judged) < 2) == (found.worst is None) == (found.best is None)
        if len(judged) >= 2:
            assert found.gap.low <= found.gap <= found.gap.high
            # No number of images makes it certain that groups are alike.
            assert found.gap.low < found.gap.high
            assert found.error > 0
            assert 0 <= found.by_chance <= 1
        for one in judged:
            assert 0 <= one.estimate.low <= one.estimate <= one.estimate.high <= 1
            assert one.estimate.low < one.estimate.high


@quick
@given(images(), st.integers(2, 5))
def test_groups_that_are_copies_of_each_other_have_no_gap(some: Images, copies: int) -> None:
    count = len(some.codes)
    several = some.ordered(np.tile(np.arange(count), copies))
    several.names = [f"group {place}" for place in range(copies)]
    several = several.regrouped(np.repeat(np.arange(copies), count))
    for found in several.all_gaps():
        if found.groups[0].judged:
            assert (found.gap, found.gap.low, found.by_chance) == (0.0, 0.0, 1.0)
            assert found.worst == found.best == "group 0"


@quick
@given(images())
def test_the_gap_lies_between_the_worst_and_the_best_group(some: Images) -> None:
    for found in some.all_gaps():
        by_name = {one.group: float(one.estimate) for one in found.groups if one.judged}
        if found.worst is None or found.best is None:
            continue
        difference = by_name[found.worst] - by_name[found.best]
        assert found.gap == pytest.approx(difference if found.metric == "fpr" else -difference, abs=1e-12)
        assert found.gap == pytest.approx(max(by_name.values()) - min(by_name.values()), abs=1e-12)


@quick
@given(images(), kinds_of_negatives)
def test_the_excess_of_a_model_over_itself_is_0(some: Images, negatives: Negatives) -> None:
    hits, among = some.hits_and_among("accuracy")
    groups = len(some.names)
    for found, gaps in (
        (gap_excess(hits, hits, among, some.codes, groups, min_group_size=1), some.rates("accuracy")),
        (
            auc_gap_excess(
                some.scores, some.scores, some.positive, some.codes, groups, negatives=negatives, min_group_size=1
            ),
            some.aucs(negatives),
        ),
    ):
        assert math.isnan(found) == math.isnan(gaps.gap)
        assert math.isnan(found) or found == 0.0
        assert -1 <= found.low < 0.0 < found.high <= 1
        assert found.n == gaps.gap.n


@quick
@given(images(), kinds_of_negatives)
def test_the_excess_is_the_difference_of_the_gaps(some: Images, negatives: Negatives) -> None:
    groups = len(some.names)
    among = np.ones(len(some.codes), dtype=np.bool_)
    rates = [
        rate_gaps("selection_rate", hits, among, some.codes, some.names, min_group_size=1).gap
        for hits in (some.predicted, some.positive)
    ]
    by_rate = gap_excess(some.predicted, some.positive, among, some.codes, groups, min_group_size=1)
    aucs = [
        auc_gaps(scores, some.positive, some.codes, some.names, negatives=negatives, min_group_size=1).gap
        for scores in (some.scores, some.others)
    ]
    by_auc = auc_gap_excess(
        some.scores, some.others, some.positive, some.codes, groups, negatives=negatives, min_group_size=1
    )
    for (model, control), found in ((rates, by_rate), (aucs, by_auc)):
        assert found == pytest.approx(model - control, abs=1e-12, nan_ok=True)
        assert -1 <= found.low < found.high <= 1
        assert math.isnan(found) or found.low <= found <= found.high


def test_the_excess_is_surer_of_models_that_err_on_the_same_images() -> None:
    generator = np.random.default_rng(6)
    codes, among = np.arange(2000) // 1000, np.ones(2000, dtype=np.bool_)
    hits = generator.random(2000) < 0.2 + 0.1 * codes
    alike, unlike = hits ^ (generator.random(2000) < 0.02), generator.random(2000) < 0.2 + 0.1 * codes
    widths = [one.high - one.low for one in (gap_excess(hits, other, among, codes, 2) for other in (alike, unlike))]
    assert widths[0] < 0.5 * widths[1]


# ------------------------------------------------------------------------------- which images count


@quick
@given(images(), rate_metrics)
def test_rates_are_counted_one_by_one(some: Images, metric: RateMetric) -> None:
    for code, figure in enumerate(some.rates(metric).groups):
        counted = []
        for group, positive, predicted in zip(some.codes, some.positive, some.predicted, strict=True):
            asked = {"fpr": not positive, "tpr": positive, "precision": predicted}.get(metric, True)
            if group == code and asked:
                counts = {"accuracy": predicted == positive, "precision": positive}.get(metric, predicted)
                counted.append(bool(counts))
        expected = proportion(sum(counted), len(counted))
        assert figure.size == len(counted)
        assert figures(figure.estimate) == pytest.approx(figures(expected), abs=0, nan_ok=True)
        assert figure.estimate.method == "clopper-pearson"


def test_groups_of_too_few_images_take_no_part_and_are_named() -> None:
    sizes = [30, 29, 31, 0]
    codes = np.repeat(np.arange(4), sizes)
    # All of the small group count, which would be the largest gap.
    hits = np.concatenate([np.arange(30) < 6, np.ones(29, dtype=bool), np.arange(31) < 12])
    found = rate_gaps("fpr", hits, np.ones(90, dtype=np.bool_), codes, ["a", "b", "c", "d"])
    assert found.unjudged == ("b", "d")
    assert [one.size for one in found.groups] == sizes
    assert found.gap == pytest.approx(12 / 31 - 6 / 30)
    assert (found.worst, found.best, found.gap.n) == ("c", "a", 61)
    # Groups that are not judged change nothing about the others.
    judged = np.isin(codes, [0, 2])
    alone = rate_gaps("fpr", hits[judged], np.ones(61, dtype=np.bool_), codes[judged] // 2, ["a", "c"])
    assert figures(alone.gap) == figures(found.gap)
    excess = gap_excess(hits, ~hits, np.ones(90, dtype=np.bool_), codes, 4)
    assert excess == pytest.approx(0.0)
    assert excess.n == 61


def test_groups_of_too_few_positives_take_no_part_in_the_gap_of_areas() -> None:
    generator = np.random.default_rng(4)
    codes = np.repeat(np.arange(3), 100)
    positive = np.arange(300) % 100 < np.array([50, 29, 50])[codes]
    scores = generator.standard_normal(300) + np.where(codes == 1, 9, 1) * positive
    images_compared: dict[Negatives, int] = {"own": 200, "shared": 100 + 171}
    for negatives, n in images_compared.items():
        found = auc_gaps(scores, positive, codes, ["a", "b", "c"], negatives=negatives)
        assert found.unjudged == ("b",)
        assert found.groups[1].estimate == 1.0
        first, _, third = values(found)
        assert found.gap == pytest.approx(abs(first - third))
        assert found.gap.n == n


def test_the_worst_group_has_the_highest_false_positive_rate_but_the_lowest_accuracy() -> None:
    codes = np.repeat(np.arange(3), 40)
    hits = np.arange(120) % 40 < np.array([10, 30, 10])[codes]
    every = np.ones(120, dtype=np.bool_)
    ends = {
        metric: (found.worst, found.best)
        for metric in get_args(RateMetric)
        for found in [rate_gaps(metric, hits, every, codes, ["a", "b", "c"])]
    }
    # The first one of equals.
    lowest_first = dict.fromkeys(("tpr", "accuracy", "selection_rate", "precision"), ("a", "b"))
    assert ends == {"fpr": ("b", "a"), **lowest_first}


# ------------------------------------------------------------------------------------- signed gaps


@quick
@given(images(), st.data())
def test_a_signed_gap_is_the_difference_of_two_groups_and_changes_its_sign_with_their_order(
    some: Images, data: st.DataObject
) -> None:
    groups = len(some.names)
    if groups < 2:
        return
    first, second = data.draw(st.permutations(range(groups)))[:2]
    options: dict[str, Any] = {"min_group_size": 1}
    for metric in get_args(RateMetric):
        counted = *some.hits_and_among(metric), some.codes, some.names
        gaps, opposite = (
            rate_gaps(metric, *counted, between=pair, **options) for pair in [(first, second), (second, first)]
        )
        expected = values(gaps)[first] - values(gaps)[second]
        assert float(gaps.gap) == pytest.approx(expected, abs=1e-12, nan_ok=True)
        assert float(opposite.gap) == pytest.approx(-expected, abs=1e-12, nan_ok=True)
        assert gaps.gap.low <= 1
        assert math.isnan(expected) or -1 <= gaps.gap.low <= gaps.gap <= gaps.gap.high <= 1
        # Other groups change nothing.
        assert [figure.estimate for figure in gaps.groups] == pytest.approx(
            [figure.estimate for figure in rate_gaps(metric, *counted, **options).groups], nan_ok=True
        )


@quick
@given(images())
def test_a_signed_gap_of_areas_agrees_with_scikit_learn(some: Images) -> None:
    if len(some.names) < 2:
        return
    expected = []
    for code in (0, 1):
        here = some.codes == code
        # scikit-learn warns of groups with positives alone.
        both = 0 < np.count_nonzero(some.positive[here]) < np.count_nonzero(here)
        expected.append(roc_auc_score(some.positive[here], some.scores[here]) if both else math.nan)
    gap = auc_gaps(some.scores, some.positive, some.codes, some.names, min_group_size=1, between=(0, 1)).gap
    assert float(gap) == pytest.approx(expected[0] - expected[1], abs=1e-9, nan_ok=True)


def test_a_signed_gap_needs_both_groups() -> None:
    codes, every = np.repeat([0, 1, 2], [40, 29, 40]), np.ones(109, dtype=np.bool_)
    gaps = rate_gaps("fpr", codes == 1, every, codes, ["a", "b", "c"], between=(0, 1))
    assert math.isnan(gaps.gap)
    assert (gaps.worst, gaps.best, gaps.gap.low, gaps.gap.high) == (None, None, -1, 1)
    assert math.isnan(gap_excess(codes == 1, codes == 0, every, codes, 3, between=(0, 1)))


# ----------------------------------------------------------------------------------- what is unseen


def test_a_gap_that_no_image_showed_may_be_there_all_the_same() -> None:
    codes = np.repeat(np.arange(2), [50, 5000])
    none = np.zeros(5050, dtype=np.bool_)
    found = rate_gaps("fpr", none, ~none, codes, ["few", "many"]).gap
    assert (found, found.low) == (0.0, 0.0)
    # Of 50 images without a hit, the rate may be 0.058 at most, says Jeffreys; 0.071, say Clopper and Pearson.
    assert 0.03 < found.high < 0.08


def test_groups_that_are_told_apart_perfectly_may_still_differ() -> None:
    positive, codes = np.arange(160) % 2 == 1, np.arange(160) // 80
    found = auc_gaps(positive.astype(np.float32), positive, codes, ["a", "b"]).gap
    assert (found, found.low) == (0.0, 0.0)
    assert 0.02 < found.high < 0.2


def test_chance_parts_many_groups_farther_than_few() -> None:
    generator = np.random.default_rng(2)

    def inflation(groups: int) -> float:
        codes, every = np.repeat(np.arange(groups), 200), np.ones(200 * groups, dtype=np.bool_)
        names = [str(code) for code in range(groups)]
        found = [rate_gaps("fpr", generator.random(len(codes)) < 0.2, every, codes, names) for _ in range(20)]
        # Of 20 gaps that are chance, about 10 are larger than what chance does in half of all cases.
        assert 3 <= sum(one.by_chance < 0.5 for one in found) <= 17
        return float(np.mean([one.inflation for one in found]))

    assert 0 < inflation(2) < inflation(10)


def test_more_confidence_gives_wider_intervals() -> None:
    generator = np.random.default_rng(9)
    codes, positive = np.arange(900) // 300, np.arange(900) % 3 == 0
    scores = generator.standard_normal(900) + positive * (0.4 + 0.6 * codes)
    hits, names = scores > 0.3, ["a", "b", "c"]

    def intervals(confidence: float) -> list[Estimate]:
        rates = rate_gaps("tpr", hits, positive, codes, names, confidence=confidence)
        aucs = auc_gaps(scores, positive, codes, names, confidence=confidence)
        excesses = [
            gap_excess(hits, scores > 1, positive, codes, 3, confidence=confidence),
            auc_gap_excess(scores, scores[::-1], positive, codes, 3, confidence=confidence),
        ]
        return [one.estimate for found in (rates, aucs) for one in found.groups] + [rates.gap, aucs.gap] + excesses

    for some, more in zip(intervals(0.8), intervals(0.99), strict=True):
        assert more.low < some.low
        assert some.high < more.high
        assert (some.confidence, more.confidence) == (0.8, 0.99)


# ---------------------------------------------------------------------------------------- imports


def test_neither_torch_nor_scipys_statistics_are_imported() -> None:
    program = (
        "import sys, numpy as np\n"
        "from pytest_biastransfer.metrics import area_gaps, rate_gaps\n"
        "from pytest_biastransfer.metrics.statistics import gap_change_test\n"
        "codes, positive = np.arange(200) // 100, np.arange(200) % 2 == 1\n"
        "area_gaps.auc_gaps(np.arange(200) % 7, positive, codes, ['a', 'b'])\n"
        "rate_gaps.rate_gaps('tpr', positive, positive, codes, ['a', 'b'])\n"
        "print(sorted({'torch', 'scipy.stats', 'sklearn', 'pandas'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
