"""The scan: measures a model, and perhaps a control model, under each named intervention."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_biastransfer.errors import BiasTransferError, InterventionError
from pytest_biastransfer.measurement.clean_measurement import CleanMeasurement, clean_measurement
from pytest_biastransfer.measurement.measure import measure_loaded
from pytest_biastransfer.measurement.measure_ladder import measure_ladder_loaded
from pytest_biastransfer.models.deferred import model_of_spec
from pytest_biastransfer.search.ranking import Ranked, Ranking, worst_first

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.interventions import Intervention, Ladder
    from pytest_biastransfer.metrics.ladder_measurement import LadderMeasurement
    from pytest_biastransfer.metrics.measurement import Measurement
    from pytest_biastransfer.models import Model
    from pytest_biastransfer.specs.plugin_loader import PluginLoaders
    from pytest_biastransfer.store import Facts


@dataclass(frozen=True)
class ScanSpecs:
    """The spec strings of a scan, and the directory that paths in them are relative to; `control` may be None."""

    model: str
    data: str
    control: str | None
    directory: Path


@dataclass(frozen=True)
class Subject:
    """The loaded models and images of a scan, and the decision that is judged; see `decision_of`."""

    model: Model
    images: LabelledImages
    control: Model | None
    positive: tuple[int | str, ...] = ()

    @property
    def models(self) -> list[Model]:
        """The model, and the control if there is one."""
        return [self.model] if self.control is None else [self.model, self.control]


@dataclass(frozen=True)
class SkippedIntervention:
    """An intervention that could not be applied, and why."""

    name: str
    reason: str


@dataclass
class ScanResults:
    """The results of a scan so far; each step of `scan_loaded` adds to them.

    Attributes
    ----------
    interventions
        The number of interventions to measure.
    n
        The number of images of each measurement.
    computed
        The number of predictions that were computed.
    reused
        The number of predictions that were cached in an earlier session.
    measured, skipped
        The interventions that were measured, and those that could not be applied.
    performances
        The figures of each model on the unchanged images.
    ladders, measurements
        The ladders and the interventions that were measured, by their names.
    """

    interventions: int
    n: int = 0
    computed: int = 0
    reused: int = 0
    measured: list[Ranked] = field(default_factory=list)
    skipped: list[SkippedIntervention] = field(default_factory=list)
    performances: list[CleanMeasurement] = field(default_factory=list)
    ladders: dict[str, LadderMeasurement] = field(default_factory=dict)
    measurements: dict[str, Measurement] = field(default_factory=dict)

    @property
    def ranking(self) -> Ranking:
        """The ranking of the measured interventions, the worst one first."""
        reasons = {intervention.name: intervention.reason for intervention in self.skipped}
        return Ranking(worst_first(self.measured), self.measurements, self.performances, reasons)

    def count(self, computed: int, models: int) -> None:
        """Count one pass over the images by a number of models."""
        self.computed += computed
        # A model that changes while it predicts is evaluated again, and then more is computed than requested.
        self.reused += max(self.n * models - computed, 0)


def load_subject(
    specs: ScanSpecs, facts: Facts, plugins: PluginLoaders, positive: tuple[int | str, ...] = ()
) -> Subject:
    """Load the models and images of the specs; a model with cached metadata is loaded only when it is needed.

    Raises `BiasTransferError`; the message says what cannot be loaded.
    """
    from pytest_biastransfer.data import load_dataset

    with _named_in_errors("model"):
        model = model_of_spec(specs.model, specs.directory, facts, plugins.models)
    with _named_in_errors("data"):
        images = load_dataset(specs.data, directory=specs.directory, facts=facts, plugins=plugins.datasets)
    if specs.control is None:
        return Subject(model, images, None, positive)
    with _named_in_errors("control"):
        control = model_of_spec(specs.control, specs.directory, facts, plugins.models)
        return Subject(model, images, control, positive)


@contextlib.contextmanager
def _named_in_errors(role: str) -> Iterator[None]:
    try:
        yield
    except BiasTransferError as error:
        raise BiasTransferError(f"{role}: {error}") from error


def scan_loaded(
    evaluator: Evaluator, subject: Subject, interventions: Mapping[str, Intervention], results: ScanResults
) -> Iterator[str]:
    """Measure each of the interventions and add it to the results; yield the name of each step before it begins.

    Each model passes over the images once for each intervention, and once for the unchanged images.

    Raises
    ------
    BiasTransferError
        If the model, the control or the images cannot be evaluated at all.
    """
    yield "images as they are"
    clean = [evaluator.predictions(model, subject.images) for model in subject.models]
    results.performances = [
        clean_measurement(model, subject.images, predictions, subject.positive)
        for model, predictions in zip(subject.models, clean, strict=True)
    ]
    results.n = len(clean[0].indices)
    results.count(sum(predictions.computed for predictions in clean), len(clean))
    for number, (name, intervention) in enumerate(interventions.items(), start=1):
        yield f"{number} of {len(interventions)}: {name}"
        try:
            measurement = measure_loaded(
                evaluator,
                subject.model,
                subject.images,
                intervention,
                control=subject.control,
                positive=subject.positive,
            )
        except BiasTransferError as error:
            # An error of the first measurement that the intervention has not caused would occur in all others too.
            if not (results.measured or isinstance(error, InterventionError) or intervention.mask_names):
                raise
            results.skipped.append(SkippedIntervention(name, str(error)))
        else:
            results.measured.append(Ranked.of(name, measurement))
            results.measurements[name] = measurement
            results.count(measurement.computed, len(clean))


def scan_ladders(
    evaluator: Evaluator, subject: Subject, ladders: Mapping[str, Ladder], results: ScanResults
) -> Iterator[str]:
    """Measure each of the ladders at all strengths and add it to the results; yield its name before it begins.

    What cannot be measured is skipped: model and images were evaluated for the interventions before.
    """
    metric = "asr" if subject.control is None else "asr_excess"
    for name, ladder in ladders.items():
        yield name
        try:
            measured = measure_ladder_loaded(
                evaluator,
                subject.model,
                subject.images,
                ladder,
                control=subject.control,
                positive=subject.positive,
                means=[metric],
            )
        except BiasTransferError as error:
            results.skipped.append(SkippedIntervention(name, str(error)))
        else:
            results.ladders[name] = measured
            for measurement in measured.measurements:
                assert measurement is not None
                results.count(measurement.computed, len(subject.models))
