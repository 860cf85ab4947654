"""P-values of changes: against other implementations, against all ways of dealing, and how often they are small."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
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
from pytest_biastransfer.metrics.statistics.change_tests import holm, mcnemar, mean_change, skew_change, two_proportions
from pytest_biastransfer.metrics.statistics.transitions import Transitions

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
    # Theirs are 0 from about 1e-290 on.
    assert found == pytest.approx(float(statsmodels_mcnemar(table, exact=True).pvalue), rel=1e-9, abs=1e-280)
    if discordant:
        assert found == pytest.approx(stats.binomtest(newly, discordant, 0.5).pvalue, rel=1e-9, abs=1e-280)


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
from pytest_biastransfer.metrics.statistics.transitions import Transitions
images, none = np.arange(40), np.arange(0)
change_tests.mean_change((images, none), (none, images), 50, 50, paired=True)
moves = [Transitions(images, images, images + 1)], [Transitions(images, images % 7, images % 7 + 1)]
change_tests.skew_change(*moves, 50, 50, paired=True)
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


# -------------------------------------------------------------------------------------------- skews


def moves(generator: np.random.Generator, n: int, classes: int, asr: float, drawn_in: float = 0.5) -> Transitions:
    """Draw the moves of a model that loses a share of `asr`, of which class 0 gains `drawn_in`."""
    clean, anywhere = generator.integers(0, classes, (2, n))
    to = np.where(generator.random(n) < drawn_in, 0, anywhere)
    return Transitions.between(clean, np.where(generator.random(n) < asr, to, clean))


def skew(columns: Classes) -> float:
    """Return the skew of some images, or its excess: predictions [images, 2] of one model or [images, 4] of two."""
    distances = [
        sum(abs(np.sum(columns[:, i + 1] == c) - np.sum(columns[:, i] == c)) for c in np.unique(columns)) / 2
        for i in range(0, columns.shape[1], 2)
    ]
    return float(distances[0] - sum(distances[1:])) / len(columns)


# Of seven images, so that all ways can be tried.
@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=8, max_size=8), min_size=3, max_size=7), st.sampled_from([2, 4]))
def test_paired_skews_are_compared_with_all_exchanges_of_outcomes(rows: list[list[int]], columns: int) -> None:
    table = np.array(rows)
    before, now = table[:, :columns], table[:, 4 : 4 + columns]
    change = skew(now) - skew(before)
    changes: list[float] = []
    for exchanged in product((False, True), repeat=len(rows)):
        dealt = np.where(np.array(exchanged)[:, None], before, now), np.where(np.array(exchanged)[:, None], now, before)
        changes.append(skew(dealt[0]) - skew(dealt[1]))
    expected = np.mean(np.abs(changes) >= abs(change) - 1e-12)
    found = skew_change(both_moves(before), both_moves(now), len(rows), len(rows), paired=True)
    assert found == pytest.approx(expected, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 2), min_size=4, max_size=4), min_size=4, max_size=8),
    st.integers(2, 4),
    st.sampled_from([2, 4]),
)
def test_unpaired_skews_are_compared_with_all_ways_of_dealing_the_images(
    rows: list[list[int]], size: int, columns: int
) -> None:
    table = np.array(rows)[:, :columns]
    size = min(size, len(rows) - 1)
    changes: list[float] = []
    for chosen in combinations(range(len(rows)), size):
        others = [place for place in range(len(rows)) if place not in chosen]
        changes.append(skew(table[others]) - skew(table[list(chosen)]))
    mean = float(np.mean(changes))
    # The first way is that of the data: the first images are those of before.
    expected = np.mean(np.abs(np.array(changes) - mean) >= abs(changes[0] - mean) - 1e-12)
    parts = both_moves(table[:size]), both_moves(table[size:])
    found = skew_change(*parts, size, len(rows) - size, paired=False)
    assert found == pytest.approx(expected, abs=1e-9)


def both_moves(table: Classes) -> list[Transitions]:
    return [Transitions.between(table[:, i], table[:, i + 1]) for i in range(0, table.shape[1], 2)]


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("images", [0, 5, 60])
def test_a_skew_that_did_not_change_is_no_evidence(images: int, paired: bool) -> None:
    one = Transitions(np.arange(images), before=np.arange(images) % 7, after=np.arange(images) % 5)
    control = moves(np.random.default_rng(0), 100, 5, 0.2)
    assert skew_change([one], [one], 100, 100, paired=paired) == pytest.approx(1.0, abs=0.1 if images == 60 else 1e-9)
    assert skew_change([one, control], [one, control], 100, 100, paired=paired) > 0.85


@pytest.mark.parametrize("images", [1, 4, 12, 13, 20])
def test_few_images_show_no_more_than_a_coin_that_falls_the_same_way_as_often(images: int) -> None:
    # All that there are: resampling them changes nothing.
    every = Transitions(np.arange(images), before=np.zeros(images, np.int64), after=np.ones(images, np.int64))
    found = skew_change([Transitions(NONE, NONE, NONE)], [every], images, images, paired=True)
    if images <= 12:
        assert found == 0.5 ** (images - 1)
    else:
        # The standard error of 2,000 draws is known to 2 %: that is much, far out.
        assert 0.5 ** (images - 1) <= found <= 1.5 * math.erfc(math.sqrt(images / 2))


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("images", [400, 3000])
def test_the_names_of_the_classes_decide_nothing(images: int, paired: bool) -> None:
    generator = np.random.default_rng(images)
    parts = [moves(generator, images, 30, 0.1, drawn_in) for drawn_in in (0.2, 0.5)]
    names = generator.permutation(1000)[:30]
    renamed = [Transitions(one.images, names[one.before], names[one.after]) for one in parts]
    found, other = (skew_change([two[0]], [two[1]], images, images, paired=paired) for two in (parts, renamed))
    assert 0 < found < 0.9
    # Where resampling is random, so is its standard error: 2,000 draws know it to 2 %.
    assert stats.norm.isf(other / 2) == pytest.approx(stats.norm.isf(found / 2), rel=0.05)


@pytest.mark.parametrize("paired", [True, False])
def test_the_names_of_the_classes_of_few_images_decide_nothing_at_all(paired: bool) -> None:
    before = Transitions(np.array([3, 7, 8]), before=np.array([2, 1, 2]), after=np.array([0, 2, 0]))
    now = Transitions(np.array([1, 3, 4, 5, 6]), before=np.array([1, 2, 2, 1, 1]), after=np.array([0, 0, 0, 0, 2]))
    names = np.array([7, 3, 5])
    renamed = [Transitions(one.images, names[one.before], names[one.after]) for one in (before, now)]
    found = skew_change([before], [now], 20, 20, paired=paired)
    assert 0.1 < found < 0.9
    assert skew_change([renamed[0]], [renamed[1]], 20, 20, paired=paired) == found


@pytest.mark.parametrize("asr", [0.03, 0.1, 0.6])
def test_the_order_of_the_images_decides_nothing_to_the_last_bit(asr: float) -> None:
    generator = np.random.default_rng(3)
    parts = [moves(generator, 300, 20, asr) for _ in range(4)]
    order = generator.permutation(300)
    other = [Transitions(*(part[np.argsort(order[one.images])] for part in one)) for one in parts]
    shuffled = [one._replace(images=np.sort(order[old.images])) for old, one in zip(parts, other, strict=True)]
    for paired in (True, False):
        first, second = (skew_change(two[:2], two[2:], 300, 300, paired=paired) for two in (parts, shuffled))
        assert first == second


def test_classes_and_images_of_any_number_are_fine() -> None:
    generator = np.random.default_rng(4)
    parts = [moves(generator, 500, 8, 0.2) for _ in range(2)]
    expected = skew_change([parts[0]], [parts[1]], 10**6, 10**6, paired=True)
    far = [Transitions(one.images + 10**12, one.before + 10**6, one.after + 10**6) for one in parts]
    assert skew_change([far[0]], [far[1]], 10**6, 10**6, paired=True) == expected


def test_far_apart_skews_have_p_values_that_survive_many_tests() -> None:
    generator = np.random.default_rng(5)
    before, now = (moves(generator, 5000, 100, asr) for asr in (0.05, 0.2))
    assert 0 < skew_change([before], [now], 5000, 5000, paired=True) < 1e-30
    assert 0 < skew_change([before], [now], 5000, 5000, paired=False) < 1e-30


# ------------------------------------------------------------------------------------ level and power

REPEATS = 100


def shares_of_small_p(draw: Callable[[np.random.Generator], float], repeats: int = REPEATS) -> tuple[float, float]:
    """Return how many p-values are at most 0.01, and at most 0.05."""
    generator = np.random.default_rng(99)
    found = np.array([draw(generator) for _ in range(repeats)])
    return float(np.mean(found <= 0.01)), float(np.mean(found <= 0.05))


# The levels, and 2.5 standard errors of 100 repeats.
LEVELS = (0.035, 0.105)

# Images before and now, classes, asr, the share of it that class 0 gains.
SAME_IMAGES = [
    (200, 200, 2, 0.1, 0.5),
    (200, 200, 10, 0.05, 0.5),
    (1000, 1000, 100, 0.1, 0.0),
    (3000, 3000, 1000, 0.1, 0.4),
]
# And a measurement of few images, compared with one of many.
OTHER_IMAGES = [*SAME_IMAGES[:3], (100, 2000, 10, 0.1, 0.5), (200, 3000, 100, 0.2, 0.5)]


@pytest.mark.parametrize(
    ("paired", "sizes"), [*[(True, sizes) for sizes in SAME_IMAGES], *[(False, sizes) for sizes in OTHER_IMAGES]]
)
def test_skews_that_did_not_change_are_rarely_called_changed(
    paired: bool, sizes: tuple[int, int, int, float, float]
) -> None:
    n_before, n_now, classes, asr, drawn_in = sizes

    def draw(generator: np.random.Generator) -> float:
        before, now = (moves(generator, n, classes, asr, drawn_in) for n in (n_before, n_now))
        return skew_change([before], [now], n_before, n_now, paired=paired)

    assert np.all(shares_of_small_p(draw) <= np.array(LEVELS))


@pytest.mark.parametrize(("n", "classes", "asr", "paired"), [(200, 10, 0.1, True), (2000, 100, 0.1, False)])
def test_excesses_that_did_not_change_are_rarely_called_changed(n: int, classes: int, asr: float, paired: bool) -> None:
    def draw(generator: np.random.Generator) -> float:
        before, now = ([moves(generator, n, classes, share) for share in (asr, asr / 2)] for _ in range(2))
        return skew_change(before, now, n, n, paired=paired)

    assert np.all(shares_of_small_p(draw) <= np.array(LEVELS))


@pytest.mark.parametrize("paired", [True, False])
def test_skews_of_the_same_size_towards_other_classes_are_the_same(paired: bool) -> None:
    def draw(generator: np.random.Generator) -> float:
        before, now = (moves(generator, 1500, 10, 0.1) for _ in range(2))
        # Class 0 and class 9 change names: what went to class 0 goes to class 9.
        return skew_change(
            [before], [Transitions(now.images, 9 - now.before, 9 - now.after)], 1500, 1500, paired=paired
        )

    assert np.all(shares_of_small_p(draw) <= np.array(LEVELS))


@pytest.mark.parametrize("paired", [True, False])
def test_more_flips_to_anywhere_are_not_taken_for_skew(paired: bool) -> None:
    def draw(generator: np.random.Generator) -> float:
        before, now = (moves(generator, 2000, 10, asr, 0.0) for asr in (0.1, 0.2))
        return skew_change([before], [now], 2000, 2000, paired=paired)

    # Twice as many of them: a permutation test alone calls that changed in 16 of 100 cases.
    assert shares_of_small_p(draw, 200)[1] <= 0.1


@pytest.mark.parametrize(("classes", "paired"), [(10, False), (100, True)])
def test_skews_that_changed_are_found(classes: int, paired: bool) -> None:
    def draw(generator: np.random.Generator) -> float:
        before, now = (moves(generator, 2000, classes, asr) for asr in (0.1, 0.16))
        return skew_change([before], [now], 2000, 2000, paired=paired)

    # From 0.045 to 0.072 of 10 classes: 0.79 and 0.92 in 1,000 repeats.
    smaller, small = shares_of_small_p(draw, 200)
    assert smaller >= 0.7
    assert small >= 0.85


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(("n", "share"), [(100, 0.05), (2000, 0.02), (20_000, 0.1)])
def test_means_that_did_not_change_are_rarely_called_changed(n: int, share: float, paired: bool) -> None:
    def draw(generator: np.random.Generator) -> float:
        kinds = generator.random((2, n))
        before, now = ((np.flatnonzero(kind < share), np.flatnonzero(kind > 1 - share / 2)) for kind in kinds)
        return mean_change(before, now, n, n, paired=paired)

    assert np.all(shares_of_small_p(draw) <= np.array(LEVELS))
