"""`measure`: from a model, a dataset and an intervention to a measurement."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypedDict

from pytest_biastransfer.data import as_images
from pytest_biastransfer.evaluation.canary import undisturbed
from pytest_biastransfer.evaluation.keys import PredictionKey
from pytest_biastransfer.evaluation.progress_bar import images_shown
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.interventions import BUILT_IN, Intervention, as_intervention
from pytest_biastransfer.judgement.expectation import require_classes, require_confidence, require_target
from pytest_biastransfer.measurement.flip_pictures import FlipPictures
from pytest_biastransfer.measurement.inputs import evaluator_for
from pytest_biastransfer.metrics.cached_measurement import CachedMeasurement
from pytest_biastransfer.metrics.catalogue import metrics_of
from pytest_biastransfer.metrics.clean_performance import CleanDescription, CleanPerformance
from pytest_biastransfer.metrics.measurement import Measurement, Provenance
from pytest_biastransfer.metrics.metric import ClassMetric
from pytest_biastransfer.metrics.statistics.estimate import Estimate, Parts
from pytest_biastransfer.models import Model, as_model
from pytest_biastransfer.plain_text import in_one_line

if TYPE_CHECKING:
    import torch

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.judgement.early_stop import EarlyStop
    from pytest_biastransfer.measurement.inputs import Target


def measure(
    model: Model | torch.nn.Module | str,
    dataset: Any,
    intervention: Intervention | str,
    *,
    control: Model | torch.nn.Module | str | None = None,
    positive: Target | None = None,
    target: Target | None = None,
    confidence: float = 0.95,
    device: str | torch.device = "auto",
    batch_size: int | None = None,
    max_images: int | None = None,
    store: Path | str | None = None,
    progress: bool = False,
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
    positive
        The decision that is judged: one or several classes, by name or number, or one output of a model with
        ``outputs="sigmoid"``. Each image is then positive or not, and all figures are of that; the target is the
        positive. Default: the predicted class, or the only output.
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
        A directory that stores predictions, so that nothing is computed twice.
    progress
        Whether to show a progress bar, which needs tqdm.

    Raises
    ------
    BiasTransferError
        If the model, the dataset or the intervention cannot be used; the message says what to change.

    Examples
    --------
    >>> import torch
    >>> from pytest_biastransfer import Square, measure
    >>> brightest_channel = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> reddish = [(torch.tensor([0.4, 0.3, 0.3]).reshape(3, 1, 1).expand(3, 8, 8), 0)] * 10
    >>> measurement = measure(brightest_channel, reddish, Square(size=0.5, color="blue"))
    >>> measurement.asr, measurement.most_gained.index
    (1 [0.692, 1], 2)
    """
    evaluator = evaluator_for(device, store, batch_size=batch_size, max_images=max_images)
    own, images = as_model(model, "model"), as_images(dataset, "dataset")
    other = None if control is None else as_model(control, "control")
    passes = 2 if other is None else 4
    with images_shown([evaluator], "measure", passes * evaluator.count(images), shown=progress):
        return measure_loaded(
            evaluator,
            own,
            images,
            as_intervention(intervention, "intervention"),
            control=other,
            positive=require_classes("positive", positive),
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
    positive: Sequence[int | str] = (),
    target: Sequence[int | str] = (),
    confidence: float = 0.95,
    stop: EarlyStop | None = None,
    description: str | None = None,
) -> Measurement:
    """Measure with an existing evaluator, and with a loaded model, dataset and intervention.

    The estimates of an earlier measurement, from any session, are cached under its key. Then predictions are read only
    if more than the estimates is asked for.

    Parameters
    ----------
    stop
        When to stop before all images are evaluated; None to evaluate all.
    description
        The intervention in reports; default: its declaration.
    """
    models = [model] if control is None else [model, control]
    request = _Request(
        evaluator,
        models,
        images,
        intervention,
        positive,
        target,
        confidence,
        stop,
        BUILT_IN.described(intervention) if description is None else description,
    )
    return undisturbed(request.measurement)


