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
from pytest_biastransfer.metrics.statistics.change_tests import holm, mcnemar, mean_change, two_proportions

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
@given(st.lists(probabilities, min_size=1, max_size=8))
def test_holm_agrees_with_statsmodels(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1].tolist(), rel=1e-9)


@quick
@given(st.lists(probabilities, max_size=12), st.floats(0.001, 0.5))
def test_holm_rejects_what_stepping_down_rejects(p_values: list[float], alpha: float) -> None:
    # The definition: from the smallest on, as long as p <= alpha / (how many are left).
    rejected = set()
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        threshold = alpha / (len(p_values) - rank)
        if p_values[place] > threshold or math.isclose(p_values[place], threshold, rel_tol=1e-12):
            break
        rejected.add(place)
    adjusted = holm(p_values)
    assert {place for place, p in enumerate(adjusted) if p <= alpha * (1 - 1e-13)} >= rejected
    assert {place for place, p in enumerate(adjusted) if p < alpha * (1 - 1e-11)} <= rejected
    assert all(p <= one <= 1 for p, one in zip(p_values, adjusted, strict=True))


def test_holm_of_nothing_and_of_one() -> None:
    assert holm([]) == []
    assert holm([0.3]) == [0.3]


def test_what_every_session_needs_imports_no_numpy_and_nothing_needs_scipy_stats() -> None:
    code = """
import sys
from pytest_biastransfer.metrics.statistics import change_tests
change_tests.holm([0.1, 0.2])
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
