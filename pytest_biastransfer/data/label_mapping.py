"""Maps the labels of a dataset to the indices of a model's logits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_biastransfer.errors import DatasetError
from pytest_biastransfer.specs.class_names import composed, nearest_name
from pytest_biastransfer.specs.class_order import ClassOrder, ambiguity, natural_order

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data.class_map import ClassMap
    from pytest_biastransfer.data.labelled_images import LabelledImages

_MOST_LISTED: Final = 5


@dataclass(frozen=True)
class ModelLabels:
    """The labels of a dataset as indices of a model's logits.

    Attributes
    ----------
    indices
        int64 of shape [images]; None where the classes cannot be matched.
    reason
        Why they cannot be matched, and what to type; else empty.
    """

    indices: npt.NDArray[np.int64] | None
    reason: str = ""


def labels_for(
    images: LabelledImages, model_classes: Sequence[str] | None, outputs: int, order: ClassOrder | None = None
) -> npt.NDArray[np.int64] | None:
    """Return the labels as indices of the model's `outputs` logits, or None where the classes cannot be matched."""
    return model_labels(images, model_classes, outputs, order).indices


def model_labels(
    images: LabelledImages,
    model_classes: Sequence[str] | None,
    outputs: int,
    order: ClassOrder | None = None,
    *,
    model: str = "",
) -> ModelLabels:
    """Return the labels as indices of the model's `outputs` logits, or the reason why they cannot be matched.

    `model` is its name, for the error message of a label that it has no logit for.

    The dataset's map counts first. Without one, classes are matched by name where both dataset and model have names.
    Where the model has none, the labels are taken as they are, provided that the dataset has no names either, or as
    many as there are logits; its names are then sorted in the `order` of the model's library. Anything else would be
    a guess.
    """
    if images.class_map is not None:
        return ModelLabels(_by_map(images, images.class_map, model_classes, outputs))
    if model_classes is not None and images.names_by_number:
        return _by_name(images, images.names_by_number, model_classes)
    _require_outputs(images, outputs, model)
    if images.classes is not None and len(images.classes) != outputs:
        return ModelLabels(None, _other_count(images, images.classes, outputs))
    if model_classes is not None and list(model_classes) != list(map(str, range(outputs))):
        return ModelLabels(None, _no_names(images, model_classes))
    if images.classes is None:
        return ModelLabels(images.labels)
    return _by_order(images, images.classes, order)


def _require_outputs(images: LabelledImages, outputs: int, model: str) -> None:
    labels = images.labels
    if labels.max() >= outputs:
        index = int(labels.argmax())
        named = f"the model {model}" if model else "the model"
        raise DatasetError(
            f"image {index} of {images.name} has the label {labels[index]}, but {named} has only {outputs} classes "
            f"(0 to {outputs - 1}); check that the model and the dataset belong together"
        )


def _by_map(
    images: LabelledImages, class_map: ClassMap, model_classes: Sequence[str] | None, outputs: int
) -> npt.NDArray[np.int64]:
    labels = images.labels
    logits = class_map.logits(images.classes, model_classes, outputs)
    occurring, inverse = np.unique(labels, return_inverse=True)
    for label in occurring.tolist():
        if label not in logits:
            name = images.names_by_number.get(label, str(label))
            raise DatasetError(
                f"{class_map.path}: does not say which class of the model {name!r} is, the label of image "
                f"{int((labels == label).argmax())} of {images.name}; map all classes that occur"
            )
    return np.array([logits[label] for label in occurring.tolist()], dtype=np.int64)[inverse]


def _by_name(images: LabelledImages, names: Mapping[int, str], model_classes: Sequence[str]) -> ModelLabels:
    """Match by name; a name of two classes, such as "crane" in ImageNet, is only accepted where all numbers agree."""
    model_names = list(map(composed, model_classes))
    own_names = {number: composed(name) for number, name in names.items()}
    if own_names == dict(enumerate(model_names)):
        return ModelLabels(images.labels)
    counts = Counter(model_names)
    differing = [names[number] for number in sorted(names) if counts[own_names[number]] != 1]
    if differing:
        return ModelLabels(None, _other_names(images, differing, len(names), model_classes, counts))
    occurring, inverse = np.unique(images.labels, return_inverse=True)
    for number in occurring.tolist():
        if number not in names:
            raise DatasetError(
                f"image {int((images.labels == number).argmax())} of {images.name} has the label {number}, but there "
                f"are names of {len(names)} {'class' if len(names) == 1 else 'classes'} only; name all that occur"
            )
    indices = [model_names.index(own_names[number]) for number in occurring.tolist()]
    return ModelLabels(np.array(indices, dtype=np.int64)[inverse])


def _by_order(images: LabelledImages, names: Sequence[str], order: ClassOrder | None) -> ModelLabels:
    """Return the labels in the order of the model's library where the dataset merely sorts the names of its folders."""
    if images.numbering == "declared":
        return ModelLabels(images.labels)
    problem = ambiguity(names, order, fixed=images.numbering == "by its library")
    if problem:
        return ModelLabels(
            None,
            f"the classes of {images.name} are {problem}; say which with the model: class_order=string or "
            f"class_order=natural in its spec (in Python Model(..., class_order=...)), or name its classes in the "
            f"order of its outputs, with classes=",
        )
    if order != "natural":
        return ModelLabels(images.labels)
    return ModelLabels(np.argsort(natural_order(names))[images.labels])


def _no_names(images: LabelledImages, model_classes: Sequence[str]) -> str:
    return (
        f"{images.name} has numbers as labels and no names of its classes, so nothing says which of the model's "
        f"classes ({_listed(model_classes)}) each number is; name them in the order of the numbers: classes=FILE "
        f"in the dataset's spec, or an attribute `classes` of the dataset object"
    )


def _other_count(images: LabelledImages, names: Sequence[str], outputs: int) -> str:
    occurring = set(images.labels.tolist())
    empty = [name for number, name in enumerate(names) if number not in occurring]
    without = f", {len(empty)} of them without images ({_listed(empty)})" if empty else ""
    return (
        f"{images.name} has {len(names)} classes ({_listed(names)}){without}, and the model {outputs} outputs without "
        f"names; name the model's classes in the order of its outputs: classes=FILE in its spec, or "
        f"Model(..., classes=[...])"
    )


def _other_names(
    images: LabelledImages, differing: Sequence[str], count: int, model_classes: Sequence[str], counts: Counter[str]
) -> str:
    """Return the message about names that the model does not have, each with the model's most similar name."""
    lines = []
    for name in differing[:_MOST_LISTED]:
        if counts[composed(name)] > 1:
            lines.append(f"{name!r} (the model has {counts[composed(name)]} classes of this name)")
            continue
        similar = nearest_name(name, model_classes)
        lines.append(f"{name!r} (the model has {similar!r})" if similar else repr(name))
    pair = f'{{"{differing[0]}": "{nearest_name(differing[0], model_classes) or 0}"}}'
    rest = f", and {len(differing) - _MOST_LISTED} more" if len(differing) > _MOST_LISTED else ""
    return (
        f"{len(differing)} of the {count} classes of {images.name} are not classes of the model: "
        f"{', '.join(lines)}{rest}; give both the same names, or say which is which with classes=FILE in the "
        f"dataset's spec, a JSON object such as {pair}"
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_LISTED])
    return f"{shown}, ..." if len(names) > _MOST_LISTED else shown
