"""P-values of changes: against other implementations, against all ways of dealing, and how often they are small."""

from __future__ import annotations

import math
import subprocess
import sys
from fractions import Fraction
from itertools import combinations, product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from pytest_biastransfer.metrics.statistics import sign_test
from pytest_biastransfer.metrics.statistics.change_tests import corrected, mcnemar, mean_change, two_proportions

Classes = npt.NDArray[Any]
Images = npt.NDArray[np.int64]

NONE: Images = np.array([], dtype=np.int64)
quick = settings(max_examples=60, deadline=None)
probabilities = st.floats(0, 1)


# ---------------------------------------------------------------------------------- shares of images


@quick
@given(st.integers(0, 3000), st.integers(0, 3000))
def test_mcnemar_agrees_with_statsmodels_and_scipy(newly: int, no_longer: int) -> None:
    found = mcnemar(newly, no_longer)
    table = [[7, newly], [no_longer, 7]]
    # Twice the tail of a binomial distribution, in whole numbers.
    discordant, tail, ways = newly + no_longer, 0, 1
    for count in range(min(newly, no_longer) + 1):
        tail += ways
        ways = ways * (discordant - count) // (count + 1)
    assert found == pytest.approx(float(min(Fraction(1), Fraction(2 * tail, 2**discordant))), rel=1e-9, abs=1e-300)
    # Theirs are 0 far out, from 1e-280 on or before.
    assert found == pytest.approx(float(statsmodels_mcnemar(table, exact=True).pvalue), rel=1e-9, abs=1e-250)
    if discordant:
        assert found == pytest.approx(stats.binomtest(newly, discordant, 0.5).pvalue, rel=1e-9, abs=1e-250)


def test_nothing_changed_is_no_evidence() -> None:
    assert mcnemar(0, 0) == mcnemar(5, 5) == 1.0


@pytest.mark.parametrize(("newly", "no_longer"), [(291, 26), (26, 291), (1000, 200), (30, 0), (507, 496)])
def test_mcnemar_is_precise_far_out(newly: int, no_longer: int) -> None:
    fewer, both = min(newly, no_longer), newly + no_longer
    exact = Fraction(2 * sum(math.comb(both, k) for k in range(fewer + 1)), 2**both)
    assert mcnemar(newly, no_longer) == pytest.approx(float(exact), rel=1e-9)


def test_mcnemar_of_a_clear_case() -> None:
    assert mcnemar(291, 26) == pytest.approx(7.6e-58, rel=0.01)


@st.composite
def two_shares(draw: st.DrawFn) -> tuple[int, int, int, int]:
    n, other_n = draw(st.integers(1, 2000)), draw(st.integers(1, 2000))
    return draw(st.integers(0, n)), n, draw(st.integers(0, other_n)), other_n


@quick
@given(two_shares())
def test_two_proportions_agree_with_fishers_test_of_scipy(shares: tuple[int, int, int, int]) -> None:
    hits, n, other_hits, other_n = shares
    expected = stats.fisher_exact([[hits, n - hits], [other_hits, other_n - other_hits]])[1]
    assert two_proportions(*shares) == pytest.approx(expected, rel=1e-9, abs=1e-300)
    assert two_proportions(other_hits, other_n, hits, n) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_two_proportions_of_many_images() -> None:
    expected = stats.fisher_exact([[5000, 45_000], [5300, 44_700]])[1]
    assert two_proportions(5000, 50_000, 5300, 50_000) == pytest.approx(expected, rel=1e-9)


# ----------------------------------------------------------------------------------------- many tests


# statsmodels collects garbage in each call, which takes a tenth of a second beside torch.
@settings(max_examples=20, deadline=None)
@given(st.lists(probabilities, min_size=1, max_size=8), st.sampled_from([0.01, 0.05, 0.3]))
def test_without_known_least_values_holms_correction_decides(p_values: list[float], alpha: float) -> None:
    adjusted = corrected(p_values, [0.0] * len(p_values), alpha)
    expected = multipletests(p_values, alpha=alpha, method="holm")[0].tolist()
    assert [p <= alpha for p in adjusted] == expected
    assert all(p <= one <= 1 for p, one in zip(p_values, adjusted, strict=True))


