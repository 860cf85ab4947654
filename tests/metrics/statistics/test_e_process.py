"""The test over time: its expectation and its level are counted out, and a year of nights is simulated."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.nights import NEVER, first_alarms
from pytest_biastransfer.metrics.statistics.e_process import (
    BOUND_SHARE,
    log_e_values,
    p_over_time,
    upper_bound,
)
from pytest_biastransfer.metrics.statistics.tally import Tally, total

SHARES = st.floats(0.0, 1.0)


def shares_of(images: int, share: float) -> list[tuple[float, Tally]]:
    """Return each number of images that may count, with its probability."""
    counts = range(images + 1)
    return [
        (math.comb(images, count) * share**count * (1 - share) ** (images - count), Tally(count, images))
        for count in counts
    ]


def means_of(images: int, plus: float, minus: float) -> list[tuple[float, Tally]]:
    """Return each number of images with 1 and with -1, with its probability."""
    rest = max(0.0, 1 - plus - minus)
    return [
        (
            math.comb(images, up)
            * math.comb(images - up, down)
            * plus**up
            * minus**down
            * rest ** (images - up - down),
            Tally(up, images, down),
        )
        for up in range(images + 1)
        for down in range(images + 1 - up)
    ]


def histories(nights: Sequence[list[tuple[float, Tally]]]) -> Iterator[tuple[float, list[Tally]]]:
    for outcomes in itertools.product(*nights):
        yield math.prod(p for p, _ in outcomes), [tally for _, tally in outcomes]


def conditional_means(nights: Sequence[list[tuple[float, Tally]]], bound: float) -> Iterator[tuple[float, float]]:
    """Yield the e-value before the last night, and its mean after it, of each history until then."""
    for _, earlier in histories(nights[:-1]):
        before = math.exp(log_e_values(earlier, bound)[-1]) if earlier else 1.0
        mean = sum(p * math.exp(log_e_values([*earlier, tally], bound)[-1]) for p, tally in nights[-1])
        yield before, mean


@given(bound=st.floats(1e-6, 1.0), parts=st.lists(SHARES, min_size=1, max_size=3), images=st.integers(0, 4))
def test_no_night_at_or_below_the_bound_raises_the_expectation(bound: float, parts: list[float], images: int) -> None:
    nights = [shares_of(images, part * bound) for part in parts]
    assert sum(p * math.exp(log_e_values(tallies, bound)[-1]) for p, tallies in histories(nights)) <= 1 + 1e-9
    for before, mean in conditional_means(nights, bound):
        assert mean <= before * (1 + 1e-9)


@given(
    bound=st.floats(-0.99, 1.5),
    parts=st.lists(st.tuples(SHARES, SHARES), min_size=1, max_size=2),
    images=st.integers(0, 4),
)
def test_no_mean_at_or_below_the_bound_raises_the_expectation(
    bound: float, parts: list[tuple[float, float]], images: int
) -> None:
    nights = []
    for up, down in parts:
        # Any shares whose difference is at most the bound.
        minus = max(0.0, -bound) + down * (1 - max(0.0, -bound))
        plus = up * max(0.0, min(minus + bound, 1 - minus))
        nights.append(means_of(images, plus, minus))
    for before, mean in conditional_means(nights, bound):
        assert mean <= before * (1 + 1e-9)


def test_at_the_bound_the_expectation_is_1() -> None:
    nights = [shares_of(5, 0.3)] * 2
    assert sum(p * math.exp(log_e_values(tallies, 0.3)[-1]) for p, tallies in histories(nights)) == pytest.approx(1)


@given(
    counts=st.lists(st.integers(0, 20), min_size=1, max_size=5),
    bound=st.floats(0.01, 0.9),
    minus=st.sampled_from([None, 0, 3]),
)
def test_the_average_is_that_of_all_products(counts: list[int], bound: float, minus: int | None) -> None:
    """As the docstring of the module says it, product by product."""
    nights, steps = [Tally(count, 30, minus) for count in counts], [0.03 * 2**k for k in range(8)]

    def factor(night: Tally, step: float) -> float:
        if night.minus is None:
            return math.exp(step * night.plus) / (1 - bound + bound * math.exp(step)) ** night.images
        if step * (1 + bound) >= 1:
            return 0.0
        rest = night.images - night.plus - night.minus
        bets = (1 + step * (1 - bound), night.plus), (1 - step * bound, rest), (1 - step * (1 + bound), night.minus)
        return math.prod(bet**number for bet, number in bets)

    for until in range(1, len(nights) + 1):
        products = [
            math.prod(factor(night, step) for night in nights[start:until]) / ((start + 1) * (start + 2))
            for start in range(until)
            for step in steps
        ]
        expected = sum(products) / len(steps) + 1 / (until + 1)
        assert math.exp(log_e_values(nights, bound)[until - 1]) == pytest.approx(expected)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("tolerance", [0.0, 0.04])
def test_the_probability_of_ever_being_significant_is_at_most_the_level(share: float, tolerance: float) -> None:
    nights = [shares_of(8, share + tolerance)] * 2
    reached = [
        (p_baseline * p, p_over_time(accepted, tallies, tolerance))
        for p_baseline, accepted in shares_of(6, share)
        for p, tallies in histories(nights)
    ]
    for level in (0.05, 0.3, 0.8):
        # The p-value of the last night is the smallest of all nights.
        assert sum(probability for probability, p in reached if p <= level) <= level


def test_of_means_too() -> None:
    reached = [
        (p_baseline * p, p_over_time(accepted, tallies))
        for p_baseline, accepted in means_of(4, 0.3, 0.1)
        for p, tallies in histories([means_of(4, 0.4, 0.2)] * 2)
    ]
    for level in (0.05, 0.3, 0.8):
        assert sum(probability for probability, p in reached if p <= level) <= level


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=6),
    st.integers(0, 50),
    st.floats(0.0, 0.2),
    st.sampled_from([None, 5]),
)
def test_p_never_grows_and_is_the_level_of_the_alarm(
    counts: list[int], baseline: int, tolerance: float, minus: int | None
) -> None:
    accepted, nights = Tally(baseline, 200, minus), [Tally(count, 100, minus) for count in counts]
    p_values = [p_over_time(accepted, nights[:until], tolerance) for until in range(len(nights) + 1)]
    assert p_values[0] == 1
    assert all(later <= earlier for earlier, later in itertools.pairwise(p_values))
    for level in (0.001, 0.05, 0.5):
        values = log_e_values(nights, upper_bound(accepted, BOUND_SHARE * level) + tolerance)
        alarms = values.max() >= -math.log((1 - BOUND_SHARE) * level)
        if abs(p_values[-1] - level) > 1e-6 * level:
            assert alarms == (p_values[-1] <= level)


@given(st.integers(0, 100), st.integers(0, 100))
def test_a_smaller_share_and_a_larger_tolerance_are_never_more_significant(fewer: int, more: int) -> None:
    accepted = Tally(20, 200)
    fewer, more = sorted((fewer, more))
    assert p_over_time(accepted, [Tally(more, 100)]) <= p_over_time(accepted, [Tally(fewer, 100)])
    assert p_over_time(accepted, [Tally(more, 100)]) <= p_over_time(accepted, [Tally(more, 100)], 0.05)


def test_the_bound_is_that_of_clopper_and_pearson() -> None:
    bound = upper_bound(Tally(13, 200), 0.04)
    assert sum(p for p, tally in shares_of(200, bound) if tally.plus <= 13) == pytest.approx(0.04)
    both = upper_bound(Tally(13, 200, minus=4), 0.08)
    low = bound - both
    assert sum(p for p, tally in shares_of(200, low) if tally.plus >= 4) == pytest.approx(0.04)


def test_a_change_after_many_nights_is_found_soon() -> None:
    accepted, usual, worse = Tally(500, 5000), Tally(500, 5000), Tally(750, 5000)
    assert p_over_time(accepted, [usual] * 300) > 0.5
    assert p_over_time(accepted, [*[usual] * 300, worse]) < 0.01


def test_nights_without_images_say_nothing() -> None:
    assert p_over_time(Tally(5, 100), [Tally(0, 0)]) == p_over_time(Tally(0, 0), [Tally(9, 9)] * 50) == 1.0


def test_together_the_images_are_counted() -> None:
    assert total([Tally(3, 10, 1), Tally(4, 10, 0)]) == Tally(7, 20, 1)
    assert total([Tally(3, 10, 1), Tally(4, 10, 0)]).mean == pytest.approx(0.3)
    assert Tally(7, 20, 1).opposite.mean == -Tally(7, 20, 1).mean


def test_a_year_of_nights() -> None:
    """Repeats a part of the tables of docs/statistics.md, with margins of three standard errors."""
    over_time, alone, _ = first_alarms(0.1, 0.1, 5000, 1000, repeats=100)
    assert np.mean(over_time < NEVER) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 100)
    assert np.mean(alone < NEVER) > 0.3
    worse, *_ = first_alarms(0.1, 0.15, 5000, 1000, repeats=50)
    assert np.median(worse) <= 3
    later, *_ = first_alarms(0.1, 0.15, 5000, 1000, repeats=50, unchanged=100)
    assert np.median(later) <= 105
