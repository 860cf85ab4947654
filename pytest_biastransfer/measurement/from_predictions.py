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


def observed_measurement(
    evaluator: Evaluator,
    model: Model,
    images: LabelledImages,
    intervention: Intervention,
    control: Model | None,
    target: Sequence[int | str],
    confidence: float,
    *,
    words: str,
    keys: Sequence[PredictionKey] | None = None,
    stop: EarlyStop | None = None,
) -> Measurement:
    """Return the measurement of predictions that are there, or are computed now.

    `words` are the intervention's; `keys` are those of the model's predictions and then the control's, clean and
    intervened, if just taken; `stop` may say that the first images are enough.
    """
    models = [model] if control is None else [model, control]
    keys = keys or [key for one in models for key in evaluator.keys(one, images, [None, intervention])]
    monitor = None if stop is None else EarlyStopMonitor(stop)
    observed = _observe(evaluator, model, images, intervention, keys[:2], monitor=monitor, target=target)
    if control is None:
        return _measurement(observed, None, None, target, confidence, words)
    compared = _observe(evaluator, control, images, intervention, keys[2:], count=len(observed.indices))
    control_measurement = _measurement(compared, None, None, target, confidence, words)
    return _measurement(observed, compared, control_measurement, target, confidence, words)


@dataclass(frozen=True)
class _Observed:
    """One model's predictions in a dataset's order, and the names to tell them by."""

    model: Model
    images: LabelledImages
    seen: PairedPredictions
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
        """Return the label of one image of the dataset, in the dataset's own words where it has some."""
        label = int(self.images.labels[index])
        # Without a map, labels without names that are told are places of logits.
        unnamed = self.class_names if self.seen.labels is not None and self.images.class_map is None else None
        names = self.images.classes or unnamed
        return in_one_line(names[label]) if names is not None else str(label)


def _observe(
    evaluator: Evaluator,
    model: Model,
    images: LabelledImages,
    intervention: Intervention,
    keys: Sequence[PredictionKey],
    *,
    monitor: EarlyStopMonitor | None = None,
    target: Sequence[int | str] = (),
    count: int | None = None,
) -> _Observed:
    """Observe the first `count` images, or as many as `monitor` needs to decide, or all of them."""
    with contextlib.ExitStack() as stack:
        clean = evaluator.collection(model, images, None, keys[0], stack)
        intervened = evaluator.collection(model, images, intervention, keys[1], stack)
        total = clean.looks[-1]
        for look in clean.looks if monitor else [count or total]:
            observed = _observed(model, images, keys, (clean.gather(look), intervened.gather(look)), total)
            if monitor is None or look == total:
                continue
            inputs = MetricInputs(observed.seen, target=target_classes(target, observed.class_names))
            if monitor.is_decided(inputs, total):
                estimates = monitor.estimates(inputs, total)
                return dataclasses.replace(observed, early=monitor.verdicts, early_estimates=estimates)
    return observed


def _observed(
    model: Model,
    images: LabelledImages,
    keys: Sequence[PredictionKey],
    predicted: tuple[Predictions, Predictions],
    total: int,
) -> _Observed:
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
    return _Observed(
        model=model,
        images=images,
        seen=PairedPredictions(
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
    observed: _Observed,
    compared: _Observed | None,
    control: Measurement | None,
    target: Sequence[int | str],
    confidence: float,
    words: str,
) -> Measurement:
    seen, names = observed.seen, observed.class_names
    inputs = MetricInputs(seen, compared.seen if compared else None, target_classes(target, names), confidence)
    return Measurement(
        model=in_one_line(observed.model.name),
        dataset=in_one_line(observed.images.name),
        intervention=words,
        n=len(seen.clean),
        total=observed.total,
        estimates=estimates_of(inputs) | dict(observed.early_estimates),
        clean=clean_performance_of(observed.model, observed.images, observed.clean),
        clean_shares=flips.class_shares(seen.clean, len(names)),
        class_shift=flips.class_shift(seen.clean, seen.intervened, len(names)),
        class_names=names,
        flips=[
            Flip(
                index=int(observed.indices[place]),
                label=observed.label_name(observed.indices[place]),
                before=names[seen.clean[place]],
                after=names[seen.intervened[place]],
            )
            for place in np.flatnonzero(seen.clean != seen.intervened)
        ],
        control=control,
        computed=observed.computed + (compared.computed if compared else 0),
        early=observed.early,
        provenance=observed.provenance,
        outcomes=outcomes_of(inputs, observed.indices),
        unlabelled=observed.unlabelled,
    )


def clean_performance_of(model: Model, images: LabelledImages, predictions: Predictions) -> CleanPerformance:
    """Return how well a model does on unchanged images, from what it predicts there."""
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
    """Return the numbers of classes that a keyword named."""
    return [_number_of(one, names, keyword) for one in target]


def _number_of(found: int | str, names: Sequence[str], keyword: str) -> int:
    if isinstance(found, str):
        found = in_one_line(found)
        same = [number for number, name in enumerate(names) if composed(name) == composed(found)]
        if not same:
            raise BiasTransferError(f"{keyword}={found!r} is not a class of the model; {nearest(found, names)}")
        if len(same) > 1:
            numbers = " and ".join(map(str, same))
            raise BiasTransferError(
                f"{keyword}={found!r}: the model has several classes of this name; give the number of one: {numbers}"
            )
        return same[0]
    if not 0 <= found < len(names):
        raise BiasTransferError(
            f"{keyword}={found} is not a class of the model, which has the classes 0 to {len(names) - 1}"
        )
    return found
