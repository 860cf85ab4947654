"""The states that images may have by rounding alone, from the classes that they are nearly tied between."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from pytest_biastransfer.baseline.near_ties import State
from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.evaluation.rounding_noise import OutputRanges, output_ranges
from pytest_biastransfer.measurement.decisions import POSITIVE, Decision, decision_of, target_classes
from pytest_biastransfer.metrics.gap_metrics import GROUP_METRICS
from pytest_biastransfer.metrics.image_outcomes import outcomes_of
from pytest_biastransfer.metrics.paired_predictions import MetricInputs, PairedPredictions
from pytest_biastransfer.metrics.statistics.transitions import Transitions
from pytest_biastransfer.models.thresholds import PREVALENCE

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.baseline.computation import Computation
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.judgement.gap import Gap
    from pytest_biastransfer.models import Model

    # For each image, the classes that it may have.
    Choices = Sequence[Sequence[int]]

# Of an image that is tied between more classes, as by a model that says the same of all, these are enough.
_MOST_CLASSES: Final = 8


class NearlyTied(NamedTuple):
    """Some images, and what the states are compared with.

    Attributes
    ----------
    images
        The dataset.
    indices
        Which of its images.
    earlier
        What computed the states that these are compared with; None if that is not known.
    """

    images: LabelledImages
    indices: Sequence[int]
    earlier: Computation | None


def possible_states(
    evaluator: Evaluator,
    models: Sequence[Model],
    intervention: Intervention,
    tied: NearlyTied,
    positive: Sequence[int | str] = (),
    target: Sequence[int | str] = (),
) -> list[set[State]]:
    """Return all states that each of some images may have by rounding alone; its models are evaluated for that.

    Parameters
    ----------
    models
        The model, and its control if there is one.
    intervention, positive, target
        As of `measurement_from_predictions`.
    """
    decisions, choices = [], []
    for model in models:
        for change in (None, intervention):
            ranges = output_ranges(evaluator, model, tied.images, change, tied.indices, tied.earlier)
            decision = decision_of(model, tied.images, positive, ranges.outputs.shape[1])
            choices.append(possible_classes(evaluator, model, tied.images, decision, ranges))
        decisions.append(decision)
    # One row for each combination of the classes of an image.
    rows = [
        (place, combination)
        for place, own in enumerate(zip(*choices, strict=True))
        for combination in itertools.product(*own)
    ]
    classes = np.array([combination for _, combination in rows], dtype=np.int64).reshape(len(rows), len(choices))
    decision = decisions[0]
    labels = None
    if decision.labels is not None:
        labels = decision.labels[np.array([tied.indices[place] for place, _ in rows], dtype=np.int64)]
    inputs = MetricInputs(
        PairedPredictions(classes[:, 0], classes[:, 1], labels),
        PairedPredictions(classes[:, 2], classes[:, 3], None) if len(models) > 1 else None,
        [POSITIVE] if decision.is_binary else target_classes(target, decision.names),
    )
    states: list[set[State]] = [set() for _ in tied.indices]
    for (place, _), state in zip(rows, _states(inputs), strict=True):
        states[place].add(state)
    return states


def possible_gap_states(evaluator: Evaluator, model: Model, gap: Gap, tied: NearlyTied) -> list[set[State]]:
    """Return all states that images may have in a gap of a rate: whether they are misclassified, and count for it.

    Raises `BiasTransferError` for a threshold at prevalence, which depends on the outputs of all images.
    """
    if gap.operating_point == "prevalence":
        raise BiasTransferError(f"{gap}: the threshold depends on the outputs of all images")
    ranges = output_ranges(evaluator, model, tied.images, None, tied.indices, tied.earlier)
    decision = decision_of(model, tied.images, gap.positive, ranges.outputs.shape[1])
    performing = decision
    if model.outputs == "softmax":
        performing = decision_of(model, tied.images, (), ranges.outputs.shape[1])
    counts = GROUP_METRICS[gap.metric].counts
    states: list[set[State]] = []
    for index, own in zip(
        tied.indices, possible_classes(evaluator, model, tied.images, performing, ranges), strict=True
    ):
        states.append(set())
        for number in own:
            decided = int(number in decision.positive) if decision.positive else number
            label = None if decision.labels is None else int(decision.labels[index])
            is_wrong = decided != label if performing.labels is None else number != performing.labels[index]
            is_hit = decided == (label if counts == "classified correctly" else POSITIVE)
            names = [name for name, holds in (("misclassified", is_wrong), ("hits", is_hit)) if holds]
            states[-1].add(frozenset(names))
    return states


def possible_classes(
    evaluator: Evaluator, model: Model, images: LabelledImages, decision: Decision, ranges: OutputRanges
) -> Choices:
    """Return the classes that a decision may give each image, if its outputs are in these ranges."""
    outputs, allowed = ranges
    if decision.output is None:
        return [list(_decided(decision, *pair)) for pair in zip(outputs, allowed, strict=True)]
    at_prevalence = decision.threshold == PREVALENCE
    cut = decision.cut(evaluator.predictions(model, images))
    # A cut at prevalence is another image's output, and as uncertain.
    either_way = allowed[:, decision.output] * (2 if at_prevalence else 1)
    score = outputs[:, decision.output]
    lowest, highest = score - either_way > cut, score + either_way > cut
    return [sorted({int(low), int(high)}) for low, high in zip(lowest, highest, strict=True)]


def _decided(decision: Decision, outputs: npt.NDArray[np.float64], allowed: npt.NDArray[np.float64]) -> set[int]:
    """Return the classes of one image that no other one exceeds for sure."""
    order = np.argsort(-outputs, kind="stable")[:_MOST_CLASSES]
    near = order[(outputs + allowed)[order] >= (outputs - allowed).max()]
    return {int(number in decision.positive) if decision.positive else int(number) for number in near.tolist()}


def _states(inputs: MetricInputs) -> Iterator[State]:
    """Yield the state of each row of predictions."""
    outcomes = outcomes_of(inputs, np.arange(len(inputs.clean)))
    states: list[set[str | tuple[str, int]]] = [set() for _ in inputs.clean]
    for name, rows in outcomes.image_sets.items():
        for row in rows.tolist():
            states[row].add(name)
    for prefix, transitions in (("", outcomes.flips), ("control_", outcomes.control_flips)):
        for row, before, after in _moves(transitions):
            states[row] |= {f"{prefix}flipped", (f"{prefix}from", before), (f"{prefix}to", after)}
    return map(frozenset, states)


def _moves(transitions: Transitions | None) -> Iterator[tuple[int, int, int]]:
    if transitions is not None:
        yield from zip(*(part.tolist() for part in transitions), strict=True)
