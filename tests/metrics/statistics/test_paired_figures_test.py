"""P-values of changes of gaps of areas on the same images: by hand, against a bootstrap of images, level and power."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from pytest_biastransfer.metrics.statistics.components import Components
from pytest_biastransfer.metrics.statistics.paired_figures_test import paired_figures_change
from tests.support.areas import two_areas, two_scores

Floats = npt.NDArray[np.float64]

quick = settings(max_examples=25, deadline=None)
separations = st.lists(st.floats(0, 3), min_size=2, max_size=4)


# -------------------------------------------------------------------------------- independent computations


def delong_by_pairs(scores: list[Floats], positive: npt.NDArray[np.bool_]) -> Floats:
    """Return the covariance of two areas of one group, from the matrices of all pairs."""
    won = [(one[positive][:, None] > one[~positive]).astype(np.float64) for one in scores]
    of_positives, of_negatives = (np.cov([matrix.mean(axis=axis) for matrix in won]) for axis in (1, 0))
    covariance: Floats = of_positives / positive.sum() + of_negatives / (~positive).sum()
    return covariance


@quick
@given(st.integers(0, 99), st.sampled_from([0.0, 0.9]), st.sampled_from([0.0, 0.02, -0.02]))
def test_a_signed_gap_is_compared_by_delongs_covariance(seed: int, agreement: float, margin: float) -> None:
    draw = [1.2, 1.0], [1.0, 1.2], 40, agreement
    scores, positive, codes = two_scores(np.random.default_rng(seed), *draw)
    gaps, variance = [0.0, 0.0], 0.0
    for group, sign in ((0, 1), (1, -1)):
        here = codes == group
        for time in (0, 1):
            gaps[time] += sign * roc_auc_score(positive[here], scores[time][here])
        own = delong_by_pairs([one[here] for one in scores], positive[here])
        variance += own[0, 0] + own[1, 1] - 2 * own[0, 1]
    change = gaps[1] - gaps[0]
    beyond = abs(change) if not margin else max(0.0, (change - margin) * math.copysign(1, margin))
    before, now = two_areas(np.random.default_rng(seed), *draw)
    found = paired_figures_change(before, now, is_signed=True, margin=margin)
    assert found == pytest.approx(2 * stats.t.sf(beyond / math.sqrt(variance), 39), rel=1e-9)


def test_the_errors_are_those_of_drawing_other_images() -> None:
    """Against a bootstrap of the images themselves, each with the scores of both models."""
    generator = np.random.default_rng(6)
    scores, positive, codes = two_scores(generator, [1.2, 1.2], [1.2, 0.8], 200, 0.9)
    parts = [np.flatnonzero((codes == group) & (positive == kind)) for group in (0, 1) for kind in (False, True)]

    def gap_change() -> float:
        chosen = [generator.choice(part, len(part)) for part in parts]
        areas = [
            [stats.mannwhitneyu(one[places], one[others]).statistic / len(places) / len(others) for one in scores]
            for others, places in (chosen[:2], chosen[2:])
        ]
        return float((areas[0][1] - areas[1][1]) - (areas[0][0] - areas[1][0]))

    changes = [gap_change() for _ in range(400)]
    before, now = two_areas(np.random.default_rng(6), [1.2, 1.2], [1.2, 0.8], 200, 0.9)
    change = (now.figures[0] - now.figures[1]) - (before.figures[0] - before.figures[1])
    found = paired_figures_change(before, now, is_signed=True)
    # The error that the p-value stands for; that of 400 draws is 3.5 % off.
    error = abs(change) / stats.t.isf(found / 2, 199)
    assert error == pytest.approx(float(np.std(changes)), rel=0.12)
    assert found < 1e-6


# ------------------------------------------------------------------------------------------- properties


@quick
@given(separations, st.integers(0, 99), st.booleans())
def test_identical_scores_are_no_change(some: list[float], seed: int, shared: bool) -> None:
    one, _ = two_areas(np.random.default_rng(seed), some, some, 10, 0.5, shared=shared)
    assert paired_figures_change(one, one) == 1.0
    assert len(some) > 2 or paired_figures_change(one, one, is_signed=True) == 1.0


@quick
@given(separations, st.integers(0, 99), st.randoms(use_true_random=False))
def test_neither_the_order_of_groups_nor_that_of_images_nor_time_decides(
    some: list[float], seed: int, random: np.random.Generator
) -> None:
    before, now = two_areas(np.random.default_rng(seed), some, some[::-1], 20, 0.8)
    found = paired_figures_change(before, now)
    assert 0 < found <= 1
    groups = list(range(len(some)))
    random.shuffle(groups)
    images = [list(range(20)), list(range(20))]
    for order in images:
        random.shuffle(order)
    changed = [
        Components(
            one.figures[groups],
            [tuple(part[order] for part, order in zip(one.samples[group], images, strict=True)) for group in groups],
        )
        for one in (before, now)
    ]
    # The bootstrap draws other numbers for groups in another order.
    assert paired_figures_change(*changed) == pytest.approx(found, rel=0.2, abs=0.02)
    assert paired_figures_change(now, before) == pytest.approx(found, rel=0.2, abs=0.02)


@quick
@given(st.tuples(*[st.floats(0, 3)] * 4), st.integers(0, 99), st.sampled_from([0.0, 0.9]))
def test_the_largest_of_two_differences_is_never_surer_to_have_changed_than_the_signed_one(
    some: tuple[float, ...], seed: int, agreement: float
) -> None:
    before, now = two_areas(np.random.default_rng(seed), some[:2], some[2:], 20, agreement)
    found = paired_figures_change(before, now)
    if (before.figures[0] - before.figures[1]) * (now.figures[0] - now.figures[1]) > 0:
        assert found >= paired_figures_change(before, now, is_signed=True) * (1 - 1e-9)


@pytest.mark.parametrize("is_signed", [True, False])
def test_a_tolerance_is_part_of_the_hypothesis(is_signed: bool) -> None:
    before, now = two_areas(np.random.default_rng(1), [2.0, 1.2], [2.0, 0.7], 300, 0.9)
    change = float((now.figures[0] - now.figures[1]) - (before.figures[0] - before.figures[1]))
    found = [
        paired_figures_change(before, now, is_signed=is_signed, margin=margin)
        for margin in (0.0, 1e-9, 0.5 * change, 0.9 * change, 1.001 * change, 2 * change)
    ]
    assert found == sorted(found)
    assert found[1] == pytest.approx(found[0], rel=1e-6)
    assert found[0] < 1e-9
    assert found[-2:] == [1.0, 1.0]
    # A change in the other direction is none beyond the margin.
    assert paired_figures_change(now, before, is_signed=is_signed, margin=0.01) == 1.0


def test_areas_that_no_image_contradicts_are_no_surer_than_coins() -> None:
    perfect, reversed_one = (np.full(3, value) for value in (1.0, 0.0))
    before = Components(np.array([1.0, 1.0]), [(perfect, perfect)] * 2)
    now = Components(np.array([1.0, 0.0]), [(perfect, perfect), (reversed_one, reversed_one)])
    for is_signed in (True, False):
        assert paired_figures_change(before, now, is_signed=is_signed) == 0.5**5


# ------------------------------------------------------------------------------------- level and power

REPEATS = 200
# 0.01 and 0.05, and 2.5 standard errors of 200 repeats.
LEVELS = (0.028, 0.089)


def called(
    before: list[float],
    now: list[float],
    positives: int,
    agreement: float,
    *,
    is_signed: bool = False,
    shared: bool = False,
    margin: float = 0.0,
) -> npt.NDArray[np.float64]:
    """Return how many p-values are at most 0.01, and at most 0.05."""
    generator = np.random.default_rng(77)
    found = np.array(
        [
            paired_figures_change(
                *two_areas(generator, before, now, positives, agreement, shared=shared),
                is_signed=is_signed,
                margin=margin,
            )
            for _ in range(REPEATS)
        ]
    )
    return np.array([np.mean(found <= level) for level in (0.01, 0.05)])


def spread(low: float, high: float, groups: int) -> list[float]:
    return list(map(float, np.linspace(low, high, groups)))


@pytest.mark.parametrize("agreement", [0.0, 0.9, 0.99])
@pytest.mark.parametrize(
    ("areas", "positives"),
    [
        ([1.2, 1.2], 200),
        ([1.2, 1.2], 15),
        ([1.0, 1.6], 200),
        ([1.0, 1.6], 15),
        ([3.0, 3.5], 15),
        ([3.0, 3.5], 200),
        ([1.2] * 5, 15),
        (spread(1.0, 1.6, 10), 50),
    ],
)
def test_gaps_that_did_not_change_are_rarely_called_changed(
    areas: list[float], positives: int, agreement: float
) -> None:
    assert np.all(called(areas, areas, positives, agreement) <= LEVELS)
    if len(areas) == 2:
        assert np.all(called(areas, areas, positives, agreement, is_signed=True) <= LEVELS)


@pytest.mark.parametrize("is_signed", [True, False])
def test_shared_negatives_make_no_false_alarms(is_signed: bool) -> None:
    assert np.all(called([1.0, 1.6], [1.0, 1.6], 50, 0.9, is_signed=is_signed, shared=True) <= LEVELS)


@pytest.mark.parametrize("groups", [2, 5])
@pytest.mark.parametrize("agreement", [0.0, 0.9])
def test_groups_that_change_places_are_not_taken_for_a_change_of_the_gap(groups: int, agreement: float) -> None:
    areas = spread(0.8, 2.0, groups)
    assert np.all(called(areas, areas[::-1], 200, agreement) <= LEVELS)


def test_areas_that_all_rose_by_as_much_are_not_taken_for_a_change() -> None:
    before, now = ([stats.norm.ppf(area) * 2**0.5 for area in areas] for areas in ((0.70, 0.80), (0.75, 0.85)))
    for is_signed in (True, False):
        assert np.all(called(before, now, 200, 0.9, is_signed=is_signed) <= LEVELS)


def test_groups_that_change_places_within_noise_may_be_called_changed() -> None:
    """No test that tells these from equal groups of which one fell could find that fall; see docs/statistics.md."""
    small, usual = called([1.1, 1.3], [1.3, 1.1], 200, 0.9)
    assert 0.1 < small < 0.3
    assert 0.2 < usual < 0.45


@pytest.mark.parametrize("is_signed", [True, False])
def test_a_change_by_just_the_tolerance_is_rarely_called_more(is_signed: bool) -> None:
    # From .921 - .802 to .921 - .714.
    margin = float(stats.norm.cdf(1.2 / 2**0.5) - stats.norm.cdf(0.8 / 2**0.5))
    found = called([2.0, 1.2], [2.0, 0.8], 100, 0.9, is_signed=is_signed, margin=margin)
    assert np.all(found <= np.array(LEVELS) / 2 + 0.01)


@pytest.mark.parametrize("others", [1.2, 1.6, 2.0])
def test_a_fall_of_one_area_is_found(others: float) -> None:
    """400 images a group, of which one falls from .80 to .71: one in ten was found as if on other images."""
    before, now = [others, 1.2], [others, 0.8]
    assert called(before, now, 200, 0.9, is_signed=True)[0] >= 0.98
    if others > 1.2:
        assert called(before, now, 200, 0.9)[0] >= 0.98
