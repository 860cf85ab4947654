"""What a transferred model learns of each image: one class, or several labels of yes or no."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_biastransfer.data.label_mapping import labels_for
from pytest_biastransfer.data.label_table import UNKNOWN
from pytest_biastransfer.errors import TransferError, nearest
from pytest_biastransfer.specs.class_names import composed

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.data.label_table import LabelTable
    from pytest_biastransfer.transfer.recipe import Loss, Recipe


@dataclass(frozen=True)
class Targets:
    """The targets of all images.

    Attributes
    ----------
    loss
        ``"softmax"`` or ``"sigmoid"``.
    names
        The names of the classes or labels; None where they have numbers only.
    outputs
        The number of outputs of the model.
    values
        Classes, int64 [images]; or labels, int8 [images, outputs]: 1, 0, or -1 for unknown.
    pos_weight
        With ``"sigmoid"``, the factor of the loss of each label's positives, float32 [outputs].
    """

    loss: Loss
    names: tuple[str, ...] | None
    outputs: int
    values: npt.NDArray[Any]
    pos_weight: npt.NDArray[np.float32] | None = None


def targets_of(images: LabelledImages, classes: Sequence[str] | None, recipe: Recipe) -> Targets:
    """Return what a model with these names of its outputs learns of the images; None: the names of the dataset.

    Raises `TransferError` if recipe, names and labels do not fit together.
    """
    table = images.label_table
    if table is not None and recipe.outputs == "softmax":
        labels = ", ".join(table.names_or_positions)
        raise TransferError(
            f"{images.name} has several labels for each image ({labels:.100}), and Recipe(outputs='softmax') "
            f"learns one class; leave outputs= out, or write outputs='sigmoid'"
        )
    if table is None and recipe.outputs != "sigmoid":
        if recipe.pos_weight is not None:
            raise TransferError(
                f"Recipe: pos_weight= is for labels with a sigmoid, and {images.name} has one class for each image; "
                f"leave it out, or write outputs='sigmoid' for a dataset of two classes"
            )
        return _classes(images, classes)
    names, states = _of_two_classes(images, classes) if table is None else _of_table(images, table, classes)
    for number, column in enumerate(states.T):
        if (column == UNKNOWN).all():
            name = names[number] if names else number
            raise TransferError(
                f"{images.name}: the label {name!r} is unknown for all images; leave it out with classes="
            )
    return Targets("sigmoid", names, states.shape[1], states, _positive_weights(images, names, states, recipe))


def _classes(images: LabelledImages, classes: Sequence[str] | None) -> Targets:
    names = tuple(images.classes or ()) or None if classes is None else tuple(classes)
    outputs = len(names) if names is not None else int(images.labels.max()) + 1
    # Images without class names get `names` in the order of their numbers.
    labels = labels_for(images, names if images.names_by_number else None, outputs)
    if labels is None:
        raise TransferError(
            f"classes={list(names or ())!r:.100} are not those of {images.name}, "
            f"{list(images.classes or ())!r:.100}; leave classes= out, or give all of them by these names, in "
            f"any order"
        )
    return Targets("softmax", names, outputs, labels)


def _of_two_classes(
    images: LabelledImages, classes: Sequence[str] | None
) -> tuple[tuple[str, ...] | None, npt.NDArray[np.int8]]:
    """Return the name of the positive class, and whether each image has it, int8 [images, 1]."""
    own, largest = images.classes, int(images.labels.max())
    if largest > 1 or (own is not None and len(own) != 2):
        count = largest + 1 if own is None else len(own)
        raise TransferError(
            f"Recipe(outputs='sigmoid') is for several labels for each image, or for two classes; {images.name} has "
            f"{count} {'class' if count == 1 else 'classes'} and one of them for each image"
        )
    if classes is not None and len(classes) != 1:
        raise TransferError(
            f"classes={list(classes)!r:.100}: two classes with outputs='sigmoid' are one output; "
            f"name the positive class"
        )
    positive = 1
    if own is not None and classes is not None:
        matches = [number for number, name in enumerate(own) if composed(name) == composed(classes[0])]
        if not matches:
            raise TransferError(
                f"classes={list(classes)!r:.100}: {images.name} has no such class; {nearest(classes[0], own)}"
            )
        positive = matches[0]
    names = tuple(classes) if classes is not None else own[1:] if own is not None else None
    return names, (images.labels == positive).astype(np.int8)[:, None]


def _of_table(
    images: LabelledImages, table: LabelTable, classes: Sequence[str] | None
) -> tuple[tuple[str, ...] | None, npt.NDArray[np.int8]]:
    """Return the labels of these names, in their order; without names in the dataset, by position."""
    if classes is None:
        return table.names, table.states
    if table.names is None:
        if len(classes) != table.states.shape[1]:
            raise TransferError(
                f"classes={list(classes)!r:.100} are {len(classes)}, and {images.name} has {table.states.shape[1]} "
                f"labels for each image; name all of them, in their order"
            )
        return tuple(classes), table.states
    own = list(map(composed, table.names))
    for name in classes:
        if composed(name) not in own:
            raise TransferError(f"classes: {images.name} has no label {name!r}; {nearest(name, table.names)}")
    return tuple(classes), table.states[:, [own.index(composed(name)) for name in classes]]


def _positive_weights(
    images: LabelledImages, names: tuple[str, ...] | None, states: npt.NDArray[np.int8], recipe: Recipe
) -> npt.NDArray[np.float32] | None:
    weight, outputs = recipe.pos_weight, states.shape[1]
    if weight is None:
        return None
    if weight == "balanced":
        positives = (states == 1).sum(axis=0)
        if not positives.all():
            number = int(positives.argmin())
            raise TransferError(
                f"Recipe: pos_weight='balanced': no image of {images.name} has the label "
                f"{names[number] if names else number!r}; give numbers by name"
            )
        balanced: npt.NDArray[np.float32] = ((states == 0).sum(axis=0) / positives).astype(np.float32)
        return balanced
    if isinstance(weight, tuple):
        by_name = dict(weight)
        for name in by_name:
            if name not in (names or ()):
                raise TransferError(f"Recipe: pos_weight of {name!r}, which is no label; {nearest(name, names or ())}")
        return np.array([by_name.get(name, 1.0) for name in names or ()], dtype=np.float32)
    return np.full(outputs, weight, dtype=np.float32)
