"""From a model, images and an intervention to a measurement."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypedDict

from pytest_biastransfer.data import as_images
from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.evaluation.canary import undisturbed
from pytest_biastransfer.evaluation.devices import resolve_device
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.evaluation.keys import PredictionKey
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.interventions import BUILT_IN, Intervention, as_intervention
from pytest_biastransfer.judgement.expectation import require_confidence, require_target
from pytest_biastransfer.metrics.catalogue import metrics_of
from pytest_biastransfer.metrics.clean_performance import CleanDescription, CleanPerformance
from pytest_biastransfer.metrics.measurement import CachedMeasurement, Measurement, Provenance
from pytest_biastransfer.metrics.metric import ClassMetric
from pytest_biastransfer.metrics.statistics.estimate import Estimate, Parts
from pytest_biastransfer.models import Model, as_model
from pytest_biastransfer.plain_text import in_one_line
from pytest_biastransfer.store import Store

if TYPE_CHECKING:
    import torch

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.judgement.early_stop import EarlyStop

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
    require_counts(batch_size=batch_size, max_images=max_images)
    kept = Store(None if store is None else Path(store))
    evaluator = Evaluator(resolve_device(str(device), kept.facts), kept, batch_size=batch_size, max_images=max_images)
    return measure_loaded(
        evaluator,
        as_model(model, "model"),
        as_images(dataset, "dataset"),
        as_intervention(intervention, "intervention"),
        control=None if control is None else as_model(control, "control"),
        target=require_target(target),
        confidence=require_confidence(confidence),
    )


def measure_loaded(
    evaluator: Evaluator,
    model: Model,
    images: LabelledImages,
    intervention: Intervention,
    *,
    control: Model | None = None,
    target: Sequence[int | str] = (),
    confidence: float = 0.95,
    stop: EarlyStop | None = None,
    words: str | None = None,
) -> Measurement:
    """Measure with an evaluator that is there already, and with what is loaded already.

    `stop` may say that the first images are enough; `words` are the intervention's. What was measured before, in
    whatever session, is known by its key: then no prediction is looked at, until somebody asks for more than the
    estimates.
    """

    words = words or BUILT_IN.described(intervention)
    models = [model] if control is None else [model, control]
    return undisturbed(lambda: _measured(evaluator, models, images, intervention, target, confidence, stop, words))


def _measured(
    evaluator: Evaluator,
    models: Sequence[Model],
    images: LabelledImages,
    intervention: Intervention,
    target: Sequence[int | str],
    confidence: float,
    stop: EarlyStop | None,
    words: str,
) -> Measurement:
    model, control = models[0], models[1] if len(models) > 1 else None
    keys = [key for one in models for key in evaluator.keys(one, images, [None, intervention])]
    for one, key in zip(models, keys[1::2], strict=True):
        evaluator.verify_loaded(one, images, key, intervention, words)

    def whole(stop: EarlyStop | None, keys: Sequence[PredictionKey] | None = None) -> Measurement:
        from pytest_biastransfer.measurement.from_predictions import observed_measurement

        return observed_measurement(
            evaluator, model, images, intervention, control, target, confidence, words=words, keys=keys, stop=stop
        )

    if not all(key.portable for key in keys):
        return whole(stop, keys)
    bases = tuple(dict.fromkeys(key.basis for key in keys))
    names = [images.naming, *((one.classes, one.class_order) for one in models)]
    question = (
        "estimates and clean performance",
        [key.text for key in keys],
        names,
        evaluator.max_images,
        target,
        confidence,
        # What was measured before a metric was added lacks it.
        [metric.name for metric in metrics_of(ClassMetric)],
    )
    # What is known of all images is better than what was known when it was enough.
    for asked in (None, stop) if stop else (None,):
        answered = fingerprint(*question, asked)
        # What was estimated need not be of what was verified.
        form = _WithoutControl if control is None else _WithControl
        known = None if evaluator.verifies_all else evaluator.store.facts.get(answered, form)
        if known is not None:
            provenances = [
                Provenance(key.portable_model, images.fingerprint, question, bases)
                for key, question in zip(keys[::2], (answered, None), strict=False)
            ]
            again = functools.partial(whole, asked)
            return _known_measurement(known, provenances, models, images, words, again)
    found = whole(stop, keys)
    answered = fingerprint(*question, found.early and stop)
    evaluator.store.facts.put(answered, _description(found))
    return dataclasses.replace(found, provenance=dataclasses.replace(found.provenance, question=answered, bases=bases))


_ALWAYS_AVAILABLE: Final = frozenset(metric.name for metric in metrics_of(ClassMetric) if not metric.needs)


class _Description(TypedDict):
    n: Annotated[int, lambda n: n >= 0]
    total: int
    early: dict[str, bool] | None
    unlabelled: str
    clean: CleanDescription
    estimates: Annotated[dict[str, Parts], lambda estimates: estimates.keys() >= _ALWAYS_AVAILABLE]


class _WithoutControl(_Description):
    control: None


class _WithControl(_Description):
    control: _WithoutControl


def _description(found: Measurement) -> dict[str, Any]:
    """Return what need not be found out again."""
    return {
        "n": found.n,
        "total": found.total,
        "early": found.early,
        "unlabelled": found.unlabelled,
        "clean": found.clean.description(),
        "estimates": {metric: estimate.to_list() for metric, estimate in found.estimates.items()},
        "control": None if found.control is None else _description(found.control),
    }


def _known_measurement(
    known: dict[str, Any],
    provenances: Sequence[Provenance],
    models: Sequence[Model],
    images: LabelledImages,
    words: str,
    whole: Callable[[], Measurement],
) -> Measurement:
    """Return the measurement that `_description` described of the first model, with the second one as its control."""

    def whole_control() -> Measurement:
        found = whole().control
        assert found is not None
        return found

    return CachedMeasurement.of(
        whole,
        model=in_one_line(models[0].name),
        dataset=in_one_line(images.name),
        intervention=words,
        n=known["n"],
        total=known["total"],
        early=known["early"],
        unlabelled=known["unlabelled"],
        clean=CleanPerformance.from_description(known["clean"]),
        estimates={metric: Estimate.from_list(parts) for metric, parts in known["estimates"].items()},
        control=None
        if len(models) == 1
        else _known_measurement(known["control"], provenances[1:], models[1:], images, words, whole_control),
        computed=0,
        provenance=provenances[0],
    )


def require_counts(**counts: int | None) -> None:
    """Raise `BiasTransferError` for what is not a number of images."""
    for name, count in counts.items():
        if count is not None and (type(count) is not int or count < 1):
            raise BiasTransferError(f"{name}={count!r}, expected a whole number above 0")
