"""Changes of a share whose base changes, too: against all exchanges, Kosinski's statistic, and how often p is small."""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_biastransfer.metrics.statistics import random_signs
from pytest_biastransfer.metrics.statistics.change_tests import mcnemar, two_proportions
from pytest_biastransfer.metrics.statistics.changing_base_test import ShareOfSome, paired_share_change
from pytest_biastransfer.metrics.statistics.random_signs import exchange_p_value

Marked = npt.NDArray[np.bool_]

quick = settings(max_examples=60, deadline=None)


def share_of(hits: Marked, base: Marked) -> ShareOfSome:
    return ShareOfSome(np.flatnonzero(hits), np.flatnonzero(~base))


@quick
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=9))
def test_all_exchanges_of_images_are_compared(images: list[tuple[bool, bool, bool, bool]]) -> None:
    hits_before, base_before, hits_now, base_now = np.array(images).T
    hits = np.array([hits_before & base_before, hits_now & base_now], dtype=np.int64)
    bases = np.array([base_before, base_now], dtype=np.int64)
    found = paired_share_change(share_of(hits_before, base_before), share_of(hits_now, base_now), len(images))
    pooled = hits.sum() / max(1, bases.sum())
    # By how much what counts exceeds the pooled share of the base.
    excess = hits - pooled * bases
    swaps = [np.array(swapped) for swapped in product((False, True), repeat=len(images))]
    sums = [float(np.where(swapped, excess[0] - excess[1], excess[1] - excess[0]).sum()) for swapped in swaps]
    expected = np.mean(np.abs(sums) >= abs(sums[0]) - 1e-9)
    assert found == pytest.approx(expected, abs=1e-12)


@quick
@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 4), st.integers(-40, 40))
def test_signs_are_counted(ones: int, sevens: int, threes: int, total: int) -> None:
    terms = [1] * ones + [7] * sevens + [3] * threes
    sums = np.array([np.dot(terms, signs) for signs in product((1, -1), repeat=len(terms))])
    expected = np.mean(np.abs(sums) >= abs(total))
    found = exchange_p_value(total, {1: ones, 7: sevens, 3: threes})
    assert found == pytest.approx(expected if terms else 1.0, abs=1e-12)


def measurements(
    generator: np.random.Generator, share: float, later: float, accuracies: tuple[float, float], n: int = 5000
) -> tuple[ShareOfSome, ShareOfSome]:
    """Two measurements that have nine tenths of the flips in common; a twentieth of the right images is not any more."""
    right = generator.random(n) < accuracies[0]
    restored = (accuracies[1] - 0.95 * accuracies[0]) / (1 - accuracies[0])
    right_now = generator.random(n) < np.where(right, 0.95, restored)
    flips = generator.random(n) < share
    flips_now = generator.random(n) < np.where(flips, 0.9, (later - 0.9 * share) / (1 - share))
    return share_of(flips, right), share_of(flips_now, right_now)


def kosinskis_statistic(before: ShareOfSome, now: ShareOfSome, n: int) -> tuple[float, float]:
    """The weighted generalized score statistic as published, and the difference of the bases divided by their sum."""
    base, hits = np.ones((2, n)), np.zeros((2, n))
    for row, share in enumerate((before, now)):
        base[row, share.outside] = 0
        hits[row, share.hits] = 1
    hits *= base
    sizes, counts = base.sum(axis=1), hits.sum(axis=1)
    pooled = counts.sum() / sizes.sum()
    in_both = base.prod(axis=0)
    covariance = float(((hits[0] - pooled) * (hits[1] - pooled) * in_both).sum()) / sizes.sum()
    difference = counts[1] / sizes[1] - counts[0] / sizes[0]
    variance = (pooled * (1 - pooled) - 2 * covariance) * (1 / sizes).sum()
    return float(difference**2 / variance), float((sizes[1] - sizes[0]) / sizes.sum())


@pytest.mark.parametrize("accuracies", [(0.9, 0.9), (0.8, 0.9), (0.6, 0.9)])
def test_with_many_images_it_is_kosinskis_score_test(
    accuracies: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, now = measurements(np.random.default_rng(3), 0.05, 0.055, accuracies)
    exact = paired_share_change(before, now, 5000)
    statistic, difference = kosinskis_statistic(before, now, 5000)
    monkeypatch.setattr(random_signs, "_MANY", 0)
    approximate = paired_share_change(before, now, 5000)
    assert approximate == pytest.approx(stats.chi2.sf(statistic * (1 - difference**2), 1), rel=1e-9)
    # Half of the probability of the sum itself is what the approximation leaves out.
    assert approximate == pytest.approx(exact, rel=0.1)


def test_with_one_base_it_is_mcnemars_test() -> None:
    outside = np.arange(900, 1000)
    before = ShareOfSome(np.array([*range(30), 950]), outside)
    now = ShareOfSome(np.array([*range(20), *range(100, 125), 960, 970]), outside)
    assert paired_share_change(before, now, 1000) == pytest.approx(mcnemar(25, 10), rel=1e-9)


def test_images_outside_of_both_bases_do_not_matter() -> None:
    none, some = np.arange(0), np.arange(10)
    assert paired_share_change(ShareOfSome(none, some), ShareOfSome(some, some), 100) == 1.0
    everything = np.arange(100)
    assert paired_share_change(ShareOfSome(none, everything), ShareOfSome(some, everything), 100) == 1.0


def rejected(shares: tuple[float, float], accuracies: tuple[float, float], n: int, pairs: int, alpha: float) -> float:
    generator = np.random.default_rng(0)
    drawn = (measurements(generator, *shares, accuracies, n) for _ in range(pairs))
    return sum(paired_share_change(*pair, n) <= alpha for pair in drawn) / pairs


@pytest.mark.parametrize(
    ("share", "accuracies", "n"),
    [(0.05, (0.9, 0.9), 5000), (0.05, (0.8, 0.9), 5000), (0.05, (0.9, 0.9), 300), (0.3, (0.7, 0.7), 300)],
)
def test_equal_shares_are_seldom_called_unequal(share: float, accuracies: tuple[float, float], n: int) -> None:
    # Three standard errors of 1,000 pairs above the level.
    assert rejected((share, share), accuracies, n, 1000, 0.05) <= 0.05 + 3 * (0.05 * 0.95 / 1000) ** 0.5


def test_a_hundredth_more_is_seen_on_the_same_images_and_not_on_others() -> None:
    # .95 in 1,000 pairs; three standard errors of 200 below that.
    assert rejected((0.05, 0.06), (0.9, 0.9), 5000, 200, 0.01) >= 0.95 - 3 * (0.95 * 0.05 / 200) ** 0.5
    generator = np.random.default_rng(0)
    unpaired = [
        two_proportions(len(np.setdiff1d(*now)), 5000 - len(now.outside), len(np.setdiff1d(*before)), 4500)
        for before, now in (measurements(generator, 0.05, 0.06, (0.9, 0.9)) for _ in range(200))
    ]
    assert np.mean(np.array(unpaired) <= 0.01) < 0.5
