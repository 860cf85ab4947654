"""Each model of a session on the unchanged images: accuracy and predicted classes, once per model and dataset."""

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
        Their names.
    model_fingerprint, dataset_fingerprint
        The fingerprints of their content; the model's is empty if its content cannot be fingerprinted.
    images, total
        The number of images that were evaluated, and of all images of the dataset.
    accuracy
        The share of correctly classified images; None if the dataset's classes are not those of the model.
    classes, predicted_classes
        The number of the model's classes, and of those that are predicted for at least one image.
    most_predicted, most_labelled
        The classes with the largest share of the predictions and of the labels.
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
        """The figures as text, without the model's name."""
        total = f" of {self.total:,}" if self.images < self.total else ""
        return f"{self.accuracy_text}, n = {self.images:,}{total}; {classes_text(self)}"

    @property
    def accuracy_text(self) -> str:
        """The accuracy with its interval."""
        if self.accuracy is None:
            return "accuracy not known (the dataset's classes are not those of the model)"
        return f"accuracy {self.accuracy.text}"


def performances_of(measurement: Measurement | GapMeasurement) -> tuple[Performance, ...]:
    """Return the performance of the measured model, and of its control model if there is one."""
    own = performance_of(measurement)
    return own, *(() if measurement.control is None else performances_of(measurement.control))


def performance_of(measurement: Measurement | GapMeasurement | CleanMeasurement) -> Performance:
    """Return the performance of a measured model on unchanged images."""
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
    """Return one performance per model and dataset, in order of first appearance: the one on the most images."""
    best: dict[tuple[str, ...], Performance] = {}
    for performance in performances:
        # Without a fingerprint, two models count as the same if all of their figures are equal.
        content = performance.model_fingerprint or repr(performance)
        key = (performance.model, content, performance.dataset, performance.dataset_fingerprint)
        if key not in best or best[key].images < performance.images:
            best[key] = performance
    return list(best.values())


def titled(performances: Sequence[Performance]) -> Iterator[tuple[str, Performance]]:
    """Yield each performance after its title: model and dataset, numbered if several have the same names."""
    names = Counter((performance.model, performance.dataset) for performance in performances)
    numbers: Counter[tuple[str, str]] = Counter()
    for performance in performances:
        pair = (performance.model, performance.dataset)
        numbers[pair] += 1
        # Two checkpoints may have one name: that of their architecture, for instance.
        number = f" ({numbers[pair]})" if names[pair] > 1 else ""
        yield f"{performance.model}{number} on {performance.dataset}", performance


def title_of(performances: Sequence[Performance]) -> str:
    """Return the lowest accuracy, as part of a page's title; empty if no accuracy is defined."""
    intervals = [performance.accuracy for performance in performances if performance.accuracy]
    accuracies = [interval.value for interval in intervals if interval.value is not None]
    if not accuracies:
        return ""
    return f"accuracy {accuracies[0]:.3f}" if len(accuracies) == 1 else f"lowest accuracy {min(accuracies):.3f}"
