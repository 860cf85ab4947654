"""The interval of a skew: its parts against counting all splits, and how often it contains the truth."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from pytest_biastransfer.metrics.statistics.class_flows import (
    classes_of,
    corrected_distance,
    distance,
    held_out_distance,
)
from pytest_biastransfer.metrics.statistics.noisy_sizes import mean_sizes
from pytest_biastransfer.metrics.statistics.skew_interval import (
    corrected_skew_estimate,
    skew_estimate,
    skew_excess_estimate,
)
from pytest_biastransfer.metrics.statistics.transitions import Transitions

quick = settings(max_examples=60, deadline=None)


def of_pairs(pairs: list[tuple[int, int]]) -> Transitions:
    """Return the moves of images that were predicted one class, and then another one."""
    table = np.array([pair for pair in pairs if pair[0] != pair[1]], dtype=np.int64).reshape(-1, 2)
    return Transitions(np.arange(len(table)), table[:, 0], table[:, 1])


def pairs(most: int, classes: int = 4) -> st.SearchStrategy[list[tuple[int, int]]]:
    number = st.integers(0, classes - 1)
    return st.lists(st.tuples(number, number), max_size=most)


def all_splits(moves: Transitions, classes: int) -> float:
    """Return the mean over all splits: classes by the sign of their gain in one half, their gain in the other one."""
    count = len(moves.images)
    total = 0.0
    for first in product((False, True), repeat=count):
        half = np.array(first, dtype=bool)
        gained = [
            np.bincount(moves.after[part], minlength=classes) - np.bincount(moves.before[part], minlength=classes)
            for part in (half, ~half)
        ]
        # Both roles of the halves, so that each image is judged once.
        total += float(np.sign(gained[0]) @ gained[1] + np.sign(gained[1]) @ gained[0]) / 2
    return float(total / 2**count)


@quick
@given(pairs(9))
def test_the_held_out_distance_is_the_mean_over_all_splits(found: list[tuple[int, int]]) -> None:
    moves = of_pairs(found)
    assert held_out_distance(moves, 4).total == pytest.approx(all_splits(moves, 4), abs=1e-12)


@quick
@given(pairs(60, 6))
def test_the_held_out_distance_is_no_larger_than_the_observed_one(found: list[tuple[int, int]]) -> None:
    moves = of_pairs(found)
    assert held_out_distance(moves, 6).total <= distance(moves, 6).total + 1e-9
    assert corrected_distance(moves, 6) <= distance(moves, 6).total + 1e-9


@quick
@given(pairs(40, 5).filter(lambda found: any(a != b for a, b in found)))
def test_parts_are_what_an_image_less_changes(found: list[tuple[int, int]]) -> None:
    moves = of_pairs(found)
    whole = held_out_distance(moves, 5)
    for place in range(len(moves.images)):
        less = Transitions(*(np.delete(part, place) for part in moves))
        assert whole.parts[place] == pytest.approx(whole.total - held_out_distance(less, 5).total, abs=1e-9)


@quick
@given(pairs(60), pairs(60), st.integers(0, 200), st.sampled_from([0.8, 0.95, 0.9999]))
def test_intervals_contain_their_value_and_stay_in_range(
    found: list[tuple[int, int]], others: list[tuple[int, int]], resting: int, confidence: float
) -> None:
    moves, control = of_pairs(found), of_pairs(others)
    n = max(1, len(moves.images), len(control.images)) + resting
    one = skew_estimate(moves, n, confidence)
    assert 0 <= one.low <= one <= one.high <= 1
    assert 0 <= corrected_skew_estimate(moves, n) <= one + 1e-12
    excess = skew_excess_estimate(moves, control, n, confidence)
    opposite = skew_excess_estimate(control, moves, n, confidence)
    assert -1 <= excess.low <= excess <= excess.high <= 1
    assert (opposite.low, opposite.high) == pytest.approx((-excess.high, -excess.low), abs=1e-9)


@quick
@given(pairs(60), st.integers(0, 200))
def test_one_more_image_to_the_class_that_gains_most_lowers_no_end(found: list[tuple[int, int]], resting: int) -> None:
    moves = of_pairs(found)
    n = len(moves.images) + resting + 2
    gained = np.bincount(moves.after, minlength=5) - np.bincount(moves.before, minlength=5)
    # Class 4 only loses.
    more = of_pairs([*zip(moves.before.tolist(), moves.after.tolist(), strict=True), (4, int(gained.argmax()))])
    before, now = skew_estimate(moves, n), skew_estimate(more, n)
    assert now.low >= before.low - 1e-9
    assert now.high >= before.high - 1e-9


def drawn(
    generator: np.random.Generator, n: int, classes: int, asr: float, drawn_in: float
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Draw predictions: a share of `asr` is lost, of which class 0 gains `drawn_in`, and chance the others."""
    clean, anywhere = generator.integers(0, classes, (2, n))
    to = np.where(generator.random(n) < drawn_in, 0, anywhere)
    return clean, np.where(generator.random(n) < asr, to, clean)


