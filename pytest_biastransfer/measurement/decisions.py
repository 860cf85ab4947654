"""What is judged of a model's outputs: the predicted class, or a decision of yes or no."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_biastransfer.data.label_mapping import ModelLabels, model_labels
from pytest_biastransfer.data.label_table import UNKNOWN
from pytest_biastransfer.errors import BiasTransferError, DatasetError, ModelError, nearest
from pytest_biastransfer.metrics.prevalence import prevalence_cut
from pytest_biastransfer.models.thresholds import DEFAULT, log_odds
from pytest_biastransfer.plain_text import in_one_line
from pytest_biastransfer.specs.class_names import composed

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.data.label_table import LabelTable
    from pytest_biastransfer.evaluation.predictions import Predictions
    from pytest_biastransfer.models import Model

    Integers = npt.NDArray[np.int64]

# The class of a decision of yes; that of no is 0.
POSITIVE: Final = 1


@dataclass(frozen=True)
class Decision:
    """What is judged of one model's predictions on one dataset.

    Attributes
    ----------
    names
        The names of the classes; of a decision of yes or no, "not" and the name of the positive, then the name.
    labels
        The true class of each image of the dataset, int64 [images], -1 where it is unknown; None where the labels do
        not tell.
    reason
        Why they do not; else empty.
    output
        The output that is compared with a threshold; None for the classes of a softmax.
    threshold
        From which probability on it is positive.
    positive
        The classes of a softmax that count as positive; none where each class is a class of its own.
    is_logit
        Whether the output is a logit, and not a probability.
    """

    names: tuple[str, ...]
    labels: Integers | None
    reason: str = ""
    output: int | None = None
    threshold: float | str = DEFAULT
    positive: tuple[int, ...] = ()
    is_logit: bool = True

    @property
    def is_binary(self) -> bool:
        """Whether it is a decision of yes or no."""
        return self.output is not None or bool(self.positive)

    def classes(self, predictions: Predictions, clean: Predictions) -> Integers:
        """Return the predicted classes, int64 [images]; `clean` are those of the same model on unchanged images.

        A threshold at prevalence is found on the unchanged images whose label is known.
        """
        if self.output is None:
            predicted: Integers = predictions.values.astype(np.int64)
            return np.isin(predicted, self.positive).astype(np.int64) if self.positive else predicted
        return (self.scores(predictions) > self.cut(clean)).astype(np.int64)

    def scores(self, predictions: Predictions) -> npt.NDArray[np.float32]:
        """Return the output that is judged: a logit or a probability, float32 [images]."""
        scores: npt.NDArray[np.float32] = predictions.values[:, self.output]
        return scores

    def probability(self, outputs: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
        """Return the probability of a prediction, [images], from outputs [images, outputs].

        The prediction is that of the outputs `predicted`, [images, outputs], or [1, outputs] for one of all images. A
        threshold at prevalence counts as 0.5 here.
        """
        if self.output is not None:
            threshold = self.threshold if isinstance(self.threshold, float) else DEFAULT
            positive, reference = (
                one[:, self.output].sigmoid() if self.is_logit else one[:, self.output] for one in (outputs, predicted)
            )
            return positive.where(reference > threshold, 1 - positive)
        probabilities = outputs.softmax(dim=1)
        classes = predicted.argmax(dim=1, keepdim=True).expand(len(outputs), 1)
        if not self.positive:
            return probabilities.gather(1, classes)[:, 0]
        is_positive = (classes == outputs.new_tensor(self.positive)).any(dim=1)
        positive = probabilities[:, list(self.positive)].sum(dim=1)
        return positive.where(is_positive, 1 - positive)

    def cut(self, clean: Predictions) -> float:
        """Return what a positive output is above.

        Raises `BiasTransferError` for a threshold at prevalence where the labels are unknown.
        """
        if isinstance(self.threshold, float):
            return log_odds(self.threshold) if self.is_logit else self.threshold
        if self.labels is None:
            raise BiasTransferError(f"threshold='prevalence' needs labels: {self.reason}")
        labels = self.labels[clean.indices]
        known = labels != UNKNOWN
        return prevalence_cut(self.scores(clean)[known], int(np.count_nonzero(labels[known] == POSITIVE)))


def decision_of(model: Model, images: LabelledImages, positive: Sequence[int | str], outputs: int) -> Decision:
    """Return what is judged of a model's predictions on images.

    Parameters
    ----------
    positive
        The names or numbers of the classes, or of the one output, that count as positive; none for the predicted class.
    outputs
        The number of outputs of the model.

    Raises
    ------
    BiasTransferError
        If `positive` names no class or output, or if a model with several outputs, one a label, needs it.
    """
    if model.classes is not None and len(model.classes) != outputs:
        raise ModelError(
            f"model {model.name} has {outputs} outputs, but {len(model.classes)} class names; "
            f"expected as many names as outputs"
        )
    if model.outputs != "softmax":
        return _of_output(model, images, positive, outputs)
    labels = _class_labels(model, images, outputs)
    names = class_names_of(model, images, outputs, labels.indices is not None)
    if not positive:
        return Decision(names, labels.indices, labels.reason)
    numbers = tuple(target_classes(positive, names, "positive"))
    if len(set(numbers)) == len(names):
        raise BiasTransferError(f"positive={list(positive)!r:.100} is all classes of {model.name}; leave some out")
    name = " or ".join(names[number] for number in numbers)
    table = images.label_table
    if table is not None:
        return Decision(_yes_and_no(name), *_from_table(table, [names[number] for number in numbers]), positive=numbers)
    own = None if labels.indices is None else np.isin(labels.indices, numbers).astype(np.int64)
    return Decision(_yes_and_no(name), own, labels.reason, positive=numbers)


def _of_output(model: Model, images: LabelledImages, positive: Sequence[int | str], outputs: int) -> Decision:
    """Return the decision by one output of a model that has one a label."""
    table = images.label_table
    names = _output_names(model, table, outputs)
    if not positive and outputs > 1:
        raise BiasTransferError(
            f"model {model.name} has {outputs} outputs, one for each label: {', '.join(names):.300}; say which is "
            f"judged, such as positive={names[0]!r}, or positive=each({names[0]!r}, {names[1]!r}) for a test of each"
        )
    numbers = target_classes(positive, names, "positive") if positive else [0]
    if len(numbers) > 1:
        raise BiasTransferError(
            f"positive={list(positive)!r:.100}: each output of {model.name} is a decision of its own; name one, or "
            f"write positive=each(...) for a test of each"
        )
    (output,) = numbers
    name = names[output]
    labels, reason = (
        _of_class_numbers(model, images, outputs, name)
        if table is None
        else _column(table, model, output, outputs, images)
    )
    threshold = model.threshold
    own = threshold.get(name, DEFAULT) if isinstance(threshold, Mapping) else threshold
    return Decision(
        _yes_and_no(name), labels, reason, output=output, threshold=own, is_logit=model.outputs == "sigmoid"
    )


def _yes_and_no(name: str) -> tuple[str, str]:
    return f"not {name}", name


def _output_names(model: Model, table: LabelTable | None, outputs: int) -> tuple[str, ...]:
    if model.classes is not None:
        return tuple(map(in_one_line, model.classes))
    if table is not None and table.names is not None and len(table.names) == outputs:
        return tuple(map(in_one_line, table.names))
    return tuple(map(str, range(outputs))) if outputs > 1 else ("positive",)


def _column(
    table: LabelTable, model: Model, output: int, outputs: int, images: LabelledImages
) -> tuple[Integers | None, str]:
    """Return the labels of one output: by name where both have names, else by position."""
    if table.names is not None and model.classes is not None:
        return _from_table(table, [model.classes[output]])
    if table.states.shape[1] != outputs:
        raise DatasetError(
            f"{images.name} has {table.states.shape[1]} labels for each image, and model {model.name} {outputs} "
            f"outputs; expected as many, or names of both: classes= of the model, and names of the labels"
        )
    return table.states[:, output].astype(np.int64), ""


def _from_table(table: LabelTable, names: Sequence[str]) -> tuple[Integers | None, str]:
    """Return whether any of several labels is true of each image, -1 where that is unknown."""
    if table.names is None:
        return None, f"its labels have no names, and {names[0]!r} is one; name them in the order of the labels"
    own = list(map(composed, table.names))
    missing = [name for name in names if composed(name) not in own]
    if missing:
        return None, f"it has no label {missing[0]!r}; {nearest(missing[0], table.names)}"
    return table.any_of([own.index(composed(name)) for name in names]).astype(np.int64), ""


def _of_class_numbers(model: Model, images: LabelledImages, outputs: int, name: str) -> tuple[Integers | None, str]:
    """Return the labels of a single output from class numbers 0 and 1, or from two class names."""
    labels = images.labels
    if outputs > 1 or labels.max() > 1:
        found = f"{outputs} {'output' if outputs == 1 else 'outputs'}"
        several = f"{outputs} labels for each image, each 1, 0, or -1 for unknown"
        raise DatasetError(
            f"{images.name} has one class for each image, from {int(labels.min())} to {int(labels.max())}, and model "
            f"{model.name} declares outputs={model.outputs!r} and has {found}; expected "
            f"{'labels 0 and 1' if outputs == 1 else several}"
        )
    classes = images.names_by_number
    if not classes or model.classes is None:
        return labels, ""
    numbers = [number for number, own in classes.items() if composed(own) == composed(name)]
    if not numbers:
        own = ", ".join(classes.values())
        return None, f"none of its classes ({own:.100}) is called {name!r}, as the model's output is"
    return (labels == numbers[0]).astype(np.int64), ""


def _class_labels(model: Model, images: LabelledImages, outputs: int) -> ModelLabels:
    if images.label_table is not None:
        return ModelLabels(None, "it has several labels for each image; name the one that is judged with positive=")
    return model_labels(images, model.classes, outputs, model.class_order, model=model.name)


def class_names_of(model: Model, images: LabelledImages, outputs: int, labels_fit: bool) -> tuple[str, ...]:
    """Return the names of a model's classes, or their numbers; the dataset's where they have the same labels."""
    if model.classes is not None:
        return tuple(map(in_one_line, model.classes))
    if images.classes is not None and images.class_map is None and labels_fit:
        return tuple(map(in_one_line, images.classes))
    return tuple(map(str, range(outputs)))


def target_classes(target: Sequence[int | str], names: Sequence[str], keyword: str = "target") -> list[int]:
    """Return the numbers of classes that are the value of a keyword argument.

    Raises `BiasTransferError` for a class that the model does not have.
    """
    return [_number_of(class_or_name, names, keyword) for class_or_name in target]


def _number_of(requested: int | str, names: Sequence[str], keyword: str) -> int:
    if isinstance(requested, str):
        requested = in_one_line(requested)
        same = [number for number, name in enumerate(names) if composed(name) == composed(requested)]
        if not same and list(names) == list(map(str, range(len(names)))):
            raise BiasTransferError(
                f"{keyword}={requested!r}: the classes of the model have no names; give a number from 0 to "
                f"{len(names) - 1}, or name them: Model(module, classes=[...]), or classes=FILE in its spec"
            )
        if not same:
            raise BiasTransferError(f"{keyword}={requested!r} is not a class of the model; {nearest(requested, names)}")
        if len(same) > 1:
            numbers = " and ".join(map(str, same))
            raise BiasTransferError(
                f"{keyword}={requested!r}: the model has several classes of this name; give the number of one: "
                f"{numbers}"
            )
        return same[0]
    if not 0 <= requested < len(names):
        raise BiasTransferError(
            f"{keyword}={requested} is not a class of the model, which has the classes 0 to {len(names) - 1}"
        )
    return requested
