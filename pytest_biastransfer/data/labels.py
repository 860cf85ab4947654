"""Labels of a dataset in the numbering of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pytest_biastransfer.errors import DatasetError

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data.class_map import ClassMap
    from pytest_biastransfer.data.images import LabelledImages


def labels_for(
    images: LabelledImages, model_classes: Sequence[str] | None, outputs: int
) -> npt.NDArray[np.int64] | None:
    """Return the labels as places of the model's `outputs` logits, or None where they cannot be told.

    By the dataset's map where it has one. Else by name where dataset and model both name their classes; as
    they are where the dataset names nothing or as many classes as there are logits. A dataset that names
    other classes than the model has labels in a numbering of its own: they are not guessed.
    """
    labels = images.labels
    if images.class_map is not None:
        return _by_map(images, images.class_map, model_classes, outputs)
    names = images.classes
    if names is not None and model_classes is not None and list(names) != list(model_classes):
        return _by_name(labels, names, model_classes)
    if labels.max() >= outputs:
        index = int(labels.argmax())
        raise DatasetError(
            f"image {index} of {images.name} has the label {labels[index]}, but the model has only {outputs} "
            f"classes (0 to {outputs - 1}); check that the model and the dataset belong together"
        )
    if images.classes is not None and len(images.classes) != outputs:
        return None
    return labels


def _by_map(
    images: LabelledImages, class_map: ClassMap, model_classes: Sequence[str] | None, outputs: int
) -> npt.NDArray[np.int64]:
    labels = images.labels
    places = class_map.places(images.classes, model_classes, outputs)
    occurring, which = np.unique(labels, return_inverse=True)
    for label in occurring.tolist():
        if label not in places:
            name = str(label) if images.classes is None else images.classes[label]
            raise DatasetError(
                f"{class_map.path}: does not say which class of the model {name!r} is, the label of image "
                f"{int((labels == label).argmax())} of {images.name}; map all classes that occur"
            )
    return np.array([places[label] for label in occurring.tolist()], dtype=np.int64)[which]


def _by_name(
    labels: npt.NDArray[np.int64], names: Sequence[str], model_names: Sequence[str]
) -> npt.NDArray[np.int64] | None:
    """Return the labels by name, or None if a name is missing, or stands for two classes (as "crane" in ImageNet)."""
    if any(model_names.count(name) != 1 for name in names):
        return None
    return np.array([model_names.index(name) for name in names], dtype=np.int64)[labels]
