"""What a gap needs of one model's predictions: which images are positive, predicted positive, and with which score."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.measurement.decisions import POSITIVE, Decision, decision_of
from pytest_biastransfer.measurement.from_predictions import clean_performance_of
from pytest_biastransfer.measurement.judged_images import JudgedImages, judged_images
from pytest_biastransfer.metrics.gap_metrics import GROUP_METRICS

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.evaluation.keys import PredictionKey
    from pytest_biastransfer.evaluation.predictions import Predictions
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
    judged = judged_images(evaluator, model, key, images, gap.positive, with_scores=gap.needs_scores)
    decision, predictions, known = judged.decision, judged.predictions, judged.is_labelled
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
    judged: JudgedImages,
    outcomes: GapOutcomes,
    calibration: tuple[PredictionKey, LabelledImages] | None,
) -> GapOutcomes:
    """Return the outcomes at the threshold at which as many images are predicted positive as there are positives."""
    computed, calibration_images = outcomes.computed, 0
    if calibration is not None:
        key, images = calibration
        judged = judged_images(evaluator, model, key, images, gap.positive, with_scores=True)
        computed, calibration_images = computed + judged.predictions.computed, len(judged.predictions.indices)
        if not judged.positives:
            raise BiasTransferError(
                f"calibration_dataset: none of the {np.count_nonzero(judged.is_labelled):,} images of {images.name} "
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


def _probabilities(model: Model, scores: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float64]:
    from scipy.special import expit

    assert scores is not None
    exact = scores.astype(np.float64)
    return exact if model.outputs == "probabilities" else expit(exact)


def _misclassified(decision: Decision, predictions: Predictions) -> Marked:
    assert decision.labels is not None
    wrong: Marked = decision.classes(predictions, predictions) != decision.labels[predictions.indices]
    return wrong
