"""How often intervals contain the truth: in simulated data sets, whose truth is known.

Floors lie three standard errors of the simulation below what longer runs of the same measure, as the tables of
docs/statistics.md have it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from pytest_biastransfer.metrics import flips
from pytest_biastransfer.metrics.statistics.draws import DRAWS, quantiles
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.metrics.statistics.intervals import proportion
from pytest_biastransfer.metrics.statistics.seed_intervals import mean_over_seeds

Integers = npt.NDArray[np.int64]

DATA_SETS = 1000


def covered(truth: float, estimates: Iterable[Estimate], data_sets: Integers | None = None) -> float:
    """Return the share of the data sets whose interval contains the truth; each estimate stands for so many of them."""
    # Sums of fractions in another order differ in their last bits.
    inside = [estimate.low <= truth + 1e-12 and truth - 1e-12 <= estimate.high for estimate in estimates]
    return float(np.average(inside, weights=data_sets))


def floor(coverage: float) -> float:
    """Return what the coverage of so many data sets falls below in one of a thousand simulations."""
    return coverage - 3 * math.sqrt(coverage * (1 - coverage) / DATA_SETS)


# --------------------------------------------------------------------------------- exact intervals


@pytest.mark.parametrize("n", [20, 200, 1000, 50_000])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.05, 0.2, 0.5, 0.97])
def test_clopper_and_pearson_cover_the_truth_in_simulated_data_sets(share: float, n: int) -> None:
    data_sets = 2000
    counts = Counter(np.random.default_rng(n).binomial(n, share, data_sets).tolist())
    found = [(proportion(count, n), times) for count, times in counts.items()]
    assert sum(times for one, times in found if one.low <= share <= one.high) >= 0.94 * data_sets


@pytest.mark.parametrize("n", [1, 7, 60])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_clopper_and_pearson_cover_every_truth_as_often_as_they_say(n: int, confidence: float) -> None:
    found = [proportion(count, n, confidence) for count in range(n + 1)]
    low, high = (np.array([getattr(one, end) for one in found]) for end in ("low", "high"))
    for share in np.linspace(0, 1, 201):
        inside = (low <= share) & (share <= high)
        # Not simulated: the probabilities of all counts whose interval contains the truth.
        assert stats.binom.pmf(np.flatnonzero(inside), n, share).sum() >= confidence - 1e-9


# ----------------------------------------------------------------------- differences of two proportions


def outcomes(n: int, both: float, first: float, second: float, seed: int) -> list[npt.NDArray[np.bool_]]:
    """Draw whether images are marked by both, by the first or by the second of two models."""
    kinds = np.random.default_rng(seed).random((DATA_SETS, n))
    return [
        (kinds < both + first),
        (kinds < both) | ((kinds >= both + first) & (kinds < both + first + second)),
    ]


# Images, the share of both, of the first only, of the second only; the coverage that is reached.
DIFFERENCES = [
    (150, 0.40, 0.15, 0.05, 0.950),
    (1000, 0.70, 0.02, 0.01, 0.958),
    (1000, 0.00, 0.10, 0.10, 0.950),
    (5000, 0.70, 0.01, 0.002, 0.960),
    (250, 0.70, 0.02, 0.00, 0.960),
]


@pytest.mark.parametrize(("n", "both", "first", "second", "reached"), DIFFERENCES)
def test_the_difference_of_two_proportions(n: int, both: float, first: float, second: float, reached: float) -> None:
    model, control = outcomes(n, both, first, second, seed=n)
    # An interval depends on the numbers of images that one of the two marks alone: one of each suffices.
    tables = np.stack([(model & ~control).sum(axis=1), (control & ~model).sum(axis=1)])
    _, representatives, data_sets_alike = np.unique(tables, axis=1, return_index=True, return_counts=True)
    estimates = [flips.asr_excess(model[index], control[index]) for index in representatives]
    assert floor(reached) <= covered(first - second, estimates, data_sets_alike) <= 0.985


def test_the_accuracy_drop() -> None:
    predicted = [np.where(right, 0, 1) for right in outcomes(400, 0.6, 0.12, 0.03, seed=1)]
    labels = np.zeros(400, dtype=np.int64)
    found = [flips.accuracy_drop(clean, intervened, labels) for clean, intervened in zip(*predicted, strict=True)]
    assert 0.93 <= covered(0.09, found) <= 0.975


# --------------------------------------------------------------------------------------------- far tails


@pytest.mark.parametrize("confidence", [0.95, 0.99, 0.999, 0.9999, 0.999999])
def test_quantiles_far_out_are_those_of_a_normal_tail(confidence: float) -> None:
    tail = (1 - confidence) / 2
    found = np.array(
        [quantiles(np.random.default_rng(seed).normal(3, 2, DRAWS), [tail, 1 - tail]) for seed in range(50)]
    )
    expected = stats.norm.ppf([tail, 1 - tail], 3, 2)
    # 2,000 draws know the quantiles to a tenth of a standard deviation or so; on average they are right.
    assert found.mean(axis=0) == pytest.approx(expected, abs=0.15)
    assert found.std(axis=0).max() < 0.5


# --------------------------------------------------------------------------------- means over seeds


@pytest.mark.parametrize("deviation", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("mean", [0.001, 0.01, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("same_flips", [False, True])
def test_means_over_seeds_cover_that_of_other_seeds_and_images(mean: float, deviation: float, same_flips: bool) -> None:
    """`deviation` is that of the seeds' true shares, as a share of the mean or of 1 minus the mean."""
    generator = np.random.default_rng(round(1000 * mean) + same_flips)
    for seeds, n in ((2, 100), (3, 300), (5, 100), (5, 5000)):
        true_shares = drawn_shares(mean, deviation, (DATA_SETS, seeds), generator)
        if same_flips:
            # An image that one seed flips is flipped by each seed with a higher share, too.
            counts = np.array([(generator.random((n, 1)) < row).sum(axis=0) for row in true_shares])
        else:
            counts = generator.binomial(n, true_shares)
        found = [mean_over_seeds([proportion(count, n) for count in row]) for row in counts.tolist()]
        assert covered(mean, found) >= floor(0.93), (seeds, n)


def drawn_shares(
    mean: float, deviation: float, shape: tuple[int, int], generator: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return shares with a beta distribution."""
    if not deviation:
        return np.full(shape, mean)
    variance = (deviation * min(mean, 1 - mean)) ** 2
    total = mean * (1 - mean) / variance - 1
    return generator.beta(mean * total, (1 - mean) * total, shape)
