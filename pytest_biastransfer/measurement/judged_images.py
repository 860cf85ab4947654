"""One decision by a model on the images of a dataset: the labels, what is predicted, and with which score."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_biastransfer.data.label_table import UNKNOWN
from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.evaluation.predictions import Predictions
from pytest_biastransfer.measurement.decisions import POSITIVE, Decision, decision_of
from pytest_biastransfer.metrics.prevalence import prevalence_cut

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.evaluation.keys import PredictionKey
    from pytest_biastransfer.models import Model


@dataclass(frozen=True)
class JudgedImages:
    """A model's predictions of images, and the decision that is judged.

    Attributes
    ----------
    decision
        What is judged.
    predictions
        The predictions, in the order of the dataset.
    labels
        The true class of each image, int64 [images], -1 where it is unknown.
    scores
        Higher ones for positives: log-odds, or what the model's output is, float32 [images]; None if they were not
        requested.
    """

    decision: Decision
    predictions: Predictions
    labels: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32] | None

    @property
    def is_labelled(self) -> npt.NDArray[np.bool_]:
        """Which images have a known label, bool [images]."""
        known: npt.NDArray[np.bool_] = self.labels != UNKNOWN
        return known

    @property
    def positives(self) -> int:
        """The number of positives."""
        return int(np.count_nonzero(self.labels == POSITIVE))

    def prevalence_cut(self) -> float:
        """Return the number that as many scores are above as there are positives, of the images of known label."""
        assert self.scores is not None
        return prevalence_cut(self.scores[self.is_labelled], self.positives)


def judged_images(
    evaluator: Evaluator,
    model: Model,
    key: PredictionKey,
    images: LabelledImages,
    positive: Sequence[int | str],
    *,
    with_scores: bool,
) -> JudgedImages:
    """Return the decision on all images, or on as many as the evaluator is limited to.

    `key` is that of the predictions, `positive` as in `decision_of`. Raises `BiasTransferError` for images whose labels
    do not tell.
    """
    from_classes = model.outputs == "softmax"
    with contextlib.ExitStack() as stack:
        collector = evaluator.collector(model, images, None, key, stack)
        # For scores, the first chunk's classes are enough: they tell the number of classes.
        look = 0 if with_scores and from_classes else -1
        predictions, total = collector.collect(collector.looks[look]), collector.looks[-1]
    decision = decision_of(model, images, positive, predictions.outputs)
    if decision.output is not None:
        # Of many outputs, only the judged one is put in order.
        predictions, decision = predictions.of_output(decision.output), dataclasses.replace(decision, output=0)
    predictions = predictions.in_order()
    if decision.labels is None:
        raise BiasTransferError(f"figures of {model.name} on {images.name} need labels: {decision.reason}")
    scores = None
    if with_scores and from_classes:
        from pytest_biastransfer.measurement.positive_scores import positive_scores

        scored = positive_scores(evaluator, model, images, decision.positive, total)
        scores, computed = scored.log_odds, predictions.computed + scored.computed
        predictions = Predictions(scored.classes, scored.indices, predictions.outputs, computed)
    elif with_scores:
        scores = decision.scores(predictions)
    return JudgedImages(decision, predictions, decision.labels[predictions.indices], scores)
