"""A scan: one model, beside a control perhaps, under each intervention that has a name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_biastransfer.errors import BiasTransferError, InterventionError
from pytest_biastransfer.measurement.clean_measurement import CleanMeasurement, clean_measurement
from pytest_biastransfer.measurement.measure import measure_loaded
from pytest_biastransfer.models.deferred import model_of_spec
from pytest_biastransfer.search.ranking import Ranked

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.models import Model
    from pytest_biastransfer.models.scheme import PluginLoader
    from pytest_biastransfer.store import Facts


@dataclass(frozen=True)
class ScanSpecs:
    """What is scanned, by spec strings, and what relative paths in them are relative to.

    The `control` may be None.
    """

    model: str
    data: str
    control: str | None
    directory: Path


@dataclass(frozen=True)
class Subject:
    """What is scanned, loaded."""

    model: Model
    images: LabelledImages
    control: Model | None

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
    """What has become known so far; more with each step of `scan`.

    Attributes
    ----------
    interventions
        How many there are to measure.
    n
        How many images each was measured on.
    computed
        How many images were run through a model.
    reused
        How many predictions were known from an earlier session.
    measured, refused
        What became of the interventions.
    performances
        How well the models do on the images as they are.
    """

    interventions: int
    n: int = 0
    computed: int = 0
    reused: int = 0
    measured: list[Ranked] = field(default_factory=list)
    refused: list[SkippedIntervention] = field(default_factory=list)
    performances: list[CleanMeasurement] = field(default_factory=list)

    def count(self, computed: int, models: int) -> None:
        """Count one pass over the images by so many models."""
        self.computed += computed
        # A model that changes while it predicts is another one each time: then more is computed than is asked for.
        self.reused += max(self.n * models - computed, 0)


def load_subject(specs: ScanSpecs, facts: Facts, others: PluginLoader) -> Subject:
    """Load what the specs name, a model that is known from an earlier session when it is needed.

    Raises `BiasTransferError`, which says what cannot be loaded.
    """
    from pytest_biastransfer.data import load_dataset

    with _place("model"):
        model = model_of_spec(specs.model, specs.directory, facts, others)
    with _place("data"):
        images = load_dataset(specs.data, directory=specs.directory, facts=facts)
    if specs.control is None:
        return Subject(model, images, None)
    with _place("control"):
        return Subject(model, images, model_of_spec(specs.control, specs.directory, facts, others))


@contextlib.contextmanager
def _place(role: str) -> Iterator[None]:
    try:
        yield
    except BiasTransferError as error:
        raise BiasTransferError(f"{role}: {error}") from error


def scan(
    evaluator: Evaluator, subject: Subject, interventions: Mapping[str, Intervention], results: ScanResults
) -> Iterator[str]:
    """Measure each of the interventions and add it to the results; yield in words what comes next.

    The clean images are evaluated once: with each of the models, there are as many passes over the images as
    interventions and one.

    Raises
    ------
    BiasTransferError
        If the model, the control or the images cannot be evaluated at all.
    """
    yield "images as they are"
    clean = [evaluator.predictions(model, subject.images) for model in subject.models]
    results.performances = [
        clean_measurement(model, subject.images, predictions)
        for model, predictions in zip(subject.models, clean, strict=True)
    ]
    results.n = len(clean[0].indices)
    results.count(sum(found.computed for found in clean), len(clean))
    for place, (name, intervention) in enumerate(interventions.items(), start=1):
        yield f"{place} of {len(interventions)}: {name}"
        try:
            found = measure_loaded(evaluator, subject.model, subject.images, intervention, control=subject.control)
        except BiasTransferError as error:
            # What the first one meets, and is not of its own making, would stop each of the others too.
            if not (results.measured or isinstance(error, InterventionError) or intervention.mask_names):
                raise
            results.refused.append(SkippedIntervention(name, str(error)))
        else:
            results.measured.append(Ranked.of(name, found))
            results.count(found.computed, len(clean))
