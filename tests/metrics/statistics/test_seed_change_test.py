"""A model beside several seeds of one training: the test over seeds, that beside most of them, and both in simulations."""

from __future__ import annotations

import math
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.seed_simulations import (
    SEEDS,
    called_worse,
    normal_seeds,
    p_of_every_seed,
    p_of_mixed_model,
    p_value,
    skewed_seeds,
)
from pytest_biastransfer.metrics.statistics.seed_change_test import beside_most, beyond_seeds, root_scale

FINE = 1e-9
shares = st.floats(0, 1).map(lambda value: round(value, 4))
several = st.lists(shares, min_size=2, max_size=8)
p_values = st.lists(st.floats(1e-12, 1), min_size=1, max_size=9)


def spread(now: float, seeds: list[float]) -> float:
    """Return Crawford and Howell's p-value by hand."""
    k = len(seeds)
    t = (now - fmean(seeds)) / (stdev(seeds) * math.sqrt((k + 1) / k))
    return float(2 * stats.t.sf(abs(t), k - 1))


@given(shares, several)
def test_the_test_over_seeds_is_that_of_crawford_and_howell(now: float, seeds: list[float]) -> None:
    if stdev(seeds) > 0.001:
        assert beyond_seeds(now, seeds, resolution=FINE) == pytest.approx(spread(now, seeds), rel=1e-5)


def test_it_is_the_exact_test_of_crossed_effects_of_seeds_and_images() -> None:
    """Analysis of variance by hand: the contrast of one seed and the others over the mean square of the seeds."""
    generator, k, n = np.random.default_rng(0), 4, 200
    values = generator.normal(size=n) + generator.normal(size=(k + 1, 1)) * 0.1 + generator.normal(size=(k + 1, n))
    by_seed = values.mean(1)
    contrast = by_seed[0] - by_seed[1:].mean()
    # The sum of squares of the accepted seeds: n times that of their means, with k - 1 degrees of freedom.
    mean_square = n * ((by_seed[1:] - by_seed[1:].mean()) ** 2).sum() / (k - 1)
    f = contrast**2 / (mean_square / n * (1 + 1 / k))
    expected = stats.f.sf(f, 1, k - 1)
    assert beyond_seeds(by_seed[0], by_seed[1:].tolist(), resolution=FINE) == pytest.approx(expected, rel=1e-6)


@given(shares, several, st.floats(0, 0.2), st.floats(0, 0.2))
def test_a_larger_tolerance_or_a_coarser_figure_is_no_more_significant(
    now: float, seeds: list[float], first: float, second: float
) -> None:
    margins = sorted((first, second))
    p = [beyond_seeds(now, seeds, resolution=0.001, margin=margin) for margin in margins]
    assert p[0] <= p[1] + 1e-12
    resolutions = [beyond_seeds(now, seeds, resolution=step + 1e-6) for step in margins]
    assert resolutions[0] <= resolutions[1] + 1e-12


def test_within_the_tolerance_nothing_is_significant() -> None:
    seeds = [0.10, 0.11, 0.12]
    assert beyond_seeds(0.13, seeds, resolution=FINE, margin=0.02) == 1.0
    assert beyond_seeds(0.19, seeds, resolution=FINE, margin=0.03) == pytest.approx(spread(0.16, seeds))
    assert beyond_seeds(0.03, seeds, resolution=FINE, margin=0.03) == pytest.approx(spread(0.06, seeds))


def test_seeds_that_agree_by_chance_are_as_sure_as_rounding_lets_them_be() -> None:
    p = beyond_seeds(0.012, [0.010, 0.010], resolution=0.001)
    # Two steps away, and the deviation of a rounded figure is the root of a twelfth of a step.
    assert p == pytest.approx(2 * stats.t.sf(2 / math.sqrt(1.5 / 12), 1))
    assert beyond_seeds(0.010, [0.010, 0.010], resolution=0.001) == 1.0


def test_other_images_make_a_difference_less_sure() -> None:
    seeds, errors = [0.10, 0.11, 0.12], [0.02, 0.03, 0.04]
    p = [float(2 * stats.norm.sf((0.2 - seed) / error)) for seed, error in zip(seeds, errors, strict=True)]
    combined = math.hypot(0.01 * math.sqrt(4 / 3), 0.03)
    expected = 2 * stats.t.sf(0.09 / combined, 2)
    assert beyond_seeds(0.2, seeds, resolution=FINE, image_p_values=p) == pytest.approx(expected, rel=1e-6)
    assert beyond_seeds(0.2, seeds, resolution=FINE, image_p_values=[1.0, 1.0, 1.0]) == pytest.approx(1.0)
    surest = beyond_seeds(0.2, seeds, resolution=FINE, image_p_values=[0.0, 0.0, 0.0])
    assert surest == pytest.approx(spread(0.2, seeds))


