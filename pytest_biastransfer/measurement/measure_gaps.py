"""`measure_gaps`: from a model and a dataset to a measurement of the gaps between groups."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.data import as_images
from pytest_biastransfer.errors import BiasTransferError, UnjudgedWarning
from pytest_biastransfer.evaluation.canary import undisturbed
from pytest_biastransfer.evaluation.progress_bar import images_shown
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.judgement.expectation import require_confidence
from pytest_biastransfer.judgement.gap import Gap, require_calibration
from pytest_biastransfer.measurement.inputs import evaluator_for
from pytest_biastransfer.metrics.gap_measurement import GapMeasurement, description_form
from pytest_biastransfer.metrics.gap_metrics import GROUP_METRICS
from pytest_biastransfer.metrics.measurement import Provenance
from pytest_biastransfer.models import as_model
from pytest_biastransfer.names import GapMetric, Negatives, OperatingPoint, Unjudged
from pytest_biastransfer.plain_text import in_one_line

if TYPE_CHECKING:
    import torch

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.evaluation.keys import PredictionKey
    from pytest_biastransfer.measurement.inputs import Target
    from pytest_biastransfer.models import Model


def measure_gaps(
    model: Model | torch.nn.Module | str,
    dataset: Any,
    attribute: str | Sequence[str],
    metric: GapMetric = "fpr",
    *,
    positive: Target | None = None,
    operating_point: OperatingPoint = "argmax",
    negatives: Negatives = "own",
    min_group_size: int = 30,
    between: tuple[str, str] | None = None,
    bins: Mapping[str, Sequence[float]] | None = None,
    unjudged: Unjudged = "list",
    calibration_dataset: Any = None,
    control: Model | torch.nn.Module | str | None = None,
    confidence: float = 0.95,
    device: str | torch.device = "auto",
    batch_size: int | None = None,
    max_images: int | None = None,
    store: Path | str | None = None,
    progress: bool = False,
) -> GapMeasurement:
    """Measure how much worse a model is on one group of images than on another.

    Parameters
    ----------
    model, dataset, control, confidence, device, batch_size, max_images, store, progress
        As of `pytest_biastransfer.measure`; the dataset has attributes.
    attribute, metric, positive, operating_point, negatives, min_group_size, between, bins, unjudged
        As of `Gap`.
    calibration_dataset
        A dataset, as `dataset`, on whose images the threshold of ``operating_point="prevalence"`` is found: validation
        images, as Wang and Russakovsky do. None (default) for the images that are measured.

    Raises
    ------
    BiasTransferError
        If the dataset has no such attribute or group, or only one group, if fewer than two of the compared groups have
        enough images, if no image of the calibration dataset is positive, or if the model or a dataset cannot be used.

    Examples
    --------
    >>> import torch
    >>> from pytest_biastransfer import measure_gaps
    >>> redder = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> def image(red, green):
    ...     return torch.tensor([red, green]).reshape(2, 1, 1)
    >>> day = [(image(0.1, 0.9), 1, {"light": "day"})] * 40
    >>> evening = [(image(0.9, 0.1), 1, {"light": "evening"})] * 10 + [(image(0.1, 0.9), 1, {"light": "evening"})] * 30
    >>> measurement = measure_gaps(redder, day + evening, "light", positive=0)
    >>> float(measurement.gap), measurement.worst
    (0.25, 'evening')
    >>> float(measure_gaps(redder, day + evening, "light", positive=0, between=("day", "evening")).gap)
    -0.25
    """
    evaluator = evaluator_for(device, store, batch_size=batch_size, max_images=max_images)
    own, images = as_model(model, "model"), as_images(dataset, "dataset")
    gap = Gap(
        attribute,
        metric,
        positive=positive,
        operating_point=operating_point,
        negatives=negatives,
        min_group_size=min_group_size,
        between=between,
        bins=bins,
        unjudged=unjudged,
    )
    calibration = None if calibration_dataset is None else as_images(calibration_dataset, "calibration_dataset")
    other = None if control is None else as_model(control, "control")
    count = sum(evaluator.count(own_images) for own_images in (images, calibration) if own_images is not None)
    with images_shown([evaluator], "measure_gaps", count * (1 if other is None else 2), shown=progress):
        return measure_gaps_loaded(
            evaluator,
            own,
            images,
            gap,
            calibration=calibration,
            control=other,
            confidence=require_confidence(confidence),
        )


def measure_gaps_loaded(
    evaluator: Evaluator,
    model: Model,
    images: LabelledImages,
    gap: Gap,
    *,
    calibration: LabelledImages | None = None,
    control: Model | None = None,
    confidence: float = 0.95,
) -> GapMeasurement:
    """Measure with an existing evaluator, and with a loaded model and dataset.

    The figures of an earlier measurement, from any session, are cached under its key.
    """
    if calibration is not None:
        require_calibration(gap)
    models = [model] if control is None else [model, control]
    measurement = undisturbed(lambda: _gaps(evaluator, models, images, gap, confidence, calibration))
    _note_unjudged(measurement, gap)
    return measurement


def _note_unjudged(measurement: GapMeasurement, gap: Gap) -> None:
    """Warn of groups that are too small, or raise `BiasTransferError`, as the gap asks for."""
    if gap.unjudged == "list" or gap.between is not None or not measurement.unjudged:
        return
    sizes = ", ".join(f"{figure.group} {figure.size:,}" for figure in measurement.groups if not figure.judged)
    text = (
        f"{gap}: groups of {measurement.dataset} with fewer than {gap.min_group_size} "
        f"{GROUP_METRICS[gap.metric].base}, which are not judged: {sizes}"
    )
    if gap.unjudged == "fail":
        raise BiasTransferError(f"{text}. Add images, lower min_group_size=, or allow it by unjudged='warn'")
    warnings.warn(text, UnjudgedWarning, stacklevel=3)


def _gaps(
    evaluator: Evaluator,
    models: Sequence[Model],
    images: LabelledImages,
    gap: Gap,
    confidence: float,
    calibration: LabelledImages | None,
) -> GapMeasurement:
    keys = _verified_keys(evaluator, models, images)
    calibration_keys = [] if calibration is None else _verified_keys(evaluator, models, calibration)
    names = [images.naming, *(model.judging for model in models)]
    groups = [images.attribute_or_label(attribute) for attribute in gap.attributes]
    dependencies = (
        "gaps, ratios, worst groups, clean performance and evidence of images",
        [key.text for key in keys],
        names,
        evaluator.max_images,
        gap,
        groups,
        confidence,
        *([] if calibration is None else [[key.text for key in calibration_keys], calibration.naming]),
    )
    all_keys = [*keys, *calibration_keys]
    question = fingerprint(*dependencies) if all(key.portable for key in all_keys) else None
    bases = tuple(dict.fromkeys(key.basis for key in all_keys))
    # A figure of an earlier session need not come from the predictions that this one has verified.
    description = None
    if question is not None and not evaluator.verifies_all:
        description = evaluator.store.facts.get(question, description_form(len(models) > 1))
    if description is None:
        from pytest_biastransfer.measurement.gaps_from_predictions import gaps_from_predictions

        calibrated = None if calibration is None else (calibration, calibration_keys)
        measurement = gaps_from_predictions(evaluator, models, keys, images, gap, confidence, calibrated)
        if question is not None:
            evaluator.store.facts.put(question, measurement.description())
        provenance = dataclasses.replace(measurement.provenance, question=question, bases=bases)
        return dataclasses.replace(measurement, provenance=provenance)
    provenances = [Provenance(key.portable_model, images.fingerprint, question, bases) for key in keys]
    return GapMeasurement.from_description(
        description,
        [in_one_line(model.name) for model in models],
        provenances,
        dataset=in_one_line(images.name),
        declaration=gap.declaration(None if calibration is None else calibration.name),
        between=gap.between,
    )


def _verified_keys(evaluator: Evaluator, models: Sequence[Model], images: LabelledImages) -> list[PredictionKey]:
    keys = [evaluator.keys(model, images, [None])[0] for model in models]
    for model, key in zip(models, keys, strict=True):
        evaluator.verify_loaded(model, images, key)
    return keys