# Of so many simulated datasets, a coverage of .94 falls below .905 in one of a thousand simulations.
DATA_SETS, LEAST = 500, 0.905


@pytest.mark.parametrize("drawn_in", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("asr", [0.02, 0.2])
@pytest.mark.parametrize(("n", "classes"), [(250, 2), (1000, 2), (1000, 10), (5000, 3), (1000, 100), (5000, 1000)])
def test_intervals_contain_the_truth(n: int, classes: int, asr: float, drawn_in: float) -> None:
    generator = np.random.default_rng(n + classes)
    truth = asr * drawn_in * (1 - 1 / classes)
    found = [
        skew_estimate(Transitions.between(*drawn(generator, n, classes, asr, drawn_in)), n) for _ in range(DATA_SETS)
    ]
    assert np.mean([one.low <= truth + 1e-12 and truth - 1e-12 <= one.high for one in found]) >= LEAST


@pytest.mark.parametrize(
    ("n", "classes", "model", "control"),
    [
        (1000, 10, (0.2, 0.5), (0.1, 0.5)),
        (1000, 100, (0.1, 0.5), (0.1, 0.5)),
        # Chance adds more to the control's skew, which has none.
        (1000, 10, (0.1, 0.5), (0.05, 0.0)),
        (5000, 1000, (0.1, 0.5), (0.05, 0.0)),
    ],
)
def test_intervals_of_an_excess_contain_the_truth(
    n: int, classes: int, model: tuple[float, float], control: tuple[float, float]
) -> None:
    generator = np.random.default_rng(n + classes)
    truth = (model[0] * model[1] - control[0] * control[1]) * (1 - 1 / classes)
    found = []
    for _ in range(300):
        of_model, of_control = (
            Transitions.between(*drawn(generator, n, classes, *given)) for given in (model, control)
        )
        found.append(skew_excess_estimate(of_model, of_control, n))
    assert np.mean([one.low <= truth <= one.high for one in found]) >= 0.9


@pytest.mark.parametrize(
    ("classes", "n", "rate", "part", "most"),
    [
        (1000, 5000, 0.2, 0.5, 0.012),
        (1000, 5000, 0.2, 0.0, 0.035),
        (1000, 50_000, 0.2, 0.5, 0.004),
        (100, 1000, 0.2, 1.0, 0.012),
        (10, 1000, 0.2, 0.5, 0.012),
    ],
)
def test_what_chance_adds_is_taken_from_the_corrected_skew(
    classes: int, n: int, rate: float, part: float, most: float
) -> None:
    generator = np.random.default_rng(0)
    found = [Transitions.between(*drawn(generator, n, classes, rate, part)) for _ in range(20)]
    truth = rate * part * (1 - 1 / classes)
    corrected = np.mean([corrected_skew_estimate(moves, n) for moves in found])
    observed = np.mean([distance(moves, classes_of([moves])).total / n for moves in found])
    assert abs(corrected - truth) < most
    if observed - truth > 0.02:
        assert abs(corrected - truth) < 0.3 * (observed - truth)


def test_sizes_are_those_of_the_most_probable_distribution() -> None:
    # Against the same likelihood, maximized by a general optimizer over the weights of the same atoms.
    generator = np.random.default_rng(0)
    scores = np.round(np.concatenate([generator.standard_normal(60), 3 + generator.standard_normal(40)]) / 0.05) * 0.05
    half = np.arange(0, np.abs(scores).max() + 0.25, 0.25)
    atoms = np.concatenate([-half[:0:-1], half])
    likelihood = np.exp(-((scores[:, None] - atoms) ** 2) / 2)

    def loss(logits: npt.NDArray[np.float64]) -> float:
        return -float(np.log(likelihood @ special.softmax(logits)).sum())

    best = special.softmax(optimize.minimize(loss, np.zeros(len(atoms)), method="L-BFGS-B").x)
    sizes = (likelihood * best) @ np.abs(atoms) / (likelihood @ best)
    # The maximization ends after a fixed number of steps, a little before the maximum.
    assert mean_sizes(scores, np.ones(100)).mean() == pytest.approx(sizes.mean(), rel=0.04)


@quick
@given(st.lists(st.tuples(st.integers(-30, 30), st.integers(1, 40)), min_size=1, max_size=30))
def test_sizes_do_not_depend_on_signs_and_order(found: list[tuple[int, int]]) -> None:
    differences, variances = np.array(found).T
    sizes = mean_sizes(differences, variances)
    assert (sizes >= 0).all()
    assert mean_sizes(-differences, variances) == pytest.approx(sizes, abs=1e-9)
    assert mean_sizes(differences[::-1], variances[::-1]) == pytest.approx(sizes[::-1], abs=1e-9)
