"""Labels of a dataset in the numbering of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pytest_biastransfer.errors import DatasetError

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data.images import LabelledImages


def labels_for(
    images: LabelledImages, model_classes: Sequence[str] | None, outputs: int
) -> npt.NDArray[np.int64] | None:
    """Return the labels as places of the model's `outputs` logits, or None where they cannot be told.

    By name where dataset and model both name their classes; as they are where the dataset names
    nothing or as many classes as there are logits. A dataset that names other classes than the model
    has labels in a numbering of its own: they are not guessed.
    """
    labels = images.labels
    if images.classes is not None and model_classes is not None:
        places = {name: place for place, name in enumerate(model_classes)}
        if not set(images.classes) <= places.keys():
            return None
        return np.array([places[name] for name in images.classes], dtype=np.int64)[labels]
    if labels.max() >= outputs:
        index = int(labels.argmax())
        raise DatasetError(
            f"image {index} of {images.name} has the label {labels[index]}, but the model has only {outputs} "
            f"classes (0 to {outputs - 1}); check that the model and the dataset belong together"
        )
    if images.classes is not None and len(images.classes) != outputs:
        return None
    return labels
