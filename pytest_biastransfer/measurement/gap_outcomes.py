"""What a gap needs of one model's predictions: which images are positive, predicted positive, and with which score."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.data.label_table import UNKNOWN
from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.evaluation.predictions import Predictions
from pytest_biastransfer.measurement.decisions import POSITIVE, Decision, decision_of
from pytest_biastransfer.measurement.from_predictions import clean_performance_of
from pytest_biastransfer.metrics.catalogue import GROUP_METRICS
from pytest_biastransfer.metrics.group_gaps import prevalence_cut

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.evaluation.keys import PredictionKey
    from pytest_biastransfer.judgement.gap import Gap
    from pytest_biastransfer.metrics.clean_performance import CleanPerformance
    from pytest_biastransfer.models import Model

    Marked = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class GapOutcomes:
    """What a gap needs of one model's predictions, on the images whose label is known.

    Attributes
    ----------
    indices
        The images' indices in the dataset, ascending.
    positive, predicted_positive, right
        Which images have a positive label, are predicted positive, and are classified correctly.
    scores
        Higher ones for positives: log-odds, or what the model's output is; None if the gap needs no scores.
    probabilities
        The same as probabilities, float64; None if the gap needs none.
    clean
        The model's performance on the images.
    misclassified
        Which images are classified wrongly.
    computed
        How many images were run through the model.
    calibration_images
        On how many other images the threshold was found.
    """

    indices: npt.NDArray[np.int64]
    positive: Marked
    predicted_positive: Marked
    right: Marked
    scores: npt.NDArray[np.float32] | None
    probabilities: npt.NDArray[np.float64] | None
    clean: CleanPerformance
    misclassified: Marked
    computed: int
    calibration_images: int = 0

    def only(self, chosen: Marked) -> GapOutcomes:
        """Return the outcomes of some images."""
        if chosen.all():
            return self
        names = ("indices", "positive", "predicted_positive", "right", "scores", "probabilities", "misclassified")
        columns: dict[str, Any] = {name: getattr(self, name) for name in names}
        chosen_of: dict[str, Any] = {
            name: None if column is None else column[chosen] for name, column in columns.items()
        }
        return dataclasses.replace(self, **chosen_of)


@dataclass(frozen=True)
class _Judged:
    """A model's predictions of images, the decision that is judged, and its scores if the gap needs them."""

    decision: Decision
    predictions: Predictions
    labels: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32] | None

    @property
    def known(self) -> Marked:
        known: Marked = self.labels != UNKNOWN
        return known

    def prevalence_cut(self) -> float:
        """Return the number that as many scores are above as there are positives, of the images of known label."""
        assert self.scores is not None
        return prevalence_cut(self.scores[self.known], self.positives)

    @property
    def positives(self) -> int:
        return int(np.count_nonzero(self.labels == POSITIVE))


def outcomes_of(
    evaluator: Evaluator,
    model: Model,
    key: PredictionKey,
    images: LabelledImages,
    gap: Gap,
    calibration: tuple[PredictionKey, LabelledImages] | None,
) -> GapOutcomes:
    """Return what a gap needs of a model's predictions.

    A threshold at prevalence is found on the images of `calibration`, or else on the measured ones.
    """
    judged = _judged(evaluator, model, key, images, gap)
    decision, predictions, known = judged.decision, judged.predictions, judged.known
    labels, predicted = judged.labels[known], decision.classes(predictions, predictions)[known]
    # Of a softmax, how well the model does is a matter of all classes.
    from_classes = model.outputs == "softmax"
    performing = decision_of(model, images, (), predictions.outputs) if from_classes else decision
    nothing = np.zeros(len(labels), dtype=np.bool_)
    scores = None if judged.scores is None else judged.scores[known]
    outcomes = GapOutcomes(
        indices=predictions.indices[known],
        positive=labels == POSITIVE if decision.is_binary else nothing,
        predicted_positive=predicted == POSITIVE if decision.is_binary else nothing,
        right=predicted == labels,
        scores=scores,
        probabilities=_probabilities(model, scores) if GROUP_METRICS[gap.metric].needs_probabilities else None,
        clean=clean_performance_of(model, images, predictions, performing),
        misclassified=_misclassified(performing, predictions)[known]
        if performing.labels is not None
        else predicted != labels,
        computed=predictions.computed,
    )
    if gap.operating_point == "argmax":
        return outcomes
    return _at_prevalence(evaluator, model, gap, judged, outcomes, calibration)


def _at_prevalence(
    evaluator: Evaluator,
    model: Model,
    gap: Gap,
    judged: _Judged,
    outcomes: GapOutcomes,
    calibration: tuple[PredictionKey, LabelledImages] | None,
) -> GapOutcomes:
    """Return the outcomes at the threshold at which as many images are predicted positive as there are positives."""
    computed, calibration_images = outcomes.computed, 0
    if calibration is not None:
        key, images = calibration
        judged = _judged(evaluator, model, key, images, gap)
        computed, calibration_images = computed + judged.predictions.computed, len(judged.predictions.indices)
        if not judged.positives:
            raise BiasTransferError(
                f"calibration_dataset: none of the {int(np.count_nonzero(judged.known)):,} images of {images.name} "
                f"with a known label is positive, so no threshold predicts as many positives as there are; choose a "
                f"dataset that has some"
            )
    assert outcomes.scores is not None
    chosen = outcomes.scores > judged.prevalence_cut()
    return dataclasses.replace(
        outcomes,
        predicted_positive=chosen,
        right=chosen == outcomes.positive,
        computed=computed,
        calibration_images=calibration_images,
    )


def _judged(evaluator: Evaluator, model: Model, key: PredictionKey, images: LabelledImages, gap: Gap) -> _Judged:
    from_classes = model.outputs == "softmax"
    with contextlib.ExitStack() as stack:
        collector = evaluator.collector(model, images, None, key, stack)
        # For scores, the first chunk's classes are enough: they tell the number of classes.
        look = 0 if gap.needs_scores and from_classes else -1
        predictions, total = collector.collect(collector.looks[look]).in_order(), collector.looks[-1]
    decision = decision_of(model, images, gap.positive, predictions.outputs)
    if decision.labels is None:
        raise BiasTransferError(f"gaps of {model.name} on {images.name} need labels: {decision.reason}")
    scores = None
    if gap.needs_scores and from_classes:
        from pytest_biastransfer.measurement.positive_scores import positive_scores

        scored = positive_scores(evaluator, model, images, decision.positive, total)
        scores, computed = scored.log_odds, predictions.computed + scored.computed
        predictions = Predictions(scored.classes, scored.indices, predictions.outputs, computed)
    elif gap.needs_scores:
        scores = decision.scores(predictions)
    return _Judged(decision, predictions, decision.labels[predictions.indices], scores)


def _probabilities(model: Model, scores: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float64]:
    from scipy.special import expit

    assert scores is not None
    exact = scores.astype(np.float64)
    return exact if model.outputs == "probabilities" else expit(exact)


def _misclassified(decision: Decision, predictions: Predictions) -> Marked:
    assert decision.labels is not None
    wrong: Marked = decision.classes(predictions, predictions) != decision.labels[predictions.indices]
    return wrong
