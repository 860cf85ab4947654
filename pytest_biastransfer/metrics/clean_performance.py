"""How well a model does on unchanged images: whether its bias figures can mean anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Protocol, TypedDict

from pytest_biastransfer.metrics.statistics.estimate import Estimate, Parts


@dataclass(frozen=True)
class ClassShare:
    """A class and its share of the images, in [0, 1]."""

    name: str
    share: float

    @property
    def percent(self) -> str:
        """The share in percent.

        >>> ClassShare("dog", 0.1314).percent, ClassShare("dog", 1.0).percent
        ('13.1 %', '100 %')
        """
        return f"{100 * self.share:.3g} %"


class _Predicting(Protocol):
    """Which classes a model predicts, beside the labels; see `CleanPerformance`."""

    @property
    def classes(self) -> int: ...
    @property
    def predicted_classes(self) -> int: ...
    @property
    def most_predicted(self) -> ClassShare: ...
    @property
    def most_labelled(self) -> ClassShare: ...


def classes_text(performance: _Predicting) -> str:
    """Return in words which classes a model predicts."""
    return (
        f"{performance.predicted_classes:,} of {performance.classes:,} classes predicted, "
        f"at most {performance.most_predicted.percent} {performance.most_predicted.name} "
        f"(labels: {performance.most_labelled.percent} {performance.most_labelled.name})"
    )


class _ShareDescription(TypedDict):
    name: str
    share: Annotated[float, lambda share: 0 <= share <= 1]


class CleanDescription(TypedDict):
    """What `CleanPerformance.description` gives."""

    images: Annotated[int, lambda images: images >= 0]
    accuracy: Parts | None
    classes: int
    predicted_classes: int
    most_predicted: _ShareDescription
    most_labelled: _ShareDescription
    defect: str
    decision: str


@dataclass(frozen=True)
class CleanPerformance:
    """One model on the unchanged images of one dataset.

    Attributes
    ----------
    images
        How many images it was measured on.
    accuracy
        Share of correctly classified images, with its 95 % interval; None where the dataset's classes are not those of
        the model.
    classes
        How many classes the model has.
    predicted_classes
        How many of them are predicted for any image.
    most_predicted
        The class with the largest share of the predictions.
    most_labelled
        The class with the largest share of the labels: a class of the model, or, without an accuracy, of the dataset.
    defect
        Why the model is degenerate, in words; empty if it is not.
    decision
        The name of the positive, of a decision of yes or no; empty for predicted classes.
    """

    images: int
    accuracy: Estimate | None
    classes: int
    predicted_classes: int
    most_predicted: ClassShare
    most_labelled: ClassShare
    defect: str
    decision: str = ""

    def __str__(self) -> str:
        accuracy = "accuracy not known" if self.accuracy is None else f"accuracy {self.accuracy.text()}"
        return f"{accuracy}; {classes_text(self)}"

    def description(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self) | {"accuracy": None if self.accuracy is None else self.accuracy.to_list()}

    @classmethod
    def from_description(cls, content: Mapping[str, Any]) -> CleanPerformance:
        """Return what `description` described."""
        accuracy = content["accuracy"]
        return cls(
            images=content["images"],
            accuracy=None if accuracy is None else Estimate.from_list(accuracy),
            classes=content["classes"],
            predicted_classes=content["predicted_classes"],
            most_predicted=ClassShare(content["most_predicted"]["name"], content["most_predicted"]["share"]),
            most_labelled=ClassShare(content["most_labelled"]["name"], content["most_labelled"]["share"]),
            defect=content["defect"],
            decision=content["decision"],
        )
