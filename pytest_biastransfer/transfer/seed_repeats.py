"""One way of finetuning, repeated with several seeds: what the models' figure is, and how sure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.data.label_mapping import labels_for
from pytest_biastransfer.errors import BiasTransferError, TransferError, nearest
from pytest_biastransfer.interventions import as_intervention
from pytest_biastransfer.judgement.expectation import GAP_LIMITS, INTERVENTION_LIMITS, LIMITS, require_target
from pytest_biastransfer.judgement.gap import Gap
from pytest_biastransfer.measurement.measure import measure_loaded
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.metrics.statistics.seed_intervals import mean_over_seeds
from pytest_biastransfer.transfer.recipe import Mode, Recipe
from pytest_biastransfer.transfer.transfer_model import transfer_loaded

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.measurement.measure import Target
    from pytest_biastransfer.models import Model


@dataclass(frozen=True)
class Question:
    """A figure of a model on images.

    Attributes
    ----------
    images
        What it is measured on.
    asked
        The intervention, or the gap between groups.
    metric
        Which of the figures.
    target
        The target classes, for the metrics that need them.
    """

    images: LabelledImages
    asked: Intervention | Gap
    metric: str
    target: tuple[int | str, ...]

    @classmethod
    def of(cls, images: LabelledImages, asked: Any, metric: str | None, target: Target | None) -> Question:
        """Return the question that a caller asks; raises `BiasTransferError` for one that has no answer."""
        is_gap = isinstance(asked, Gap)
        valid = [name for name in (GAP_LIMITS if is_gap else INTERVENTION_LIMITS) if not name.endswith("_excess")]
        metric = metric or valid[0]
        if metric not in valid:
            raise BiasTransferError(f"metric={metric!r}; {nearest(str(metric), valid)}")
        found = cls(images, asked if is_gap else as_intervention(asked, "intervention"), metric, require_target(target))
        if metric == "targeted_asr" and not found.target:
            raise BiasTransferError("metric='targeted_asr' needs target=, a class or several, by name or number")
        return found

    def figure(self, evaluator: Evaluator, model: Model) -> float:
        """Return the figure of a model."""
        if isinstance(self.asked, Gap):
            from pytest_biastransfer.measurement.measure_gaps import measure_gaps_loaded

            return float(measure_gaps_loaded(evaluator, model, self.images, self.asked).gap)
        found = measure_loaded(evaluator, model, self.images, self.asked, target=self.target)
        return float(found.estimate(self.metric))

    def accuracy(self, evaluator: Evaluator, model: Model) -> float:
        """Return the share of the images that a model classifies rightly; NaN if that cannot be told."""
        found = evaluator.predictions(model, self.images)
        labels = labels_for(self.images, model.classes, found.outputs, model.class_order)
        return math.nan if labels is None else float((labels[found.indices] == found.classes).mean())

    def __str__(self) -> str:
        return str(self.asked) if isinstance(self.asked, Gap) else f"{self.metric} of {self.asked}"


@dataclass(frozen=True)
class Repeated:
    """The figures of models that differ by the seed of their training.

    Attributes
    ----------
    values, accuracies
        One of each seed.
    figure, accuracy
        Their means, with intervals over the seeds.
    """

    values: tuple[float, ...]
    accuracies: tuple[float, ...]
    figure: Estimate
    accuracy: Estimate

    def to_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
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
    """Transfer once with each seed, and ask the question of each model."""
    values, accuracies = [], []
    for seed in seeds:
        model = transfer_loaded(evaluator, source, finetuning, mode, recipe=recipe.with_seed(seed))
        values.append(question.figure(evaluator, model))
        accuracies.append(question.accuracy(evaluator, model))
    figure = mean_over_seeds(values, confidence, least=LIMITS[question.metric][0])
    accuracy = mean_over_seeds(accuracies, confidence)
    return Repeated(tuple(values), tuple(accuracies), figure, accuracy)


def require_seeds(seeds: object) -> tuple[int, ...]:
    """Return the seeds that a number of them stands for, or those that are listed; at least two."""
    found = tuple(range(seeds)) if type(seeds) is int else seeds
    if not isinstance(found, Sequence) or isinstance(found, str) or not all(type(one) is int for one in found):
        raise TransferError(f"seeds={seeds!r:.60}, expected how many, or a list of whole numbers")
    if len(set(found)) < 2:
        raise TransferError(f"seeds={seeds!r:.60}: at least two are needed to tell how much chance does in training")
    return tuple(found)


def _plain(estimate: Estimate) -> dict[str, float | None]:
    numbers = {"value": float(estimate), "low": estimate.low, "high": estimate.high}
    return {name: None if math.isnan(number) else number for name, number in numbers.items()}
