"""From predictions to a measurement: in the dataset's order, with the names of classes and labels."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pytest_biastransfer.data.label_mapping import model_labels
from pytest_biastransfer.errors import BiasTransferError, ModelError, nearest
from pytest_biastransfer.judgement.early_stop import EarlyStopMonitor
from pytest_biastransfer.metrics import flips
from pytest_biastransfer.metrics.degeneracy import clean_performance
from pytest_biastransfer.metrics.estimates import estimates_of
from pytest_biastransfer.metrics.image_outcomes import outcomes_of
from pytest_biastransfer.metrics.measurement import Flip, Measurement, Provenance
from pytest_biastransfer.metrics.paired_predictions import MetricInputs, PairedPredictions
from pytest_biastransfer.plain_text import in_one_line
from pytest_biastransfer.specs.class_names import composed

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
    keys
        The keys of the model's predictions, clean and intervened, then those of the control's; None to compute them.
    stop
        When to stop before all images are evaluated; None to evaluate all.
    """
    keys = keys or [key for model in models for key in evaluator.keys(model, images, [None, intervention])]
    monitor = None if stop is None else EarlyStopMonitor(stop)
    predicted = _predict(evaluator, models[0], images, intervention, keys[:2], monitor=monitor, target=target)
    if len(models) == 1:
        return _measurement(predicted, None, None, target, confidence, description)
    # The control is measured on the same images, also if the model stopped early.
    of_control = _predict(evaluator, models[1], images, intervention, keys[2:], count=len(predicted.indices))
    control = _measurement(of_control, None, None, target, confidence, description)
    return _measurement(predicted, of_control, control, target, confidence, description)


@dataclass(frozen=True)
class _ModelPredictions:
    """One model's predictions in a dataset's order, with the names of its classes."""

    model: Model
    images: LabelledImages
    paired: PairedPredictions
    indices: npt.NDArray[np.int64]
    total: int
    class_names: tuple[str, ...]
    computed: int
    provenance: Provenance
    unlabelled: str
    clean: Predictions
    early: Mapping[str, bool] | None = None
    early_estimates: Mapping[str, Estimate] = field(default_factory=dict)

    def label_name(self, index: int) -> str:
        """Return the name of an image's label, by the dataset's own names if it has some."""
        label = int(self.images.labels[index])
        # Labels without names and without a map are positions of logits, so the model's names are theirs.
        unnamed = self.class_names if self.paired.labels is not None and self.images.class_map is None else None
        names = self.images.classes or unnamed
        return in_one_line(names[label]) if names is not None else str(label)


def _predict(
    evaluator: Evaluator,
    model: Model,
    images: LabelledImages,
    intervention: Intervention,
    keys: Sequence[PredictionKey],
    *,
    monitor: EarlyStopMonitor | None = None,
    target: Sequence[int | str] = (),
    count: int | None = None,
) -> _ModelPredictions:
    """Return the predictions of the first `count` images, of as many as `monitor` needs, or of all of them."""
    with contextlib.ExitStack() as stack:
        clean = evaluator.collector(model, images, None, keys[0], stack)
        intervened = evaluator.collector(model, images, intervention, keys[1], stack)
        total = clean.looks[-1]
        for look in clean.looks if monitor else [count or total]:
            predicted = _paired(model, images, keys, (clean.collect(look), intervened.collect(look)), total)
            if monitor is None or look == total:
                continue
            inputs = MetricInputs(predicted.paired, target=target_classes(target, predicted.class_names))
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
) -> _ModelPredictions:
    clean, intervened = predicted
    if model.classes is not None and len(model.classes) != clean.outputs:
        raise ModelError(
            f"model {model.name} has {clean.outputs} outputs, but {len(model.classes)} class names; "
            f"expected as many names as outputs"
        )
    matched = model_labels(images, model.classes, clean.outputs, model.class_order)
    labels = matched.indices
    order = np.argsort(clean.indices)
    indices = clean.indices[order]
    return _ModelPredictions(
        model=model,
        images=images,
        paired=PairedPredictions(
            clean.classes[order], intervened.classes[order], None if labels is None else labels[indices]
        ),
        indices=indices,
        total=total,
        class_names=class_names_of(model, images, clean.outputs, labels is not None),
        unlabelled=matched.reason,
        computed=clean.computed + intervened.computed,
        provenance=Provenance(keys[0].portable_model, images.fingerprint),
        clean=clean,
    )


def class_names_of(model: Model, images: LabelledImages, outputs: int, labels_fit: bool) -> tuple[str, ...]:
    """Return the names of a model's classes, or their numbers; the dataset's where they have the same labels."""
    if model.classes is not None:
        return tuple(map(in_one_line, model.classes))
    if images.classes is not None and images.class_map is None and labels_fit:
        return tuple(map(in_one_line, images.classes))
    return tuple(map(str, range(outputs)))


def _measurement(
    predicted: _ModelPredictions,
    of_control: _ModelPredictions | None,
    control: Measurement | None,
    target: Sequence[int | str],
    confidence: float,
    description: str,
) -> Measurement:
    paired, names = predicted.paired, predicted.class_names
    paired_control = of_control.paired if of_control else None
    inputs = MetricInputs(paired, paired_control, target_classes(target, names), confidence)
    return Measurement(
        model=in_one_line(predicted.model.name),
        dataset=in_one_line(predicted.images.name),
        intervention=description,
        n=len(paired.clean),
        total=predicted.total,
        estimates=estimates_of(inputs) | dict(predicted.early_estimates),
        clean=clean_performance_of(predicted.model, predicted.images, predicted.clean),
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
        unlabelled=predicted.unlabelled,
    )


def clean_performance_of(model: Model, images: LabelledImages, predictions: Predictions) -> CleanPerformance:
    """Return a model's performance on clean images."""
    labels = model_labels(images, model.classes, predictions.outputs, model.class_order).indices
    names = class_names_of(model, images, predictions.outputs, labels is not None)
    return clean_performance(
        predictions.classes,
        (images.labels if labels is None else labels)[predictions.indices],
        class_names=names,
        label_names=tuple(map(in_one_line, images.classes or ())) if labels is None else names,
        comparable=labels is not None,
    )


def target_classes(target: Sequence[int | str], names: Sequence[str], keyword: str = "target") -> list[int]:
    """Return the numbers of classes that are the value of a keyword argument.

    Raises `BiasTransferError` for a class that the model does not have.
    """
    return [_number_of(class_or_name, names, keyword) for class_or_name in target]


def _number_of(requested: int | str, names: Sequence[str], keyword: str) -> int:
    if isinstance(requested, str):
        requested = in_one_line(requested)
        same = [number for number, name in enumerate(names) if composed(name) == composed(requested)]
        if not same:
            raise BiasTransferError(f"{keyword}={requested!r} is not a class of the model; {nearest(requested, names)}")
        if len(same) > 1:
            numbers = " and ".join(map(str, same))
            raise BiasTransferError(
                f"{keyword}={requested!r}: the model has several classes of this name; give the number of one: "
                f"{numbers}"
            )
        return same[0]
    if not 0 <= requested < len(names):
        raise BiasTransferError(
            f"{keyword}={requested} is not a class of the model, which has the classes 0 to {len(names) - 1}"
        )
    return requested