@dataclass(frozen=True)
class _Request:
    """What is to be measured: on the first model, and on the second one as its control."""

    evaluator: Evaluator
    models: Sequence[Model]
    images: LabelledImages
    intervention: Intervention
    positive: Sequence[int | str]
    target: Sequence[int | str]
    confidence: float
    stop: EarlyStop | None
    description: str

    def measurement(self) -> Measurement:
        """Return the cached measurement, or measure now."""
        evaluator, images = self.evaluator, self.images
        keys = [key for model in self.models for key in evaluator.keys(model, images, [None, self.intervention])]
        for model, key in zip(self.models, keys[1::2], strict=True):
            evaluator.verify_loaded(model, images, key, self.intervention, self.description)
        if not all(key.portable for key in keys):
            return dataclasses.replace(self._measure(self.stop, keys), album=self._album())
        cached = self._cached(keys)
        if cached is not None:
            return cached
        measurement = self._measure(self.stop, keys)
        question = self._question(keys, measurement.early and self.stop)
        evaluator.store.facts.put(question, _description(measurement))
        provenance = dataclasses.replace(measurement.provenance, question=question, bases=_bases(keys))
        return dataclasses.replace(measurement, provenance=provenance, album=self._album())

    def _album(self) -> FlipPictures:
        return FlipPictures(self.images, self.models[0].preprocess, self.intervention)

    def _cached(self, keys: Sequence[PredictionKey]) -> Measurement | None:
        # A figure of an earlier session need not come from the predictions that this one has verified.
        if self.evaluator.verifies_all:
            return None
        form = _WithoutControl if len(self.models) == 1 else _WithControl
        # A measurement of all images is better than one that stopped early.
        for stop in (None, self.stop) if self.stop else (None,):
            question = self._question(keys, stop)
            description = self.evaluator.store.facts.get(question, form)
            if description is not None:
                provenances = [
                    Provenance(key.portable_model, self.images.fingerprint, model_question, _bases(keys))
                    for key, model_question in zip(keys[::2], (question, None), strict=False)
                ]
                measure_again = functools.partial(self._measure, stop)
                return self._from_description(description, provenances, self.models, measure_again)
        return None

    def _question(self, keys: Sequence[PredictionKey], stop: object) -> str:
        """Return the hash of everything that the estimates depend on."""
        names = [self.images.naming, *(model.judging for model in self.models)]
        return fingerprint(
            "estimates and clean performance",
            [key.text for key in keys],
            names,
            self.evaluator.max_images,
            self.positive,
            self.target,
            self.confidence,
            # A measurement that was cached before a metric was added lacks it.
            [metric.name for metric in metrics_of(ClassMetric)],
            stop,
        )

    def _measure(self, stop: EarlyStop | None, keys: Sequence[PredictionKey] | None = None) -> Measurement:
        from pytest_biastransfer.measurement.from_predictions import measurement_from_predictions

        return measurement_from_predictions(
            self.evaluator,
            self.models,
            self.images,
            self.intervention,
            self.target,
            self.confidence,
            description=self.description,
            positive=self.positive,
            keys=keys,
            stop=stop,
        )

    def _from_description(
        self,
        description: dict[str, Any],
        provenances: Sequence[Provenance],
        models: Sequence[Model],
        measure_again: Callable[[], Measurement],
    ) -> Measurement:
        """Return the measurement that `_description` described of the first model, with the second as its control."""

        def measure_control_again() -> Measurement:
            control = measure_again().control
            assert control is not None
            return control

        return CachedMeasurement.of(
            measure_again,
            model=in_one_line(models[0].name),
            dataset=in_one_line(self.images.name),
            intervention=self.description,
            n=description["n"],
            total=description["total"],
            early=description["early"],
            unlabelled=description["unlabelled"],
            clean=CleanPerformance.from_description(description["clean"]),
            estimates={metric: Estimate.from_list(numbers) for metric, numbers in description["estimates"].items()},
            control=None
            if len(models) == 1
            else self._from_description(description["control"], provenances[1:], models[1:], measure_control_again),
            computed=0,
            provenance=provenances[0],
            album=self._album() if models is self.models else None,
        )


def _bases(keys: Sequence[PredictionKey]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key.basis for key in keys))


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


def _description(measurement: Measurement) -> dict[str, Any]:
    """Return the figures of a measurement as plain data, for the cache."""
    return {
        "n": measurement.n,
        "total": measurement.total,
        "early": measurement.early,
        "unlabelled": measurement.unlabelled,
        "clean": measurement.clean.description(),
        "estimates": {metric: estimate.to_list() for metric, estimate in measurement.estimates.items()},
        "control": None if measurement.control is None else _description(measurement.control),
    }
