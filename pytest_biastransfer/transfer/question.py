"""What an experiment asks of each model: one figure of its bias, and how well it performs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from pytest_biastransfer.data import as_images
from pytest_biastransfer.data.label_table import UNKNOWN
from pytest_biastransfer.errors import BiasTransferError, nearest
from pytest_biastransfer.interventions import as_intervention
from pytest_biastransfer.judgement.expectation import require_classes, require_target
from pytest_biastransfer.judgement.gap import Gap, require_calibration
from pytest_biastransfer.measurement.decisions import POSITIVE, decision_of
from pytest_biastransfer.measurement.judged_images import judged_images
from pytest_biastransfer.measurement.measure import measure_loaded
from pytest_biastransfer.metrics.catalogue import limitable, metric_named
from pytest_biastransfer.metrics.gap_metrics import GROUP_METRICS
from pytest_biastransfer.metrics.metric import ClassMetric, GapOfGroups
from pytest_biastransfer.metrics.statistics.auc import area_estimates, areas
from pytest_biastransfer.metrics.statistics.average_precision import average_precision, average_precision_estimate
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.metrics.statistics.intervals import proportion
from pytest_biastransfer.names import Bound

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.measurement.inputs import Target
    from pytest_biastransfer.models import Model

# How well a model performs, besides its accuracy: how well the scores of one decision rank the images.
Performance = Literal["auc", "average_precision"]

ACCURACY = "accuracy"


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
        The decision that is judged; see `pytest_biastransfer.measure`. That of a gap is the gap's.
    performance
        What is shown beside the accuracy; None for nothing.
    calibration
        The images that the threshold of a gap at prevalence is found on; None for the measured ones.
    """

    images: LabelledImages
    subject: Intervention | Gap
    metric: str
    target: tuple[int | str, ...]
    positive: tuple[int | str, ...] = ()
    performance: Performance | None = None
    calibration: LabelledImages | None = None

    @classmethod
    def of(
        cls,
        images: LabelledImages,
        subject: Any,
        *,
        metric: str | None = None,
        target: Target | None = None,
        positive: Target | None = None,
        performance: Performance | None = None,
        calibration: LabelledImages | None = None,
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
        decision = subject.positive if is_gap else decision
        _require_performance(performance, decision)
        asked = subject if is_gap else as_intervention(subject, "intervention")
        if calibration is not None:
            _require_calibrated(asked)
        return cls(images, asked, metric, targets, decision, performance, calibration)

    @property
    def bound(self) -> Bound:
        """What a limit of the figure is: of its value, from above or below, or of its size."""
        if not isinstance(self.subject, Gap):
            return "at most" if metric_named(self.metric).more_is_worse else "at least"
        if self.metric == "gap":
            return "at most" if self.subject.between is None else "size at most"
        is_highest_worst = self.metric == "worst" and GROUP_METRICS[self.subject.metric].worst == "highest"
        return "at most" if is_highest_worst else "at least"

    @property
    def least(self) -> float:
        """The lowest value that the figure can have."""
        limits = metric_named(self.metric).limits
        assert limits is not None
        return -1.0 if self.bound == "size at most" else limits[0]

    def figure(self, evaluator: Evaluator, model: Model, confidence: float = 0.95) -> Estimate:
        """Return the figure of a model, with its interval about the images."""
        if isinstance(self.subject, Gap):
            from pytest_biastransfer.measurement.measure_gaps import measure_gaps_loaded

            return measure_gaps_loaded(
                evaluator, model, self.images, self.subject, calibration=self.calibration, confidence=confidence
            ).estimate(self.metric)
        return measure_loaded(
            evaluator,
            model,
            self.images,
            self.subject,
            positive=self.positive,
            target=self.target,
            confidence=confidence,
        ).estimate(self.metric)

    def performances(self, evaluator: Evaluator, model: Model, confidence: float = 0.95) -> Mapping[str, Estimate]:
        """Return how well a model performs, by the name of the measure: its accuracy, and `performance`."""
        found = {ACCURACY: self._accuracy(evaluator, model, confidence)}
        if self.performance is not None:
            found[self.performance] = self._ranking(evaluator, model, confidence)
        return found

    def _accuracy(self, evaluator: Evaluator, model: Model, confidence: float) -> Estimate:
        """Return the share of correctly classified images, or of correct decisions where a decision is judged.

        Images whose label is unknown do not count. NaN if the classes of model and images do not match.
        """
        predictions = evaluator.predictions(model, self.images)
        decision = decision_of(model, self.images, self._decided(model), predictions.outputs)
        if decision.labels is None:
            return proportion(0, 0, confidence)
        labels = decision.labels[predictions.indices]
        is_labelled = labels != UNKNOWN
        is_correct = decision.classes(predictions, predictions) == labels
        return proportion(int(is_correct[is_labelled].sum()), int(is_labelled.sum()), confidence)

    def _decided(self, model: Model) -> tuple[int | str, ...]:
        """Return the decision whose accuracy is shown."""
        # Beside a gap of one class of a softmax, the accuracy is that of all classes.
        is_of_all = isinstance(self.subject, Gap) and model.outputs == "softmax" and self.images.label_table is None
        return () if is_of_all else self.positive

    def _ranking(self, evaluator: Evaluator, model: Model, confidence: float) -> Estimate:
        """Return how well the scores of the decision rank the images whose label is known."""
        (key,) = evaluator.keys(model, self.images, [None])
        judged = judged_images(evaluator, model, key, self.images, self.positive, with_scores=True)
        assert judged.scores is not None
        scores, positive = judged.scores[judged.is_labelled], judged.labels[judged.is_labelled] == POSITIVE
        if self.performance == "average_precision":
            value = average_precision(scores[positive], scores[~positive])
            return average_precision_estimate(value, int(positive.sum()), len(scores), confidence)
        one_group = np.zeros(len(scores), dtype=np.int64)
        (area,) = area_estimates(areas([scores], positive, one_group, 1), confidence)
        return area

    def __str__(self) -> str:
        if isinstance(self.subject, Gap):
            declaration = self.subject.declaration(None if self.calibration is None else self.calibration.name)
            return declaration if self.metric == "gap" else f"{self.metric} of {declaration}"
        decision = f", {' or '.join(map(str, self.positive))} or not" if self.positive else ""
        return f"{self.metric} of {self.subject}{decision}"


def _require_calibrated(asked: Intervention | Gap) -> None:
    """Raise `BiasTransferError` for a figure whose threshold no calibration dataset can give."""
    if not isinstance(asked, Gap):
        raise BiasTransferError(
            f"calibration_dataset= is for gaps at operating_point='prevalence', and {asked} is an intervention"
        )
    require_calibration(asked)


def question_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of an experiment that are about its question, and the others."""
    names = ("metric", "target", "positive", "performance", "calibration_dataset")
    own = {name: value for name, value in options.items() if name in names}
    return own, {name: value for name, value in options.items() if name not in own}


def question_of(evaluation: Any, asked: Any, *, calibration_dataset: Any = None, **options: Any) -> Question:
    """Return the question of arguments of which the datasets may be of any accepted kind."""
    calibration = None if calibration_dataset is None else as_images(calibration_dataset, "calibration_dataset")
    return Question.of(as_images(evaluation, "evaluation"), asked, calibration=calibration, **options)


def _require_performance(performance: object, decision: Sequence[int | str]) -> None:
    """Raise `BiasTransferError` for a measure of performance that is none, or that ranks nothing."""
    if performance is None:
        return
    if performance not in get_args(Performance):
        raise BiasTransferError(f"performance={performance!r:.60}; {nearest(str(performance), get_args(Performance))}")
    if not decision:
        raise BiasTransferError(
            f"performance={performance!r} ranks the images by the score of one decision; name it: positive="
        )
