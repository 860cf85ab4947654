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
    decision
        The name of the positive, of a decision of yes or no; empty for predicted classes.
    unknown
        How many of the images have an unknown label, and are left out of the accuracy.
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
    decision: str = ""
    unknown: int = 0

    @property
    def figures(self) -> str:
        """The figures as text, without the model's name."""
        total = f" of {self.total:,}" if self.images < self.total else ""
        unknown = f", {self.unknown:,} with an unknown label" if self.unknown else ""
        return f"{self.accuracy_text}, n = {self.images:,}{total}{unknown}; {classes_text(self)}"

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
        decision=clean.decision,
        unknown=0 if clean.accuracy is None else clean.images - clean.accuracy.n,
    )


def once_each(performances: Iterable[Performance]) -> list[Performance]:
    """Return one performance per model, dataset and decision, in order of first appearance: that on most images."""
    best: dict[tuple[str, ...], Performance] = {}
    for performance in performances:
        # Without a fingerprint, two models count as the same if all of their figures are equal.
        content = performance.model_fingerprint or repr(performance)
        subject = (performance.model, content, performance.dataset, performance.dataset_fingerprint)
        key = (*subject, performance.decision)
        if key not in best or best[key].images < performance.images:
            best[key] = performance
    return list(best.values())


def titled(performances: Sequence[Performance]) -> Iterator[tuple[str, Performance]]:
    """Yield each performance after its title: model and dataset, numbered if several have the same names."""
    names = Counter(map(_names, performances))
    numbers: Counter[tuple[str, ...]] = Counter()
    for performance in performances:
        own = _names(performance)
        numbers[own] += 1
        # Two checkpoints may have one name: that of their architecture, for instance.
        number = f" ({numbers[own]})" if names[own] > 1 else ""
        decision = f", {performance.decision}" if performance.decision else ""
        yield f"{performance.model}{number} on {performance.dataset}{decision}", performance


def _names(performance: Performance) -> tuple[str, ...]:
    return performance.model, performance.dataset, performance.decision


def title_of(performances: Sequence[Performance]) -> str:
    """Return the lowest accuracy, as part of a page's title; empty if no accuracy is defined."""
    intervals = [performance.accuracy for performance in performances if performance.accuracy]
    accuracies = [interval.value for interval in intervals if interval.value is not None]
    if not accuracies:
        return ""
    return f"accuracy {accuracies[0]:.3f}" if len(accuracies) == 1 else f"lowest accuracy {min(accuracies):.3f}"
