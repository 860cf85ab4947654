"""Changes beyond a tolerance: against score tests of others, against all outcomes, and how often p is small."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.stats.proportion import test_proportions_2indep as score_test_of_two_shares

from pytest_biastransfer.metrics.statistics.change_tests import mean_change
from pytest_biastransfer.metrics.statistics.changing_base_test import ShareOfSome, paired_share_change
from pytest_biastransfer.metrics.statistics.skew_change_test import skew_change
from pytest_biastransfer.metrics.statistics.tolerance_tests import paired_share_beyond, share_beyond
from pytest_biastransfer.metrics.statistics.transitions import Transitions

Integers = npt.NDArray[np.int64]

quick = settings(max_examples=30, deadline=None)
PAIRS = 1000


# ------------------------------------------------------------------------------ against other computations


@quick
@given(st.integers(0, 7), st.integers(0, 7), st.integers(1, 8), st.sampled_from([0.03, 0.1, 0.3]))
def test_a_paired_share_is_compared_with_all_outcomes(more: int, fewer: int, others: int, margin: float) -> None:
    n = more + fewer + others

    def log_likelihood(share: float) -> float:
        shares = [share + margin, share, 1 - 2 * share - margin]
        return float(stats.multinomial.logpmf([more, fewer, others], n, shares))

    bounds = (1e-9, (1 - margin) / 2 - 1e-9)
    likeliest = optimize.minimize_scalar(lambda share: -log_likelihood(share), bounds=bounds, method="bounded").x
    outcomes = [(a, b, n - a - b) for a, b in product(range(n + 1), repeat=2) if a + b <= n]
    shares = [likeliest + margin, likeliest, 1 - 2 * likeliest - margin]
    expected = sum(stats.multinomial.pmf(one, n, shares) for one in outcomes if one[0] - one[1] >= more - fewer)
    assert paired_share_beyond(more, fewer, n, margin) == pytest.approx(min(1.0, 2 * expected), rel=1e-3, abs=1e-9)


@quick
@given(st.integers(0, 12), st.integers(0, 9), st.sampled_from([0.03, 0.1, 0.3]))
def test_a_share_of_other_images_is_compared_with_all_outcomes(hits: int, low_hits: int, margin: float) -> None:
    n, low_n = 12, 9

    def log_likelihood(share: float) -> float:
        return float(stats.binom.logpmf(hits, n, share + margin) + stats.binom.logpmf(low_hits, low_n, share))

    bounds = (1e-9, 1 - margin - 1e-9)
    likeliest = optimize.minimize_scalar(lambda share: -log_likelihood(share), bounds=bounds, method="bounded").x
    expected = sum(
        stats.binom.pmf(one, n, likeliest + margin) * stats.binom.pmf(other, low_n, likeliest)
        for one, other in product(range(n + 1), range(low_n + 1))
        if one * low_n - other * n >= hits * low_n - low_hits * n
    )
    assert share_beyond(hits, n, low_hits, low_n, margin) == pytest.approx(min(1.0, 2 * expected), rel=1e-3, abs=1e-9)


@pytest.mark.parametrize(("more", "fewer", "n", "margin"), [(700, 500, 20_000, 0.008), (160, 40, 5000, 0.018)])
def test_with_many_images_it_is_tangos_score_test(more: int, fewer: int, n: int, margin: float) -> None:
    # Formula 5 of Tango (1998).
    a, b = 2 * n, -more - fewer + (2 * n - more + fewer) * margin
    share = ((b**2 + 4 * a * fewer * margin * (1 - margin)) ** 0.5 - b) / (2 * a)
    z = (more - fewer - n * margin) / (n * (2 * share + margin * (1 - margin))) ** 0.5
    found = stats.norm.isf(paired_share_beyond(more, fewer, n, margin) / 2)
    assert found == pytest.approx(z, abs=0.15)


@pytest.mark.parametrize(("hits", "low_hits", "margin"), [(720, 480, 0.01), (300, 150, 0.01)])
def test_with_many_images_it_is_farringtons_and_mannings_score_test(hits: int, low_hits: int, margin: float) -> None:
    expected = score_test_of_two_shares(
        hits, 5000, low_hits, 4000, value=margin, compare="diff", method="score", alternative="larger", correction=False
    )
    found = stats.norm.isf(share_beyond(hits, 5000, low_hits, 4000, margin) / 2)
    assert found == pytest.approx(expected.statistic, abs=0.15)


@quick
@given(st.integers(0, 60), st.integers(0, 60), st.floats(0.001, 0.2), st.floats(0.001, 0.2))
def test_a_larger_tolerance_needs_a_larger_change(more: int, fewer: int, margin: float, other: float) -> None:
    assume(more > fewer)
    low, high = sorted((margin, other))
    assert paired_share_beyond(more, fewer, 500, low) <= paired_share_beyond(more, fewer, 500, high) + 1e-9
    assert share_beyond(more, 500, fewer, 400, low) <= share_beyond(more, 500, fewer, 400, high) + 1e-9


# ---------------------------------------------------------------------------------------- levels


@pytest.mark.parametrize("margin", [0.01, 0.05])
@pytest.mark.parametrize("fewer_share", [0.0, 0.01, 0.05])
def test_at_the_tolerance_a_share_is_called_worse_in_half_of_alpha_at_most(margin: float, fewer_share: float) -> None:
    """Computed from all outcomes, also for the small levels that many comparisons lead to."""
    n, alphas = 200, np.array([0.05, 0.01, 1e-3, 5e-5])
    rejected = np.zeros(len(alphas))
    more_share = fewer_share + margin
    for more in range(int(n * margin), int(stats.binom.isf(1e-7, n, more_share)) + 1):
        rest = n - more, fewer_share / (1 - more_share)
        for fewer in range(min(more, int(stats.binom.isf(1e-7, *rest))) + 1):
            weight = stats.binom.pmf(more, n, more_share) * stats.binom.pmf(fewer, *rest)
            rejected += weight * (paired_share_beyond(more, fewer, n, margin) <= alphas)
    assert (rejected <= alphas / 2).all(), rejected / alphas


def marked(flags: npt.NDArray[np.bool_]) -> Integers:
    return np.flatnonzero(flags)


def asr(generator: np.random.Generator, worse: float) -> float:
    newly = generator.multinomial(5000, [0.004 + worse, 0.004, 0.992 - worse])
    return paired_share_beyond(newly[0], newly[1], 5000, 0.01)


def asr_of_others(generator: np.random.Generator, worse: float) -> float:
    return share_beyond(generator.binomial(5000, 0.1 + worse), 5000, generator.binomial(4000, 0.1), 4000, 0.01)


def conditional_asr(generator: np.random.Generator, worse: float) -> float:
    right = generator.random(5000) < 0.9
    right_now = generator.random(5000) < np.where(right, 0.97, 0.27)
    flips = generator.random(5000) < 0.1
    flips_now = generator.random(5000) < np.where(flips, 0.95, (worse + 0.005) / 0.9)
    before, now = ShareOfSome(marked(flips), marked(~right)), ShareOfSome(marked(flips_now), marked(~right_now))
    return paired_share_change(before, now, 5000, 0.01)


def accuracy_drop(generator: np.random.Generator, worse: float, paired: bool = True) -> float:
    before = generator.choice(3, 5000, p=[0.85, 0.1, 0.05])
    now = generator.choice(3, 5000, p=[0.85 - worse, 0.1 + worse, 0.05])
    if paired:
        stays = generator.random(5000) < 0.8
        now = np.where(stays, before, generator.choice(3, 5000, p=[0.85 - 5 * worse, 0.1 + 5 * worse, 0.05]))
    lost_and_won = [(marked(values == 1), marked(values == 2)) for values in (before, now)]
    return mean_change(lost_and_won[0], lost_and_won[1], 5000, 5000, paired=paired, margin=0.01)


def accuracy_drop_of_others(generator: np.random.Generator, worse: float) -> float:
    return accuracy_drop(generator, worse, paired=False)


def skew(generator: np.random.Generator, worse: float) -> float:
    clean = generator.integers(1, 10, 5000)
    drawn = generator.random(5000)
    newly = generator.random(5000) < worse / 0.95
    before, now = (np.where(flips, 0, clean) for flips in (drawn < 0.05, (drawn < 0.05) | newly))
    moves = [Transitions.between(clean, intervened) for intervened in (before, now)]
    return skew_change(moves[:1], moves[1:], 5000, 5000, paired=True, margin=0.01)


CASES = [asr, asr_of_others, conditional_asr, accuracy_drop, accuracy_drop_of_others, skew]


def rejected(draw: Callable[[np.random.Generator, float], float], worse: float, alpha: float, pairs: int) -> float:
    generator = np.random.default_rng(0)
    return sum(draw(generator, worse) <= alpha for _ in range(pairs)) / pairs


@pytest.mark.parametrize("draw", CASES)
def test_worse_by_the_tolerance_is_seldom_called_worse_by_more(
    draw: Callable[[np.random.Generator, float], float],
) -> None:
    pairs = 300 if draw is skew else PAIRS
    for alpha in (0.05, 0.01):
        # Three standard errors above the half of the level that is on this side.
        assert rejected(draw, 0.01, alpha, pairs) <= alpha / 2 + 3 * (alpha / 2 / pairs) ** 0.5


@pytest.mark.parametrize(("draw", "power"), [(asr, 0.971), (conditional_asr, 0.863), (skew, 0.997)])
def test_worse_by_twice_the_tolerance_is_found(
    draw: Callable[[np.random.Generator, float], float], power: float
) -> None:
    # `power` is what 1,000 pairs showed, 300 of the skew; three standard errors of 100 below that.
    assert rejected(draw, 0.02, 0.01, 100) >= power - 3 * (power * (1 - power) / 100) ** 0.5
