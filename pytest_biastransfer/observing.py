"""From predictions to a measurement: in the dataset's order, with the names of classes and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_biastransfer.data.labels import labels_for
from pytest_biastransfer.errors import BiasTransferError, ModelError, nearest
from pytest_biastransfer.interventions import Intervention, described
from pytest_biastransfer.metrics import flips
from pytest_biastransfer.metrics.measurement import Flip, Measurement
from pytest_biastransfer.metrics.observation import Observation, estimates_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator, Key
    from pytest_biastransfer.models import Model


def observed_measurement(
    evaluator: Evaluator,
    model: Model,
    images: LabelledImages,
    intervention: Intervention,
    control: Model | None,
    target: Sequence[int | str],
    confidence: float,
    keys: Sequence[Key] | None = None,
) -> Measurement:
    """Return the measurement of predictions that are there, or are computed now.

    `keys` are those of the model's predictions and then the control's, clean and intervened, if just taken.
    """
    own, controls = (None, None) if keys is None else (keys[:2], keys[2:])
    compared = None if control is None else _observe(evaluator, control, images, intervention, controls)
    control_measurement = None if compared is None else _measurement(compared, None, None, target, confidence)
    observed = _observe(evaluator, model, images, intervention, own)
    return _measurement(observed, compared, control_measurement, target, confidence)


@dataclass(frozen=True)
class _Observed:
    """One model's predictions in a dataset's order, and the names to tell them by."""

    model: Model
    images: LabelledImages
    intervention: Intervention
    seen: Observation
    indices: npt.NDArray[np.int64]
    class_names: tuple[str, ...]
    computed: int

    def label_name(self, index: int) -> str:
        """Return the label of one image of the dataset, in the dataset's own words where it has some."""
        label = int(self.images.labels[index])
        names = self.images.classes or (self.class_names if self.seen.labels is not None else None)
        return names[label] if names is not None else str(label)


def _observe(
    evaluator: Evaluator,
    model: Model,
    images: LabelledImages,
    intervention: Intervention,
    keys: Sequence[Key] | None,
) -> _Observed:
    clean_key, intervened_key = keys or evaluator.keys(model, images, [None, intervention])
    clean = evaluator.predictions(model, images, None, clean_key)
    intervened = evaluator.predictions(model, images, intervention, intervened_key)
    if model.classes is not None and len(model.classes) != clean.outputs:
        raise ModelError(
            f"model {model.name} has {clean.outputs} outputs, but {len(model.classes)} class names; "
            f"expected as many names as outputs"
        )
    labels = labels_for(images, model.classes, clean.outputs)
    order = np.argsort(clean.indices)
    indices = clean.indices[order]
    return _Observed(
        model=model,
        images=images,
        intervention=intervention,
        seen=Observation(clean.classes[order], intervened.classes[order], None if labels is None else labels[indices]),
        indices=indices,
        class_names=_class_names(model, images, clean.outputs, labels is not None),
        computed=clean.computed + intervened.computed,
    )


def _class_names(model: Model, images: LabelledImages, outputs: int, labels_fit: bool) -> tuple[str, ...]:
    if model.classes is not None:
        return tuple(model.classes)
    if images.classes is not None and labels_fit:
        return images.classes
    return tuple(map(str, range(outputs)))


def _measurement(
    observed: _Observed,
    compared: _Observed | None,
    control: Measurement | None,
    target: Sequence[int | str],
    confidence: float,
) -> Measurement:
    seen, names = observed.seen, observed.class_names
    return Measurement(
        model=observed.model.name,
        dataset=observed.images.name,
        intervention=described(observed.intervention),
        n=len(seen.clean),
        estimates=estimates_of(
            seen, compared.seen if compared else None, [_target_class(one, names) for one in target], confidence
        ),
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
    )


def _target_class(target: int | str, names: Sequence[str]) -> int:
    if isinstance(target, str):
        if target not in names:
            raise BiasTransferError(f"target={target!r} is not a class of the model; {nearest(target, names)}")
        return list(names).index(target)
    if not 0 <= target < len(names):
        raise BiasTransferError(
            f"target={target} is not a class of the model, which has the classes 0 to {len(names) - 1}"
        )
    return target
