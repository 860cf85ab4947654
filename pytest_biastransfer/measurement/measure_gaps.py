"""From a model and images to a measurement of the gaps between groups."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.data import as_images
from pytest_biastransfer.evaluation.canary import undisturbed
from pytest_biastransfer.evaluation.devices import resolve_device
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.judgement.expectation import require_confidence
from pytest_biastransfer.judgement.gap import Gap
from pytest_biastransfer.measurement.measure import require_counts
from pytest_biastransfer.metrics.gap_measurement import GapMeasurement, description_form
from pytest_biastransfer.metrics.measurement import Provenance
from pytest_biastransfer.models import as_model
from pytest_biastransfer.names import GapMetric, Negatives, OperatingPoint
from pytest_biastransfer.plain_text import in_one_line
from pytest_biastransfer.store import Store

if TYPE_CHECKING:
    import torch

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.measurement.measure import Target
    from pytest_biastransfer.models import Model


def measure_gaps(
    model: Model | torch.nn.Module | str,
    dataset: Any,
    attribute: str,
    metric: GapMetric = "fpr",
    *,
    positive: Target | None = None,
    operating_point: OperatingPoint = "argmax",
    negatives: Negatives = "own",
    min_group_size: int = 30,
    control: Model | torch.nn.Module | str | None = None,
    confidence: float = 0.95,
    device: str | torch.device = "auto",
    batch_size: int | None = None,
    max_images: int | None = None,
    store: Path | str | None = None,
) -> GapMeasurement:
    """Measure how much worse a model is on one group of images than on another.

    Parameters
    ----------
    model, dataset, control, confidence, device, batch_size, max_images, store
        As of `pytest_biastransfer.measure`; the dataset has attributes.
    attribute, metric, positive, operating_point, negatives, min_group_size
        As of `Gap`.

    Raises
    ------
    BiasTransferError
        If the dataset has no such attribute, or only one value of it, if fewer than two groups have enough images, or
        if the model or the dataset are not usable.

    Examples
    --------
    >>> import torch
    >>> from pytest_biastransfer import measure_gaps
    >>> redder = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> def image(red, green):
    ...     return torch.tensor([red, green]).reshape(2, 1, 1)
    >>> day = [(image(0.1, 0.9), 1, {"light": "day"})] * 40
    >>> evening = [(image(0.9, 0.1), 1, {"light": "evening"})] * 10 + [(image(0.1, 0.9), 1, {"light": "evening"})] * 30
    >>> found = measure_gaps(redder, day + evening, "light", positive=0)
    >>> float(found.gap), found.worst
    (0.25, 'evening')
    """
    require_counts(batch_size=batch_size, max_images=max_images)
    kept = Store(None if store is None else Path(store))
    evaluator = Evaluator(resolve_device(str(device), kept.facts), kept, batch_size=batch_size, max_images=max_images)
    return measure_gaps_loaded(
        evaluator,
        as_model(model, "model"),
        as_images(dataset, "dataset"),
        Gap(
            attribute,
            metric,
            positive=positive,
            operating_point=operating_point,
            negatives=negatives,
            min_group_size=min_group_size,
        ),
        control=None if control is None else as_model(control, "control"),
        confidence=require_confidence(confidence),
    )


def measure_gaps_loaded(
    evaluator: Evaluator,
    model: Model,
    images: LabelledImages,
    gap: Gap,
    *,
    control: Model | None = None,
    confidence: float = 0.95,
) -> GapMeasurement:
    """Measure with an evaluator that is there already, and with what is loaded already.

    What was measured before, in whatever session, is known by its key.
    """
    models = [model] if control is None else [model, control]
    return undisturbed(lambda: _gaps(evaluator, models, images, gap, confidence))


def _gaps(
    evaluator: Evaluator, models: Sequence[Model], images: LabelledImages, gap: Gap, confidence: float
) -> GapMeasurement:
    keys = [evaluator.keys(one, images, [None])[0] for one in models]
    for one, key in zip(models, keys, strict=True):
        evaluator.verify_loaded(one, images, key)
    names = [images.naming, *((one.classes, one.class_order) for one in models)]
    groups = images.attributes.get(gap.attribute)
    question = (
        "gaps and clean performance",
        [key.text for key in keys],
        names,
        evaluator.max_images,
        gap,
        groups,
        confidence,
    )
    answered = fingerprint(*question) if all(key.portable for key in keys) else None
    bases = tuple(dict.fromkeys(key.basis for key in keys))
    known = None
    if answered is not None and not evaluator.verifies_all:
        known = evaluator.store.facts.get(answered, description_form(len(models) > 1))
    if known is None:
        from pytest_biastransfer.measurement.gaps_from_predictions import observed_gaps

        found = observed_gaps(evaluator, models, keys, images, gap, confidence)
        if answered is not None:
            evaluator.store.facts.put(answered, found.description())
        return dataclasses.replace(
            found, provenance=dataclasses.replace(found.provenance, question=answered, bases=bases)
        )
    provenances = [Provenance(key.portable_model, images.fingerprint, answered, bases) for key in keys]
    return GapMeasurement.from_description(
        known,
        [in_one_line(one.name) for one in models],
        provenances,
        dataset=in_one_line(images.name),
        declaration=str(gap),
        metric=gap.metric,
    )
