"""How often the intervals of gaps, and of their excesses, contain the true value in simulated datasets."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from pytest_biastransfer.metrics.area_gaps import auc_gaps
from pytest_biastransfer.metrics.rate_gaps import gap_excess, rate_gaps
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.names import Negatives

Marked = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


DATA_SETS = 300


def covered(truth: float, draw: Callable[[np.random.Generator], Estimate]) -> float:
    generator = np.random.default_rng(11)
    found = [draw(generator) for _ in range(DATA_SETS)]
    # Sums of fractions in another order differ in their last bits.
    return float(np.mean([one.low <= truth + 1e-12 and truth - 1e-12 <= one.high for one in found]))


# The true rates of the groups; images a group; the coverage that is reached in 1,000 sets.
RATES: list[tuple[list[float], int, float]] = [
    ([0.2, 0.2], 200, 0.95),
    ([0.05] * 10, 200, 0.97),
    ([0.2] + [0.05] * 4, 200, 0.94),
    ([0.1, 0.15, 0.2, 0.25, 0.3], 50, 0.95),
    # Several groups share each end: chance drives the observed gap far above the true one.
    ([0.1] * 5 + [0.15] * 5, 500, 0.955),
    ([0.1] * 25 + [0.15] * 25, 500, 0.965),
]


@pytest.mark.parametrize(("rates", "n", "reached"), RATES)
def test_the_gap_of_rates(rates: list[float], n: int, reached: float) -> None:
    codes, names = np.repeat(np.arange(len(rates)), n), [str(code) for code in range(len(rates))]
    every, shares = np.ones(len(codes), dtype=np.bool_), np.array(rates)[codes]

    def draw(generator: np.random.Generator) -> Estimate:
        return rate_gaps("fpr", generator.random(len(codes)) < shares, every, codes, names).gap

    assert covered(max(rates) - min(rates), draw) >= reached - 0.04


@pytest.mark.parametrize("negatives", get_args(Negatives))
@pytest.mark.parametrize(("true", "n"), [([0.8] * 5, 200), ([0.9, 0.98], 200)])
def test_the_gap_of_areas(true: list[float], n: int, negatives: Negatives) -> None:
    codes, names = np.repeat(np.arange(len(true)), 2 * n), [str(code) for code in range(len(true))]
    positive = np.arange(len(codes)) % 2 == 1
    # A positive is above a negative by this much on average, in standard deviations.
    shift = np.where(positive, math.sqrt(2) * stats.norm.ppf(true)[codes], 0)

    def draw(generator: np.random.Generator) -> Estimate:
        return auc_gaps(generator.standard_normal(len(codes)) + shift, positive, codes, names, negatives=negatives).gap

    assert covered(max(true) - min(true), draw) >= 0.91


def test_the_excess_of_the_gap() -> None:
    codes = np.repeat(np.arange(2), 200)
    every, model, control = np.ones(400, dtype=np.bool_), np.array([0.4, 0.2])[codes], np.array([0.25, 0.2])[codes]

    def draw(generator: np.random.Generator) -> Estimate:
        level = generator.random(400)
        return gap_excess(level < model, level < control, every, codes, 2)

    assert covered(0.15, draw) >= 0.9


@pytest.mark.parametrize(
    ("rates", "sizes"), [((0.05, 0.05), (50, 50)), ((0.3, 0.1), (200, 200)), ((0.2, 0.02), (30, 1000))]
)
def test_the_signed_gap_of_rates(rates: tuple[float, float], sizes: tuple[int, int]) -> None:
    codes = np.repeat([0, 1], sizes)
    every, shares = np.ones(len(codes), dtype=np.bool_), np.array(rates)[codes]

    def draw(generator: np.random.Generator) -> Estimate:
        return rate_gaps("fpr", generator.random(len(codes)) < shares, every, codes, ["a", "b"], between=(0, 1)).gap

    assert 0.92 <= covered(rates[0] - rates[1], draw) <= 0.99


@pytest.mark.parametrize("negatives", get_args(Negatives))
def test_the_signed_gap_of_areas(negatives: Negatives) -> None:
    codes = np.repeat([0, 1], 200)
    positive = np.arange(400) % 2 == 1
    shift = np.where(positive, math.sqrt(2) * stats.norm.ppf([0.7, 0.85])[codes], 0)

    def draw(generator: np.random.Generator) -> Estimate:
        scores = generator.standard_normal(400) + shift
        return auc_gaps(scores, positive, codes, ["a", "b"], negatives=negatives, between=(0, 1)).gap

    assert 0.92 <= covered(0.7 - 0.85, draw) <= 0.99


def test_the_excess_of_the_signed_gap() -> None:
    codes = np.repeat([0, 1], 200)
    every, model, control = np.ones(400, dtype=np.bool_), np.array([0.1, 0.3])[codes], np.array([0.25, 0.2])[codes]

    def draw(generator: np.random.Generator) -> Estimate:
        level = generator.random(400)
        return gap_excess(level < model, level < control, every, codes, 2, between=(0, 1))

    assert 0.92 <= covered(-0.2 - 0.05, draw) <= 0.99