@settings(max_examples=20, deadline=None)
@given(st.lists(probabilities, min_size=1, max_size=8))
def test_the_false_discovery_rate_agrees_with_statsmodels(p_values: list[float]) -> None:
    found = corrected(p_values, [0.0] * len(p_values), 0.01, "fdr")
    assert found == pytest.approx(multipletests(p_values, method="fdr_bh")[1].tolist(), rel=1e-9)


def tarone(least: list[float], alpha: float) -> int:
    """Return Tarone's multiplier by its definition."""
    return next(k for k in range(1, len(least) + 2) if sum(one <= alpha / k for one in least) <= k)


@quick
@given(
    st.lists(st.tuples(st.integers(0, 12), st.floats(0, 1)), min_size=1, max_size=7), st.sampled_from([0.01, 0.05, 0.2])
)
def test_what_is_rejected_is_rejected_in_every_set_that_contains_it(
    drawn: list[tuple[int, float]], alpha: float
) -> None:
    least = [min(1.0, 2.0 ** (1 - count)) for count, _ in drawn]
    p_values = [low + (1 - low) * share**6 for low, (_, share) in zip(least, drawn, strict=True)]
    adjusted = corrected(p_values, least, alpha)
    places = range(len(drawn))
    for place in places:
        # Closed testing: in all sets that contain the comparison, something is significant by Tarone's test.
        sets = [found for size in places for found in combinations(places, size + 1) if place in found]
        rejected = all(
            any(p_values[one] <= alpha / tarone([least[other] for other in found], alpha) for one in found)
            for found in sets
        )
        if adjusted[place] <= alpha:
            assert rejected
        assert adjusted[place] >= p_values[place]


def test_unchanged_comparisons_take_no_power_from_the_others() -> None:
    generator = np.random.default_rng(0)
    found = {"identical": 0, "nearly": 0, "Holm": 0, "false": 0}
    for _ in range(400):
        newly, no_longer = generator.binomial(2000, 0.012), generator.binomial(2000, 0.004)
        p, least = mcnemar(newly, no_longer), mcnemar(newly + no_longer, 0)
        found["identical"] += corrected([p] + [1.0] * 199, [least] + [1.0] * 199, 0.01)[0] <= 0.01
        found["Holm"] += corrected([p] + [1.0] * 199, [0.0] * 200, 0.01)[0] <= 0.01
        others = generator.poisson(1, (199, 2)).tolist()
        p_values = [p, *(mcnemar(*one) for one in others)]
        nearly = corrected(p_values, [least, *(mcnemar(sum(one), 0) for one in others)], 0.01)
        found["nearly"] += nearly[0] <= 0.01
        found["false"] += min(nearly[1:]) <= 0.01
    # .55, .54, .07 and 0 of 1,000.
    assert found["identical"] >= 190
    assert found["nearly"] >= 185
    assert found["Holm"] <= 60
    assert found["false"] <= 4


def test_corrections_of_nothing_of_one_and_none() -> None:
    assert corrected([], [], 0.01) == []
    assert corrected([0.3], [0.0], 0.01) == [0.3]
    assert corrected([0.3, 0.02], [0.0, 0.0], 0.01, "none") == [0.3, 0.02]