@given(p_values)
def test_beside_most_is_a_majority_at_a_price(p: list[float]) -> None:
    most = len(p) // 2 + 1
    found = beside_most(p)
    assert sum(one <= found for one in p) >= most
    assert found >= sorted(p)[most - 1]
    assert beside_most([p[0]]) == p[0]
    assert beside_most([*p, 1.0]) >= beside_most([*p, p[0]])


def test_beside_most_keeps_the_level_whatever_the_p_values_have_in_common() -> None:
    generator, worst = np.random.default_rng(1), 0.0
    for common in (0.0, 0.5, 0.9, 1.0):
        for k in (2, 3, 5, 10):
            normal = common**0.5 * generator.normal(size=(4000, 1)) + (1 - common) ** 0.5 * generator.normal(
                size=(4000, k)
            )
            p = 2 * stats.norm.sf(np.abs(normal))
            worst = max(worst, float(np.mean([beside_most(row.tolist()) <= 0.05 for row in p])))
    # Three standard errors of 4,000.
    assert worst <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 4000)


def test_the_scale_of_shares_is_that_of_anscombe() -> None:
    for count, n in ((0, 100), (3, 100), (50, 100), (100, 100)):
        expected = math.asin(math.sqrt((count + 3 / 8) / (n + 3 / 4)))
        assert root_scale(n)(count / n) == pytest.approx(expected)
    assert root_scale()(0.25) == pytest.approx(math.asin(0.5))


@pytest.mark.parametrize(("draw", "most"), [(normal_seeds(0.1, 0.006), 0.01), (skewed_seeds(0.1, 0.05), 0.01)])
@pytest.mark.parametrize("k", [2, 3, 5, 10])
def test_a_further_innocent_seed_is_seldom_called_worse(draw: Any, most: float, k: int) -> None:
    """Over seeds alone, without the images: the scale makes up for skewed seeds."""
    repeats = 4000
    figures = draw(np.random.default_rng(k), repeats * (k + 1)).reshape(repeats, k + 1)
    called = [
        now > fmean(seeds) and beyond_seeds(now, seeds, resolution=1 / 50_000, scale=root_scale(50_000)) <= 0.01
        for now, *seeds in figures.tolist()
    ]
    assert np.mean(called) <= most + 3 * math.sqrt(most * (1 - most) / repeats)


def noncentral_power(k: int, deviations: float, images: int) -> float:
    """Return the power of Crawford and Howell's test by hand, for an asr of .1 whose seeds differ by .006."""
    # 5.6 % of the images flip with one of two seeds and not with the other, and as many the other way round.
    deviation = math.sqrt(0.006**2 + 0.056 / images)
    slope = 0.5 / math.sqrt(0.1 * 0.9)
    distance = root_scale()(0.1 + 0.006 * deviations) - root_scale()(0.1)
    noncentrality = distance / (deviation * slope * math.sqrt(1 + 1 / k))
    return float(stats.nct.sf(stats.t.isf(0.005, k - 1), k - 1, noncentrality))


def test_what_several_seeds_are_worth() -> None:
    """A part of the table of docs/statistics.md, three standard errors wide, and the noncentral t by hand."""
    repeats, draw = 200, normal_seeds(0.1, 0.006)
    innocent, worse = (called_worse(5000, draw, worse_by, repeats, [p_value])[0] for worse_by in (0.0, 0.03))
    assert innocent[0] == pytest.approx(0.115, abs=3 * math.sqrt(0.115 * 0.885 / repeats))
    assert max(innocent[1:]) <= 0.01 + 3 * math.sqrt(0.01 * 0.99 / repeats)
    for found, tabulated, k in zip(worse[1:], (0.038, 0.122, 0.387, 0.730), SEEDS[1:], strict=True):
        power = noncentral_power(k, 5, 5000)
        assert tabulated == pytest.approx(power, abs=3 * math.sqrt(power * (1 - power) / 1000))
        assert found == pytest.approx(power, abs=3 * math.sqrt(power * (1 - power) / repeats))


def test_a_mixed_model_by_reml_takes_seeds_that_agree_by_chance_for_proof() -> None:
    """It is no better than the larger p-value at its own level, which is why that is used."""
    rules = [p_value, p_of_mixed_model, p_of_every_seed]
    as_it_is, reml, every = called_worse(5000, normal_seeds(0.1, 0.006), 0.0, 300, rules)
    assert reml[0] > 0.01 + 3 * math.sqrt(0.01 / 300) > as_it_is[1]
    assert all(one <= most for one, most in zip(every, as_it_is[1:], strict=True))
