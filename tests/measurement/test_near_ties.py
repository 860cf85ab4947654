"""The states that images may have by rounding alone, beside what their outputs can become."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pytest_biastransfer import Custom, Model, Preprocess, measure
from pytest_biastransfer.baseline.computation import Computation
from pytest_biastransfer.data import as_images
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.evaluation.rounding_noise import OutputRanges
from pytest_biastransfer.measurement.decisions import Decision
from pytest_biastransfer.measurement.near_ties import NearlyTied, possible_classes, possible_states
from pytest_biastransfer.models.thresholds import log_odds

rows = hnp.arrays(np.float64, (3, 5), elements=st.integers(-8, 8).map(float))
widths = hnp.arrays(np.float64, (3, 5), elements=st.integers(0, 6).map(float))


class Lookup(torch.nn.Module):
    """Says of each image what is in a table: for its code, without red and with it."""

    def __init__(self, clean: Any, reddened: Any) -> None:
        super().__init__()
        self.tables = torch.nn.Parameter(torch.tensor([clean, reddened], dtype=torch.float32))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        code = (images[:, 2].amax(dim=(1, 2)) * 255).round().long()
        return self.tables[(images[:, 0].amin(dim=(1, 2)) > 0.5).long(), code]


def lookup(clean: Any, reddened: Any, **model: Any) -> Model:
    return Model(Lookup(clean, reddened), preprocess=Preprocess(mean=0, std=1), **model)


def coded(labels: list[Any]) -> Any:
    codes = [torch.tensor([0.0, 0.0, code / 255]) for code in range(len(labels))]
    images = [code.reshape(3, 1, 1).expand(3, 4, 4) for code in codes]
    return as_images(list(zip(images, labels, strict=True)), "coded")


REDDENED = Custom(lambda images: torch.cat([torch.ones_like(images[:, :1]), images[:, 1:]], dim=1), name="reddened")
L4 = Computation("cuda NVIDIA L4", "float32")


@given(rows, widths)
def test_a_class_is_possible_if_its_output_can_become_the_largest(outputs: Any, allowed: Any) -> None:
    decision = Decision(tuple("abcde"), None)
    model, images = lookup([[0, 0]], [[0, 0]]), coded([0])
    found = possible_classes(Evaluator("cpu"), model, images, decision, OutputRanges(outputs, allowed))
    for place, own in enumerate(found):
        # Whatever is best for a class: its own output as high as it can be, and all others as low.
        best = [
            np.where(np.arange(5) == number, outputs[place] + allowed[place], outputs[place] - allowed[place])
            for number in range(5)
        ]
        assert set(own) == {number for number, row in enumerate(best) if row[number] >= row.max()}


@given(rows, widths, st.sets(st.integers(0, 4), min_size=1, max_size=4))
def test_a_decision_is_possible_if_one_of_its_classes_is(outputs: Any, allowed: Any, positive: set[int]) -> None:
    ranges = OutputRanges(outputs, allowed)
    model, images = lookup([[0, 0]], [[0, 0]]), coded([0])
    classes = possible_classes(Evaluator("cpu"), model, images, Decision(tuple("abcde"), None), ranges)
    decision = Decision(("no", "yes"), None, positive=tuple(positive))
    decided = possible_classes(Evaluator("cpu"), model, images, decision, ranges)
    assert [set(own) for own in decided] == [{int(number in positive) for number in own} for own in classes]


@pytest.mark.parametrize(("score", "possible"), [(1.2, {1}), (0.95, {0, 1}), (0.75, {0, 1}), (0.5, {0})])
def test_an_output_is_nearly_tied_with_its_threshold(score: float, possible: set[int]) -> None:
    decision = Decision(("no", "yes"), None, output=1, threshold=0.7)
    ranges = OutputRanges(np.array([[9.0, score]]), np.array([[0.0, 0.2]]))
    assert log_odds(0.7) == pytest.approx(0.847, abs=0.001)
    model = lookup([[0, 0]], [[0, 0]], outputs="sigmoid", threshold=0.7)
    [own] = possible_classes(Evaluator("cpu"), model, coded([0]), decision, ranges)
    assert set(own) == possible


def test_a_threshold_at_prevalence_is_as_uncertain_as_the_outputs() -> None:
    """Whatever becomes of an image if all outputs move is possible: two of four images are positive."""
    scores, moves = [[0.0], [1.0], [2.0], [3.0]], 0.6
    model, images = lookup(scores, scores, outputs="sigmoid", threshold="prevalence"), coded([0, 0, 1, 1])
    decision = Decision(("no", "yes"), np.array([0, 0, 1, 1]), output=0, threshold="prevalence")
    ranges = OutputRanges(np.array(scores), np.full((4, 1), moves))
    found = possible_classes(Evaluator("cpu"), model, images, decision, ranges)
    for moved in itertools.product((-moves, 0, moves), repeat=4):
        order = np.argsort([score + by for (score,), by in zip(scores, moved, strict=True)])
        for place in range(4):
            assert int(place in order[2:]) in found[place]
    assert list(found[0]) == [0]


@pytest.mark.parametrize("with_control", [False, True])
def test_states_are_those_that_measurements_of_all_tied_outputs_have(with_control: bool) -> None:
    """Of every table that rounding may turn the model's into, the measurement gives one of the states, and each occurs."""
    tie = 1e-5
    clean = [[10, 10 - tie, 0], [10, 5, 0], [0, 10, 10 - tie]]
    reddened = [[10, 5, 0], [10 - tie, 0, 10], [0, 10, 5]]
    control = [[10, 5, 0], [10, 5, 0], [10 - tie, 10, 0]], [[10, 5, 0], [0, 10, 10 - tie], [10, 5, 0]]
    images, labels = coded([0, 1, 2]), [0, 1, 2]
    classes = ["red", "green", "blue"]
    models = [lookup(clean, reddened, classes=classes)]
    models += [lookup(*control, classes=classes)] if with_control else []
    found = possible_states(Evaluator("cpu"), models, REDDENED, NearlyTied(images, labels, L4), target=["blue"])
    expected: list[set[Any]] = [set() for _ in labels]
    tables = [clean, reddened, *(control if with_control else ())]
    for moved in itertools.product((-2 * tie, 2 * tie), repeat=len(tables)):
        # The second best class of each image becomes the best, or stays behind.
        turned = [_turned(table, by) for table, by in zip(tables, moved, strict=True)]
        measured = measure(
            lookup(*turned[:2], classes=classes),
            images,
            REDDENED,
            control=lookup(*turned[2:], classes=classes) if with_control else None,
            target="blue",
        )
        for place, state in enumerate(_states(measured)):
            expected[place].add(state)
    assert found == expected


def _turned(table: list[list[float]], by: float) -> list[list[float]]:
    made = []
    for row in table:
        second = sorted(range(3), key=row.__getitem__)[1]
        made.append([number + (by if place == second else 0) for place, number in enumerate(row)])
    return made


def _states(measured: Any) -> list[frozenset[Any]]:
    states: list[set[Any]] = [set() for _ in range(measured.n)]
    outcomes = measured.outcomes
    for name, images in outcomes.image_sets.items():
        for image in images.tolist():
            states[image].add(name)
    for prefix, flips in (("", outcomes.flips), ("control_", outcomes.control_flips)):
        for image, before, after in zip(*(part.tolist() for part in flips), strict=True) if flips is not None else ():
            states[image] |= {f"{prefix}flipped", (f"{prefix}from", before), (f"{prefix}to", after)}
    return list(map(frozenset, states))
