"""From predictions to a measurement: in the dataset's order, with the names of classes and labels."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pytest_biastransfer.data.label_table import UNKNOWN
from pytest_biastransfer.judgement.early_stop import EarlyStopMonitor
from pytest_biastransfer.measurement.decisions import POSITIVE, Decision, decision_of, target_classes
from pytest_biastransfer.metrics import flips
from pytest_biastransfer.metrics.degeneracy import clean_performance
from pytest_biastransfer.metrics.estimates import estimates_of
from pytest_biastransfer.metrics.image_outcomes import outcomes_of
from pytest_biastransfer.metrics.measurement import Flip, Measurement, Provenance
from pytest_biastransfer.metrics.paired_predictions import MetricInputs, PairedPredictions
from pytest_biastransfer.models.thresholds import PREVALENCE
from pytest_biastransfer.plain_text import in_one_line

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.evaluation.keys import PredictionKey
    from pytest_biastransfer.evaluation.predictions import Predictions
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.judgement.early_stop import EarlyStop
    from pytest_biastransfer.metrics.clean_performance import CleanPerformance
    from pytest_biastransfer.metrics.statistics.estimate import Estimate
    from pytest_biastransfer.models import Model


def measurement_from_predictions(
    evaluator: Evaluator,
    models: Sequence[Model],
    images: LabelledImages,
    intervention: Intervention,
    target: Sequence[int | str],
    confidence: float,
    *,
    description: str,
    positive: Sequence[int | str] = (),
    keys: Sequence[PredictionKey] | None = None,
    stop: EarlyStop | None = None,
) -> Measurement:
    """Return the measurement of predictions that are stored, or are computed now.

    Parameters
    ----------
    models
        The model, and its control if there is one.
    description
        The intervention in reports.
    positive
        Which decision is judged; see `decision_of`.
    keys
        The keys of the model's predictions, clean and intervened, then those of the control's; None to compute them.
    stop
        When to stop before all images are evaluated; None to evaluate all.
    """
    keys = keys or [key for model in models for key in evaluator.keys(model, images, [None, intervention])]
    # A threshold at prevalence depends on all images, so the first ones do not tell any decision.
    at_prevalence = any(model.threshold == PREVALENCE for model in models)
    monitor = None if stop is None or at_prevalence else EarlyStopMonitor(stop)
    judged = positive, target
    predicted = _predict(evaluator, models[0], images, intervention, keys[:2], judged, monitor=monitor)
    if len(models) == 1:
        return _measurement(predicted, None, None, confidence, description)
    # The control is measured on the same images, also if the model stopped early.
    of_control = _predict(evaluator, models[1], images, intervention, keys[2:], judged, count=len(predicted.indices))
    control = _measurement(of_control, None, None, confidence, description)
    return _measurement(predicted, of_control, control, confidence, description)


@dataclass(frozen=True)
class _ModelPredictions:
    """One model's predictions in a dataset's order, with the names of its classes."""

    model: Model
    images: LabelledImages
    paired: PairedPredictions
    indices: npt.NDArray[np.int64]
    total: int
    decision: Decision
    target: Sequence[int]
    computed: int
    provenance: Provenance
    clean: Predictions
    early: Mapping[str, bool] | None = None
    early_estimates: Mapping[str, Estimate] = field(default_factory=dict)

    def label_name(self, index: int) -> str:
        """Return the name of an image's label, by the dataset's own names if it has some."""
        labels, names = self.decision.labels, self.decision.names
        if self.images.label_table is not None or (self.decision.output is not None and labels is not None):
            known = None if labels is None or labels[index] == UNKNOWN else int(labels[index])
            return "unknown" if known is None else names[known]
        label = int(self.images.labels[index])
        # Labels without names and without a map are positions of logits, so the model's names are theirs.
        unnamed = names if labels is not None and self.images.class_map is None and not self.decision.positive else None
        own = self.images.classes or unnamed
        return in_one_line(own[label]) if own is not None else str(label)


def _predict(
    evaluator: Evaluator,
    model: Model,
    images: LabelledImages,
    intervention: Intervention,
    keys: Sequence[PredictionKey],
    judged: tuple[Sequence[int | str], Sequence[int | str]],
    *,
    monitor: EarlyStopMonitor | None = None,
    count: int | None = None,
) -> _ModelPredictions:
    """Return the predictions of the first `count` images, of as many as `monitor` needs, or of all of them.

    `judged` are the positive and the target classes.
    """
    positive, target = judged
    decision: Decision | None = None
    with contextlib.ExitStack() as stack:
        clean = evaluator.collector(model, images, None, keys[0], stack)
        intervened = evaluator.collector(model, images, intervention, keys[1], stack)
        total = clean.looks[-1]
        for look in clean.looks if monitor else [count or total]:
            pair = clean.collect(look), intervened.collect(look)
            # Once, and not at each look: the labels of all images are mapped for it.
            decision = decision or decision_of(model, images, positive, pair[0].outputs)
            predicted = _paired(model, images, keys, pair, total, decision, target)
            if monitor is None or look == total:
                continue
            inputs = MetricInputs(predicted.paired, target=predicted.target)
            if monitor.is_decided(inputs, total):
                estimates = monitor.estimates(inputs, total)
                return dataclasses.replace(predicted, early=monitor.verdicts, early_estimates=estimates)
    return predicted


def _paired(
    model: Model,
    images: LabelledImages,
    keys: Sequence[PredictionKey],
    predicted: tuple[Predictions, Predictions],
    total: int,
    decision: Decision,
    target: Sequence[int | str],
) -> _ModelPredictions:
    clean, intervened = predicted
    labels = decision.labels
    order = np.argsort(clean.indices)
    indices = clean.indices[order]
    return _ModelPredictions(
        model=model,
        images=images,
        paired=PairedPredictions(
            decision.classes(clean, clean)[order],
            decision.classes(intervened, clean)[order],
            None if labels is None else labels[indices],
        ),
        indices=indices,
        total=total,
        decision=decision,
        # The target of a decision is the positive.
        target=[POSITIVE] if decision.is_binary else target_classes(target, decision.names),
        computed=clean.computed + intervened.computed,
        provenance=Provenance(keys[0].portable_model, images.fingerprint),
        clean=clean,
    )


def _measurement(
    predicted: _ModelPredictions,
    of_control: _ModelPredictions | None,
    control: Measurement | None,
    confidence: float,
    description: str,
) -> Measurement:
    paired, names = predicted.paired, predicted.decision.names
    paired_control = of_control.paired if of_control else None
    inputs = MetricInputs(paired, paired_control, predicted.target, confidence)
    return Measurement(
        model=in_one_line(predicted.model.name),
        dataset=in_one_line(predicted.images.name),
        intervention=description,
        n=len(paired.clean),
        total=predicted.total,
        estimates=estimates_of(inputs) | dict(predicted.early_estimates),
        clean=clean_performance_of(predicted.model, predicted.images, predicted.clean, predicted.decision),
        clean_shares=flips.class_shares(paired.clean, len(names)),
        class_shift=flips.class_shift(paired.clean, paired.intervened, len(names)),
        class_names=names,
        flips=[
            Flip(
                index=int(predicted.indices[position]),
                label=predicted.label_name(predicted.indices[position]),
                before=names[paired.clean[position]],
                after=names[paired.intervened[position]],
            )
            for position in np.flatnonzero(paired.clean != paired.intervened)
        ],
        control=control,
        computed=predicted.computed + (of_control.computed if of_control else 0),
        early=predicted.early,
        provenance=predicted.provenance,
        outcomes=outcomes_of(inputs, predicted.indices),
        unlabelled=predicted.decision.reason,
    )


def clean_performance_of(
    model: Model, images: LabelledImages, predictions: Predictions, decision: Decision
) -> CleanPerformance:
    """Return a model's performance on clean images."""
    predicted = decision.classes(predictions, predictions)
    if decision.labels is None:
        # The dataset's own labels, if it has one an image.
        unknown = np.full(len(predicted), UNKNOWN)
        labels = unknown if images.label_table is not None else images.labels[predictions.indices]
        label_names = tuple(map(in_one_line, images.classes or ()))
    else:
        labels, label_names = decision.labels[predictions.indices], decision.names
    performance = clean_performance(
        predicted, labels, class_names=decision.names, label_names=label_names, comparable=decision.labels is not None
    )
    return dataclasses.replace(performance, decision=decision.names[POSITIVE]) if decision.is_binary else performance
