"""From a model, images and an intervention to a measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_biastransfer import __version__
from pytest_biastransfer.data import as_images, load_dataset
from pytest_biastransfer.data.labels import labels_for
from pytest_biastransfer.errors import BiasTransferError, InterventionError, ModelError, nearest
from pytest_biastransfer.evaluation.devices import resolve_device
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.interventions import Intervention, described, named
from pytest_biastransfer.judgement.expectation import require_confidence, require_target
from pytest_biastransfer.metrics import flips
from pytest_biastransfer.metrics.estimate import Estimate
from pytest_biastransfer.metrics.measurement import Flip, Measurement, Observation, estimates_of
from pytest_biastransfer.models import Model, as_model, load_model
from pytest_biastransfer.store import Store

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.store import Facts

Target = int | str | Sequence[int | str]


def measure(
    model: Model | torch.nn.Module | str,
    dataset: Any,
    intervention: Intervention | str,
    *,
    control: Model | torch.nn.Module | str | None = None,
    target: Target | None = None,
    confidence: float = 0.95,
    device: str | torch.device = "auto",
    batch_size: int | None = None,
    max_images: int | None = None,
    store: Path | str | None = None,
) -> Measurement:
    """Measure how a model's predictions change under an intervention.

    Parameters
    ----------
    model
        A torch module, a `Model` with its preprocessing, or a spec string.
    dataset
        A map-style dataset of ``(image, label)`` or ``(image, label, attributes)``, or a spec string.
        An image is a PIL image, or a tensor [channels, height, width] of uint8 or of floats in [0, 1].
    intervention
        An `Intervention`, or the name of a registered one.
    control
        A model of the same task without the suspected source, measured on the same images.
    target
        One or several classes, by name or number, for `Measurement.targeted_asr`.
    confidence
        Coverage of the intervals, in (0, 1).
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ... or a torch device.
    batch_size
        Images a forward pass; default by device.
    max_images
        Measure on a fixed random sample of so many images.
    store
        A directory that keeps predictions, so that nothing is computed twice.

    Raises
    ------
    BiasTransferError
        If the model, the dataset or the intervention are not usable; the message says what to change.

    Examples
    --------
    >>> import torch
    >>> from pytest_biastransfer import Square, measure
    >>> brightest_channel = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> reddish = [(torch.tensor([0.4, 0.3, 0.3]).reshape(3, 1, 1).expand(3, 8, 8), 0)] * 10
    >>> found = measure(brightest_channel, reddish, Square(size=0.5, color="blue"))
    >>> found.asr, found.most_gained.index
    (1 [0.692, 1], 2)
    """
    for name, count in (("batch_size", batch_size), ("max_images", max_images)):
        if count is not None and (type(count) is not int or count < 1):
            raise BiasTransferError(f"{name}={count!r}, expected a whole number above 0")
    kept = Store(None if store is None else Path(store))
    evaluator = Evaluator(resolve_device(str(device), kept.facts), kept, batch_size=batch_size, max_images=max_images)
    return take_measurement(
        evaluator,
        _model(model, "model"),
        load_dataset(dataset) if isinstance(dataset, str) else as_images(dataset, "dataset"),
        _intervention(intervention),
        control=None if control is None else _model(control, "control"),
        target=require_target(target),
        confidence=require_confidence(confidence),
    )


def take_measurement(
    evaluator: Evaluator,
    model: Model,
    images: LabelledImages,
    intervention: Intervention,
    *,
    control: Model | None = None,
    target: Sequence[int | str] = (),
    confidence: float = 0.95,
) -> Measurement:
    """Measure with an evaluator that is there already, and with what is loaded already."""
    compared = None if control is None else _observe(evaluator, control, images, intervention)
    facts = evaluator.store.facts
    control_measurement = None if compared is None else _measurement(compared, None, None, target, confidence, facts)
    observed = _observe(evaluator, model, images, intervention)
    return _measurement(observed, compared, control_measurement, target, confidence, facts)


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


def _observe(evaluator: Evaluator, model: Model, images: LabelledImages, intervention: Intervention) -> _Observed:
    clean = evaluator.predictions(model, images)
    intervened = evaluator.predictions(model, images, intervention)
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
    facts: Facts,
) -> Measurement:
    seen, names = observed.seen, observed.class_names
    return Measurement(
        model=observed.model.name,
        dataset=observed.images.name,
        intervention=described(observed.intervention),
        n=len(seen.clean),
        estimates=_estimates(
            seen, compared.seen if compared else None, [_target_class(one, names) for one in target], confidence, facts
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


def _estimates(
    seen: Observation, control: Observation | None, target: Sequence[int], confidence: float, facts: Facts
) -> dict[str, Estimate]:
    """Return the estimates, found out once: intervals take longer than reading the predictions that they are of."""
    content = [None if part is None else (part.clean, part.intervened, part.labels) for part in (seen, control)]

    def find_out() -> dict[str, list[Any]]:
        found = estimates_of(seen, control, target, confidence)
        return {metric: estimate.to_list() for metric, estimate in found.items()}

    known = facts.recall(fingerprint("estimates", content, target, confidence, __version__), find_out)
    return {metric: Estimate.from_list(parts) for metric, parts in known.items()}


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


def _model(given: Model | torch.nn.Module | str, place: str) -> Model:
    return load_model(given) if isinstance(given, str) else as_model(given, place)


def _intervention(given: Intervention | str) -> Intervention:
    if isinstance(given, str):
        return named(given)
    if isinstance(given, Intervention):
        return given
    raise InterventionError(
        f"got {given!r:.100}, expected an intervention such as Square(), or a registered name; "
        f"wrap a callable or a transform in Custom(...)"
    )