def test_what_every_session_needs_imports_no_numpy_and_nothing_needs_scipy_stats() -> None:
    code = """
import sys
from pytest_biastransfer.metrics.statistics import change_tests
change_tests.corrected([0.1, 0.2], [0.0, 0.5], 0.05)
assert "numpy" not in sys.modules
change_tests.mcnemar(3, 4)
change_tests.two_proportions(1, 20, 9, 20)
import numpy as np
from pytest_biastransfer.metrics.statistics.skew_change_test import skew_change
from pytest_biastransfer.metrics.statistics.skew_interval import skew_estimate
from pytest_biastransfer.metrics.statistics.transitions import Transitions
images, none = np.arange(40), np.arange(0)
change_tests.mean_change((images, none), (none, images), 50, 50, paired=True)
moves = [Transitions(images, images, images + 1)], [Transitions(images, images % 7, images % 7 + 1)]
skew_change(*moves, 50, 50, paired=True)
skew_estimate(moves[0][0], 50)
heavy = {"scipy.stats", "torch", "pytest"} & sys.modules.keys()
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


# ---------------------------------------------------------------------------------- means of -1, 0, 1


def values_of(n: int, parts: tuple[Images, Images]) -> Images:
    values = np.zeros(n, dtype=np.int64)
    np.add.at(values, parts[0], 1)
    np.add.at(values, parts[1], -1)
    return values


@st.composite
def marks(draw: st.DrawFn, n: int) -> tuple[Images, Images]:
    """Draw images that add 1 to their value and images that take 1 from it; some do both."""
    plus, minus = (sorted(draw(st.sets(st.integers(0, n - 1), max_size=6))) for _ in range(2))
    return np.array(plus, dtype=np.int64), np.array(minus, dtype=np.int64)


@quick
@given(marks(9), marks(9))
def test_a_paired_mean_is_compared_with_all_exchanges_of_values(
    before: tuple[Images, Images], now: tuple[Images, Images]
) -> None:
    changes = values_of(9, now) - values_of(9, before)
    sums = [np.dot(changes, signs) for signs in product((1, -1), repeat=9)]
    expected = np.mean(np.abs(sums) >= abs(changes.sum()))
    assert mean_change(before, now, 9, 9, paired=True) == pytest.approx(expected, abs=1e-12)


@quick
@given(marks(6), marks(6), st.integers(0, 2))
def test_an_unpaired_mean_is_compared_with_all_ways_of_dealing_the_images(
    before: tuple[Images, Images], now: tuple[Images, Images], more: int
) -> None:
    first, second = values_of(6, before), values_of(6 + more, now)
    pool, change = np.concatenate([first, second]), second.mean() - first.mean()
    dealt = [pool[list(chosen)].sum() for chosen in combinations(range(len(pool)), len(second))]
    changes = np.array(dealt) / len(second) - (pool.sum() - np.array(dealt)) / len(first)
    expected = np.mean(np.abs(changes) >= abs(change) - 1e-12)
    assert mean_change(before, now, 6, 6 + more, paired=False) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("up", "down"), [(3, 9), (291, 26), (20_000, 19_500), (5, 5)])
def test_a_paired_mean_without_large_changes_is_mcnemars_test(up: int, down: int) -> None:
    images = np.arange(up + down)
    found = mean_change((NONE, NONE), (images[:up], images[up:]), 10**6, 10**6, paired=True)
    assert found == pytest.approx(mcnemar(up, down), rel=1e-9)


@pytest.mark.parametrize(("few", "many", "n"), [(1, 9, 20), (5, 30, 200), (100, 160, 1000)])
def test_an_unpaired_share_is_fishers_test(few: int, many: int, n: int) -> None:
    found = mean_change((np.arange(few), NONE), (np.arange(many), NONE), n, n, paired=False)
    assert found == pytest.approx(two_proportions(few, n, many, n), rel=1e-9)


def test_many_images_take_the_normal_approximation_which_is_close(monkeypatch: pytest.MonkeyPatch) -> None:
    marked = (np.arange(200), np.arange(200, 350)), (np.arange(260), np.arange(260, 380))
    exact = mean_change(*marked, 5000, 4000, paired=False)
    monkeypatch.setattr(sign_test, "_MANY", 0)
    assert mean_change(*marked, 5000, 4000, paired=False) == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize("paired", [True, False])
def test_means_of_images_without_a_value_do_not_change(paired: bool) -> None:
    assert mean_change((NONE, NONE), (NONE, NONE), 5, 5, paired=paired) == 1.0
    both = np.arange(5)
    assert mean_change((both, both), (NONE, NONE), 5, 5, paired=paired) == 1.0
