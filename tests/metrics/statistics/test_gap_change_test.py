"""P-values of changes of gaps: against all ways of exchanging, and how often they are small."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_biastransfer.metrics.area_gaps import auc_gaps
from pytest_biastransfer.metrics.group_gaps import GroupGaps
from pytest_biastransfer.metrics.rate_gaps import rate_gaps
from pytest_biastransfer.metrics.statistics.gap_change_test import (
    EXCHANGES,
    SizedGap,
    paired_gap_change,
    unpaired_gap_change,
)

Marked = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

quick = settings(max_examples=30, deadline=None)
NOTHING = math.nan


def every(codes: Integers) -> Marked:
    return np.ones(len(codes), dtype=np.bool_)


def changed(codes: Integers, before: Marked, now: Marked) -> float:
    return paired_gap_change(before, now, every(codes), codes, int(codes.max()) + 1)


def sized(found: GroupGaps) -> SizedGap:
    return SizedGap(found.gap, found.inflation, found.error, found.by_chance)


# -------------------------------------------------------------------------------- the same images


@st.composite
def two_times(draw: st.DrawFn) -> tuple[Integers, Marked, Marked]:
    """Draw two groups of 40 and 30 images, of which at most ten change."""
    codes = np.repeat(np.arange(2), [40, 30])
    before = np.array(draw(st.lists(st.booleans(), min_size=70, max_size=70)))
    changing = np.array(sorted(draw(st.sets(st.integers(0, 69), max_size=10))), dtype=np.int64)
    now = before.copy()
    now[changing] = ~now[changing]
    return codes, before, now


@quick
@given(two_times())
def test_the_signed_gap_tests_the_difference_with_its_sign(times: tuple[Integers, Marked, Marked]) -> None:
    codes, before, now = times
    signed = [
        paired_gap_change(*pair, every(codes), codes, 2, is_signed=True) for pair in [(before, now), (now, before)]
    ]
    if (before == now).all():
        assert signed == [1.0, 1.0]
    assert all(0 < p <= 1 for p in signed)


def test_a_signed_gap_that_changes_sides_has_changed_although_its_size_has_not() -> None:
    codes = np.repeat(np.arange(2), 200)
    before, now = (np.isin(np.arange(400), range(start, start + 40)) for start in (0, 200))
    assert paired_gap_change(before, now, every(codes), codes, 2) > 0.5
    assert paired_gap_change(before, now, every(codes), codes, 2, is_signed=True) < 1e-3


def of_all_exchanges(codes: Integers, before: Marked, now: Marked) -> float:
    """Exchange the two outcomes of images in all possible ways."""

    def change(first: Marked, second: Marked) -> float:
        rates = [[outcome[codes == code].mean() for code in np.unique(codes)] for outcome in (first, second)]
        return float((max(rates[1]) - min(rates[1])) - (max(rates[0]) - min(rates[0])))

    places = np.flatnonzero(before != now)
    as_far = []
    for exchanged in product([False, True], repeat=len(places)):
        first, second = before.copy(), now.copy()
        there = places[list(exchanged)]
        first[there], second[there] = now[there], before[there]
        as_far.append(abs(change(first, second)) >= abs(change(before, now)) - 1e-12)
    return float(np.mean(as_far))


@quick
@given(two_times())
def test_no_p_value_is_below_that_of_all_ways_of_exchanging(drawn: tuple[Integers, Marked, Marked]) -> None:
    exact = of_all_exchanges(*drawn)
    assert changed(*drawn) >= exact - 5 * math.sqrt(exact * (1 - exact) / EXCHANGES) - 1e-12


@pytest.mark.parametrize(("newly", "exact"), [(3, 2 / 8), (5, 2 / 32), (8, 2 / 256)])
def test_exchanges_are_counted_where_few_images_change(newly: int, exact: float) -> None:
    codes, none = np.arange(200) // 100, np.zeros(200, dtype=np.bool_)
    now = np.arange(200) < newly
    assert of_all_exchanges(codes, none, now) == exact
    assert changed(codes, none, now) == pytest.approx(exact, rel=0.25)


@quick
@given(two_times())
def test_images_that_all_came_out_alike_are_no_evidence(drawn: tuple[Integers, Marked, Marked]) -> None:
    codes, before, _ = drawn
    assert changed(codes, before, before) == 1.0


@quick
@given(two_times())
def test_a_p_value_is_a_probability_and_hardly_depends_on_which_came_first(
    drawn: tuple[Integers, Marked, Marked],
) -> None:
    codes, before, now = drawn
    there, back = changed(codes, before, now), changed(codes, now, before)
    assert 1 / (1 + EXCHANGES) <= there <= 1
    assert there == pytest.approx(back, abs=0.05)


@quick
@given(two_times(), st.randoms(use_true_random=False))
def test_the_order_of_the_images_decides_nothing(
    drawn: tuple[Integers, Marked, Marked], random: np.random.Generator
) -> None:
    order = list(range(70))
    random.shuffle(order)
    codes, before, now = drawn
    assert changed(codes[order], before[order], now[order]) == changed(*drawn)


def test_only_judged_groups_and_images_that_the_rate_is_taken_among_matter() -> None:
    codes = np.repeat(np.arange(3), [100, 100, 20])
    before = np.arange(220) % 10 < 3
    now = before.copy()
    now[:20] = True
    expected = paired_gap_change(before, now, every(codes), codes, 3)
    assert expected < 0.05
    # Twenty images are too few to be judged, ...
    small = now.copy()
    small[200:] = ~small[200:]
    assert paired_gap_change(before, small, every(codes), codes, 3) == expected
    assert paired_gap_change(before, small, every(codes), codes, 3, min_group_size=20) != expected
    # ... and of the images of the second group that are not among those of the rate, none counts.
    more_codes, more = np.concatenate([codes, np.full(50, 1)]), np.arange(270) < 220
    first, second = (np.concatenate([part, np.full(50, fill)]) for part, fill in ((before, False), (now, True)))
    assert paired_gap_change(first, second, more, more_codes, 3) == expected


def test_fewer_than_two_judged_groups_have_no_gap_that_could_change() -> None:
    codes = np.repeat(np.arange(2), [100, 20])
    assert changed(codes, np.zeros(120, dtype=np.bool_), every(codes)) == 1.0
    assert unpaired_gap_change(SizedGap(NOTHING, NOTHING, NOTHING, NOTHING), SizedGap(0.5, 0.0, 0.01, 0.0)) == 1.0
    assert unpaired_gap_change(SizedGap(0.5, 0.0, 0.01, 0.0), SizedGap(NOTHING, NOTHING, NOTHING, NOTHING)) == 1.0


# ------------------------------------------------------------------------------------ other images


@quick
@given(*[st.floats(0, 1)] * 2, *[st.floats(0, 0.1)] * 2, *[st.floats(0.001, 0.2)] * 2)
def test_gaps_of_other_images_are_compared_by_the_normal_distribution(
    gap: float, other: float, added: float, other_added: float, error: float, other_error: float
) -> None:
    first, second = SizedGap(gap, added, error, 0.0), SizedGap(other, other_added, other_error, 0.0)
    change = (other - other_added) - (gap - added)
    expected = 2 * stats.norm.sf(abs(change) / math.sqrt(error**2 + other_error**2))
    assert unpaired_gap_change(first, second) == pytest.approx(expected, rel=1e-9, abs=1e-300)
    assert unpaired_gap_change(second, first) == unpaired_gap_change(first, second)


def test_gaps_that_chance_may_have_made_both_times_are_no_change() -> None:
    unlikely, usual = SizedGap(0.30, 0.01, 0.02, 0.001), SizedGap(0.02, 0.01, 0.02, 0.4)
    assert unpaired_gap_change(usual, usual._replace(gap=0.3)) == 0.8
    assert unpaired_gap_change(unlikely, usual) == 0.002
    assert unpaired_gap_change(SizedGap(0.1, 0.0, 0.0, 0.0), SizedGap(0.2, 0.0, 0.0, 0.0)) == 0.0


# ---------------------------------------------------------------------------------- level and power

REPEATS = 200
# 0.01 and 0.05, and 2.5 standard errors of 200 repeats.
LEVELS = (0.028, 0.089)

# The true rates of the groups, and how many images they have.
CASES = [([0.2, 0.2], 200), ([0.1, 0.3], 200), ([0.2] * 5, 100), ([0.1, 0.15, 0.2, 0.25, 0.3], 200), ([0.2] * 10, 500)]


def shares_of_small_p(draw: Callable[[np.random.Generator], float]) -> tuple[float, float]:
    """Return how many p-values are at most 0.01, and at most 0.05."""
    generator = np.random.default_rng(77)
    return small_shares([draw(generator) for _ in range(REPEATS)])


def small_shares(p_values: list[float]) -> tuple[float, float]:
    assert len(p_values) == REPEATS
    return float(np.mean(np.array(p_values) <= 0.01)), float(np.mean(np.array(p_values) <= 0.05))


def outcomes(
    generator: np.random.Generator, before: list[float], now: list[float], n: int
) -> tuple[Integers, Marked, Marked]:
    """Draw images which come out by the same chance at both times, but for a fifth of them."""
    codes = np.repeat(np.arange(len(before)), n)
    first, other = generator.random((2, len(codes)))
    second = np.where(generator.random(len(codes)) < 0.8, first, other)
    return codes, first < np.array(before)[codes], second < np.array(now)[codes]


@cache
def gaps_of(rates: tuple[float, ...], n: int) -> list[SizedGap]:
    """Draw the gaps of many data sets; two of them are independent of each other."""
    generator = np.random.default_rng(n)
    names = [str(code) for code in range(len(rates))]
    drawn = [outcomes(generator, list(rates), list(rates), n) for _ in range(REPEATS + 1)]
    return [sized(rate_gaps("fpr", hits, every(codes), codes, names)) for codes, hits, _ in drawn]


def small_p_of_other_images(before: list[float], now: list[float], n: int, times: int = 1) -> tuple[float, float]:
    """Return the shares of small p-values, where `times` as many images are measured now as before."""
    # A gap of the same size is compared with the next one: each takes part in two of the comparisons.
    pairs = zip(gaps_of(tuple(before), n), gaps_of(tuple(now), times * n)[1:], strict=False)
    return small_shares([unpaired_gap_change(*pair) for pair in pairs])


def area_gap_of(generator: np.random.Generator, true: list[float], n: int) -> SizedGap:
    codes = np.repeat(np.arange(len(true)), 2 * n)
    positive = np.arange(len(codes)) % 2 == 1
    scores = generator.standard_normal(len(codes)) + positive * np.sqrt(2) * stats.norm.ppf(true)[codes]
    names = [str(code) for code in range(len(true))]
    return sized(auc_gaps(scores, positive, codes, names, negatives="shared"))


@pytest.mark.parametrize(("rates", "n"), CASES)
def test_gaps_of_the_same_images_that_did_not_change_are_rarely_called_changed(rates: list[float], n: int) -> None:
    found = shares_of_small_p(lambda generator: changed(*outcomes(generator, rates, rates, n)))
    assert np.all(np.array(found) <= LEVELS)


def test_more_hits_in_all_groups_are_not_taken_for_a_change_of_the_gap() -> None:
    before, now = [0.1, 0.15, 0.2], [0.2, 0.25, 0.3]
    found = shares_of_small_p(lambda generator: changed(*outcomes(generator, before, now, 400)))
    assert np.all(np.array(found) <= LEVELS)


def test_groups_that_change_places_are_not_taken_for_a_change_of_the_gap() -> None:
    rates = [0.1, 0.15, 0.2, 0.25, 0.3]
    found = shares_of_small_p(lambda generator: changed(*outcomes(generator, rates, rates[::-1], 1000)))
    # By exchanging alone, 0.1 and 0.2.
    assert np.all(np.array(found) <= LEVELS)


@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize(("rates", "n"), CASES)
def test_gaps_of_other_images_that_did_not_change_are_rarely_called_changed(
    rates: list[float], n: int, times: int
) -> None:
    assert np.all(np.array(small_p_of_other_images(rates, rates, n, times)) <= LEVELS)


@pytest.mark.parametrize("true", [[0.8] * 4, [0.75, 0.8, 0.85]])
def test_gaps_of_areas_that_did_not_change_are_rarely_called_changed(true: list[float]) -> None:
    found = shares_of_small_p(
        lambda generator: unpaired_gap_change(area_gap_of(generator, true, 150), area_gap_of(generator, true, 150))
    )
    assert np.all(np.array(found) <= LEVELS)


def test_gaps_that_changed_are_found() -> None:
    before, now = [0.1, 0.15, 0.2], [0.1, 0.15, 0.35]
    paired = shares_of_small_p(lambda generator: changed(*outcomes(generator, before, now, 400)))
    unpaired = small_p_of_other_images(before, now, 400)
    of_areas = shares_of_small_p(
        lambda generator: unpaired_gap_change(
            area_gap_of(generator, [0.9, 0.88], 400), area_gap_of(generator, [0.9, 0.7], 400)
        )
    )
    assert paired[0] >= 0.99
    assert unpaired[0] >= 0.9
    assert of_areas[0] >= 0.99


def test_the_same_images_show_a_smaller_change_than_other_images() -> None:
    before, now = [0.1, 0.15, 0.2], [0.1, 0.15, 0.26]
    paired = shares_of_small_p(lambda generator: changed(*outcomes(generator, before, now, 400)))
    unpaired = small_p_of_other_images(before, now, 400)
    assert paired[1] > unpaired[1] + 0.2
