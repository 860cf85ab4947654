"""P-values of a change of the skew: what must not matter, how often they are small, and how often a change is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from pytest_biastransfer.metrics.statistics.skew_change_test import skew_change
from pytest_biastransfer.metrics.statistics.transitions import Transitions

NONE: npt.NDArray[np.int64] = np.array([], dtype=np.int64)


def moves(generator: np.random.Generator, n: int, classes: int, asr: float, drawn_in: float = 0.5) -> Transitions:
    """Draw the moves of a model that loses a share of `asr`, of which class 0 gains `drawn_in`."""
    clean, anywhere = generator.integers(0, classes, (2, n))
    to = np.where(generator.random(n) < drawn_in, 0, anywhere)
    return Transitions.between(clean, np.where(generator.random(n) < asr, to, clean))


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("images", [0, 5, 60])
def test_a_skew_that_did_not_change_is_no_evidence(images: int, paired: bool) -> None:
    one = Transitions(np.arange(images), before=np.arange(images) % 7, after=np.arange(images) % 5)
    control = moves(np.random.default_rng(0), 100, 5, 0.2)
    assert skew_change([one], [one], 100, 100, paired=paired) > (0.999 if paired else 0.3)
    assert skew_change([one, control], [one, control], 100, 100, paired=paired) > (0.999 if paired else 0.3)


@pytest.mark.parametrize("images", [1, 4, 12, 13, 20])
def test_few_images_show_no_more_than_a_coin_that_falls_the_same_way_as_often(images: int) -> None:
    every = Transitions(np.arange(images), before=np.zeros(images, np.int64), after=np.ones(images, np.int64))
    found = skew_change([Transitions(NONE, NONE, NONE)], [every], images + 10, images + 10, paired=True)
    assert found >= 0.5 ** (images - 1)


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("images", [400, 3000])
def test_the_names_of_the_classes_decide_nothing(images: int, paired: bool) -> None:
    generator = np.random.default_rng(images)
    parts = [moves(generator, images, 30, 0.1, drawn_in) for drawn_in in (0.2, 0.7)]
    names = generator.permutation(1000)[:30]
    renamed = [Transitions(one.images, names[one.before], names[one.after]) for one in parts]
    found, other = (skew_change([two[0]], [two[1]], images, images, paired=paired) for two in (parts, renamed))
    # Unless several classes have the same flows: then other images are in the halves.
    assert stats.norm.isf(other / 2) == pytest.approx(stats.norm.isf(found / 2), abs=0.3)


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
    assert skew_change([far[0]], [far[1]], 10**6, 10**6, paired=True) == pytest.approx(expected, rel=1e-9)


def test_far_apart_skews_have_p_values_that_survive_many_tests() -> None:
    generator = np.random.default_rng(5)
    before, now = (moves(generator, 5000, 100, asr) for asr in (0.05, 0.2))
    assert 0 < skew_change([before], [now], 5000, 5000, paired=True) < 1e-30
    assert 0 < skew_change([before], [now], 5000, 5000, paired=False) < 1e-30


def test_the_excess_over_a_control_that_changes_alike_does_not_change() -> None:
    generator = np.random.default_rng(6)
    before, now = (moves(generator, 3000, 10, asr) for asr in (0.05, 0.2))
    assert skew_change([before], [now], 3000, 3000, paired=True) < 1e-9
    assert skew_change([before, before], [now, now], 3000, 3000, paired=True) > 0.999


# ------------------------------------------------------------------------------------ level and power


def shares_of_small_p(draw: Callable[[np.random.Generator], float], repeats: int) -> npt.NDArray[Any]:
    """Return how many p-values are at most 0.01, and at most 0.05."""
    generator = np.random.default_rng(99)
    found = np.array([draw(generator) for _ in range(repeats)])
    return np.array([np.mean(found <= 0.01), np.mean(found <= 0.05)])


# The levels, and 2.5 standard errors of 150 repeats.
LEVELS = np.array([0.031, 0.095])
REPEATS = 150

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

    assert (shares_of_small_p(draw, REPEATS) <= LEVELS).all()


@pytest.mark.parametrize(("n", "classes", "asr", "paired"), [(200, 10, 0.1, True), (2000, 100, 0.1, False)])
def test_excesses_that_did_not_change_are_rarely_called_changed(n: int, classes: int, asr: float, paired: bool) -> None:
    def draw(generator: np.random.Generator) -> float:
        before, now = ([moves(generator, n, classes, share) for share in (asr, asr / 2)] for _ in range(2))
        return skew_change(before, now, n, n, paired=paired)

    assert (shares_of_small_p(draw, REPEATS) <= LEVELS).all()


@pytest.mark.parametrize("paired", [True, False])
def test_skews_of_the_same_size_towards_other_classes_are_the_same(paired: bool) -> None:
    def draw(generator: np.random.Generator) -> float:
        before, now = (moves(generator, 1500, 10, 0.1) for _ in range(2))
        # Class 0 and class 9 change names: what went to class 0 goes to class 9.
        return skew_change(
            [before], [Transitions(now.images, 9 - now.before, 9 - now.after)], 1500, 1500, paired=paired
        )

    assert (shares_of_small_p(draw, REPEATS) <= LEVELS).all()


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(("n", "classes"), [(2000, 10), (2000, 100), (5000, 1000)])
def test_more_flips_to_anywhere_are_not_taken_for_skew(n: int, classes: int, paired: bool) -> None:
    def draw(generator: np.random.Generator) -> float:
        # A bootstrap or a permutation of the observed skew calls that changed in .10 to .97 at a level of .01.
        before, now = (moves(generator, n, classes, asr, 0.0) for asr in (0.1, 0.2))
        return skew_change([before], [now], n, n, paired=paired)

    assert (shares_of_small_p(draw, REPEATS) <= LEVELS).all()


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(("classes", "power"), [(10, 0.63), (100, 0.52), (1000, 0.53)])
def test_skews_that_changed_are_found(classes: int, power: float, paired: bool) -> None:
    def draw(generator: np.random.Generator) -> float:
        # The same number of flips; class 0 gains a half of them, and now three quarters: .05 and .075.
        before, now = (moves(generator, 2000, classes, 0.1, drawn_in) for drawn_in in (0.5, 0.75))
        return skew_change([before], [now], 2000, 2000, paired=paired)

    # 2.5 standard errors of the simulation.
    assert shares_of_small_p(draw, REPEATS)[0] >= power - 0.1
