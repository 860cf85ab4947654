"""How well each model of a session does on unchanged images: what is said of it, once per model and dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_biastransfer.metrics.clean_performance import ClassShare, classes_text
from pytest_biastransfer.reporting.figures import Interval, interval_of

if TYPE_CHECKING:
    from pytest_biastransfer.measurement.clean_measurement import CleanMeasurement
    from pytest_biastransfer.metrics.gap_measurement import GapMeasurement
    from pytest_biastransfer.metrics.measurement import Measurement


@dataclass(frozen=True)
class Performance:
    """One model on the unchanged images of one dataset.

    Attributes
    ----------
    model, dataset
        Names.
    model_fingerprint, dataset_fingerprint
        Their content; of the model empty where its content cannot be told.
    images, total
        How many images were looked at, of how many.
    accuracy
        Share of rightly classified images; None where the dataset's classes are not those of the model.
    classes, predicted_classes
        How many classes the model has, and how many of them are predicted for any image.
    most_predicted, most_labelled
        The classes with the largest shares of the predictions and of the labels.
    defect
        Why the model is degenerate; empty if it is not.
    """

    model: str
    dataset: str
    model_fingerprint: str
    dataset_fingerprint: str
    images: int
    total: int
    accuracy: Interval | None
    classes: int
    predicted_classes: int
    most_predicted: ClassShare
    most_labelled: ClassShare
    defect: str

    @property
    def figures(self) -> str:
        """What is said of the model, without its name."""
        total = f" of {self.total:,}" if self.images < self.total else ""
        return f"{self.accuracy_text}, n = {self.images:,}{total}; {classes_text(self)}"

    @property
    def accuracy_text(self) -> str:
        """The accuracy with its interval."""
        if self.accuracy is None:
            return "accuracy not known (the dataset's classes are not those of the model)"
        return f"accuracy {self.accuracy.text}"


def performances_of(measurement: Measurement | GapMeasurement) -> tuple[Performance, ...]:
    """Return how well the measured model does, and its control model if there is one."""
    own = performance_of(measurement)
    return own, *(() if measurement.control is None else performances_of(measurement.control))


def performance_of(measurement: Measurement | GapMeasurement | CleanMeasurement) -> Performance:
    """Return how well a measured model does on unchanged images."""
    clean = measurement.clean
    return Performance(
        model=measurement.model,
        dataset=measurement.dataset,
        model_fingerprint=measurement.provenance.model or "",
        dataset_fingerprint=measurement.provenance.dataset,
        images=clean.images,
        total=measurement.total,
        accuracy=None if clean.accuracy is None else interval_of(clean.accuracy),
        classes=clean.classes,
        predicted_classes=clean.predicted_classes,
        most_predicted=clean.most_predicted,
        most_labelled=clean.most_labelled,
        defect=clean.defect,
    )


def once_each(performances: Iterable[Performance]) -> list[Performance]:
    """Return one of each model and dataset, that on most images, in the order in which they come first."""
    best: dict[tuple[str, ...], Performance] = {}
    for found in performances:
        # Models whose content cannot be told are told apart by what they do.
        content = found.model_fingerprint or repr(found)
        key = (found.model, content, found.dataset, found.dataset_fingerprint)
        if key not in best or best[key].images < found.images:
            best[key] = found
    return list(best.values())


def titled(performances: Sequence[Performance]) -> Iterator[tuple[str, Performance]]:
    """Yield each with its title: the model and the dataset; those of the same names are numbered."""
    names = Counter((found.model, found.dataset) for found in performances)
    numbers: Counter[tuple[str, str]] = Counter()
    for found in performances:
        pair = (found.model, found.dataset)
        numbers[pair] += 1
        number = f" ({numbers[pair]})" if names[pair] > 1 else ""
        yield f"{found.model}{number} on {found.dataset}", found


def title_of(performances: Sequence[Performance]) -> str:
    """Return the lowest accuracy for a title; empty where none is known."""
    known = [found.accuracy.value for found in performances if found.accuracy and found.accuracy.value is not None]
    if not known:
        return ""
    return f"accuracy {known[0]:.3f}" if len(known) == 1 else f"lowest accuracy {min(known):.3f}"
