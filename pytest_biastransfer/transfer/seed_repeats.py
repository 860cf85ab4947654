"""Repeats one finetuning with several seeds: the mean of a figure of the models, with an interval over the seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.data.label_table import UNKNOWN
from pytest_biastransfer.errors import BiasTransferError, TransferError, nearest
from pytest_biastransfer.interventions import as_intervention
from pytest_biastransfer.judgement.expectation import require_classes, require_target
from pytest_biastransfer.judgement.gap import Gap
from pytest_biastransfer.measurement.measure import measure_loaded
from pytest_biastransfer.metrics.catalogue import limitable, metric_named
from pytest_biastransfer.metrics.metric import ClassMetric, GapOfGroups
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.metrics.statistics.seed_intervals import mean_over_seeds
from pytest_biastransfer.transfer.recipe import Mode, Recipe
from pytest_biastransfer.transfer.transfer_model import transfer_loaded

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.measurement.inputs import Target
    from pytest_biastransfer.models import Model


@dataclass(frozen=True)
class Question:
    """A figure to measure of each model.

    Attributes
    ----------
    images
        The images to measure on.
    subject
        The intervention, or the gap between groups.
    metric
        The metric of it.
    target
        The target classes, for the metrics that need them.
    positive
        Of an intervention: the decision that is judged; see `pytest_biastransfer.measure`. A gap has its own.
    """

    images: LabelledImages
    subject: Intervention | Gap
    metric: str
    target: tuple[int | str, ...]
    positive: tuple[int | str, ...] = ()

    @classmethod
    def of(
        cls,
        images: LabelledImages,
        subject: Any,
        metric: str | None,
        target: Target | None,
        positive: Target | None = None,
    ) -> Question:
        """Return the question of a caller's arguments; raises `BiasTransferError` for invalid ones."""
        is_gap = isinstance(subject, Gap)
        metrics = limitable(GapOfGroups if is_gap else ClassMetric)
        valid = [metric.name for metric in metrics if metric.excess_of is None]
        metric = metric or valid[0]
        if metric not in valid:
            raise BiasTransferError(f"metric={metric!r}; {nearest(str(metric), valid)}")
        targets = require_target(target)
        if "target" in metric_named(metric).needs and not targets:
            raise BiasTransferError(f"metric={metric!r} needs target=, a class or several, by name or number")
        decision = require_classes("positive", positive)
        if is_gap and decision:
            raise BiasTransferError(f"positive={positive!r:.60}: a gap has its own; write it in Gap(..., positive=...)")
        return cls(images, subject if is_gap else as_intervention(subject, "intervention"), metric, targets, decision)

    @property
    def is_signed_gap(self) -> bool:
        """Whether the figure is a signed gap, whose limit is on its size."""
        return isinstance(self.subject, Gap) and self.subject.between is not None and self.metric == "gap"

    @property
    def least(self) -> float:
        """The lowest value that the figure can have."""
        limits = metric_named(self.metric).limits
        assert limits is not None
        return -1.0 if self.is_signed_gap else limits[0]

    def figure(self, evaluator: Evaluator, model: Model) -> float:
        """Return the figure of a model."""
        if isinstance(self.subject, Gap):
            from pytest_biastransfer.measurement.measure_gaps import measure_gaps_loaded

            return float(measure_gaps_loaded(evaluator, model, self.images, self.subject).estimate(self.metric))
        measurement = measure_loaded(
            evaluator, model, self.images, self.subject, positive=self.positive, target=self.target
        )
        return float(measurement.estimate(self.metric))

    def accuracy(self, evaluator: Evaluator, model: Model) -> float:
        """Return the share of correctly classified images, or of correct decisions where a decision is judged.

        Images whose label is unknown do not count. NaN if the classes of model and images do not match.
        """
        from pytest_biastransfer.measurement.decisions import decision_of

        predictions = evaluator.predictions(model, self.images)
        decision = decision_of(model, self.images, self._decided(model), predictions.outputs)
        if decision.labels is None:
            return math.nan
        labels = decision.labels[predictions.indices]
        known = labels != UNKNOWN
        is_correct = decision.classes(predictions, predictions) == labels
        return float(is_correct[known].mean()) if known.any() else math.nan

    def _decided(self, model: Model) -> tuple[int | str, ...]:
        """Return the decision whose accuracy is shown."""
        if not isinstance(self.subject, Gap):
            return self.positive
        # Beside a gap of one class of a softmax, the accuracy is that of all classes.
        has_decisions = model.outputs != "softmax" or self.images.label_table is not None
        return self.subject.positive if has_decisions else ()

    def __str__(self) -> str:
        if isinstance(self.subject, Gap):
            return str(self.subject)
        decision = f", {' or '.join(map(str, self.positive))} or not" if self.positive else ""
        return f"{self.metric} of {self.subject}{decision}"


@dataclass(frozen=True)
class Repeated:
    """The figures of models that differ by the seed of their training.

    Attributes
    ----------
    values, accuracies
        One for each seed.
    figure, accuracy
        Their means, with intervals over the seeds.
    """

    values: tuple[float, ...]
    accuracies: tuple[float, ...]
    figure: Estimate
    accuracy: Estimate

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain data for JSON."""
        return {
            "values": list(self.values),
            "accuracies": [None if math.isnan(value) else value for value in self.accuracies],
            **{name: _plain(getattr(self, name)) for name in ("figure", "accuracy")},
        }


def repeat(
    evaluator: Evaluator,
    source: Model,
    finetuning: LabelledImages,
    question: Question,
    *,
    mode: Mode,
    recipe: Recipe,
    seeds: Sequence[int],
    confidence: float,
) -> Repeated:
    """Transfer once with each seed, and measure each model."""
    values, accuracies = [], []
    for seed in seeds:
        model = transfer_loaded(evaluator, source, finetuning, mode, recipe=recipe.with_seed(seed))
        values.append(question.figure(evaluator, model))
        accuracies.append(question.accuracy(evaluator, model))
    # The interval ends at the bounds of the metric, of which Student's interval knows nothing.
    figure = mean_over_seeds(values, confidence, least=question.least)
    accuracy = mean_over_seeds(accuracies, confidence)
    return Repeated(tuple(values), tuple(accuracies), figure, accuracy)


def require_seeds(seeds: object) -> tuple[int, ...]:
    """Return seeds from a number of them or from a list; raises `TransferError` for fewer than two."""
    listed = tuple(range(seeds)) if type(seeds) is int else seeds
    if not isinstance(listed, Sequence) or isinstance(listed, str) or not all(type(seed) is int for seed in listed):
        raise TransferError(f"seeds={seeds!r:.60}, expected a number of seeds, or a list of whole numbers")
    if len(set(listed)) < 2:
        raise TransferError(f"seeds={seeds!r:.60}: expected at least two, to see how much training depends on chance")
    return tuple(listed)


def _plain(estimate: Estimate) -> dict[str, float | None]:
    numbers = {"value": float(estimate), "low": estimate.low, "high": estimate.high}
    return {name: None if math.isnan(number) else number for name, number in numbers.items()}
