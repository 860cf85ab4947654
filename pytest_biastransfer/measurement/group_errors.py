"""Which images of a group a model is wrong on, in the sense of a gap's metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_biastransfer.data.attribute_groups import groups_of
from pytest_biastransfer.measurement.gap_outcomes import GapOutcomes, outcomes_of
from pytest_biastransfer.measurement.judged_images import judged_images
from pytest_biastransfer.plain_text import in_one_line

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.judgement.gap import Gap
    from pytest_biastransfer.models import Model
    from pytest_biastransfer.names import GapMetric


@dataclass(frozen=True)
class GroupError:
    """An image that a model is wrong on: its index, its label and the prediction, in words."""

    index: int
    label: str
    predicted: str


def errors_in_group(
    evaluator: Evaluator,
    model: Model,
    images: LabelledImages,
    gap: Gap,
    group: str,
    calibration: LabelledImages | None = None,
) -> list[GroupError]:
    """Return the errors of a model in one group, in the order of the dataset.

    The errors are those that the metric counts: false positives of ``"fpr"`` and ``"precision"``, missed positives of
    ``"tpr"``, and all wrong predictions of any other metric. The predictions are those of the gap's operating point;
    they come from the store where it has them. `calibration` is as in `measure_gaps`. Raises `BiasTransferError` as
    `measure_gaps` does.
    """
    (key,) = evaluator.keys(model, images, [None])
    calibrated = None if calibration is None else (evaluator.keys(model, calibration, [None])[0], calibration)
    outcomes = outcomes_of(evaluator, model, key, images, gap, calibrated)
    values = groups_of(images, gap.attributes, dict(gap.bins))
    number = tuple(map(in_one_line, values.names)).index(group)
    chosen = (values.codes[outcomes.indices] == number) & wrong(gap.metric, outcomes)
    indices, predicted = outcomes.indices[chosen], outcomes.predicted_positive[chosen].astype(np.int64)
    judged = judged_images(evaluator, model, key, images, gap.positive, with_scores=False)
    if not judged.decision.is_binary:
        classes = judged.decision.classes(judged.predictions, judged.predictions)
        predicted = classes[np.searchsorted(judged.predictions.indices, indices)]
    names = judged.decision.names
    pairs = zip(indices.tolist(), predicted.tolist(), strict=True)
    return [GroupError(index, in_one_line(images.label_text(index)), names[number]) for index, number in pairs]


def wrong(metric: GapMetric, outcomes: GapOutcomes) -> npt.NDArray[np.bool_]:
    """Return which images a metric counts as errors, bool of shape [images]."""
    positive, predicted = outcomes.positive, outcomes.predicted_positive
    if metric in ("fpr", "precision"):
        return predicted & ~positive
    if metric == "tpr":
        return positive & ~predicted
    return ~outcomes.right
