"""Contingency tables of class by attribute value, and random draws of images from their cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_biastransfer.data.permutation import permutation
from pytest_biastransfer.interventions.random_sources import mixed_seed

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data.attribute_values import AttributeValues
    from pytest_biastransfer.transfer.curation.arguments import Request


@dataclass(frozen=True)
class Cells:
    """The cells of a table of labels by values; no cell is empty.

    Attributes
    ----------
    codes
        The cell of each image, int64 [images]: ``label * values + value``.
    counts
        The number of images in each cell, int64 [labels, values].
    """

    codes: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]

    @property
    def independence(self) -> npt.NDArray[np.float64]:
        """Weights that make label and value independent, float64 [images].

        P(label) P(value) / P(label, value), after Kamiran and Calders 2012.
        """
        by_label, by_value = self.counts.sum(axis=1, keepdims=True), self.counts.sum(axis=0, keepdims=True)
        weights = by_label / len(self.codes) * by_value / self.counts
        by_image: npt.NDArray[np.float64] = weights.ravel()[self.codes]
        return by_image


def cells_of(request: Request, values: AttributeValues, label: Any) -> Cells:
    """Return the cells of class by value; or, with a label, of this label and all others by value.

    Raises `DatasetError` if a cell is empty.
    """
    if label is None:
        if request.images.label_table is not None:
            raise request.error(f"{request.images.name} has several labels for each image; say which: label=")
        numbers, rows = np.unique(request.images.labels, return_inverse=True)
        names = [request.class_names([number]) for number in numbers.tolist()]
    else:
        inside, groups = labelled(request, label)
        rows, names = 1 - inside.astype(np.int64), list(groups)
    codes = rows * len(values.names) + values.codes
    counts = np.bincount(codes, minlength=len(names) * len(values.names)).reshape(len(names), -1)
    if not counts.all():
        row, column = np.argwhere(counts == 0)[0].tolist()
        raise request.error(
            f"{request.images.name} has no image of {names[row]} with {values.condition(column)}; expected some of "
            f"each "
            f"class with each {values.attribute}. Leave out classes with of_classes(...), or compare one with all "
            f"others: label="
        )
    return Cells(codes, counts)


def labelled(request: Request, label: Any) -> tuple[npt.NDArray[np.bool_], tuple[str, str]]:
    """Return which images have the label, or one of several, and the names of these images and of the others.

    Raises `DatasetError` unless some images have it and some do not.
    """
    inside, names = request.members("label", label), request.group_names("label", label)
    if inside.all():
        raise request.error(f"all images of {request.images.name} are of {names[0]}; expected others too")
    return inside, names


def draw(codes: npt.NDArray[np.int64], counts: Sequence[int], seed: int) -> npt.NDArray[np.int64]:
    """Return the indices of a number of random images from each cell, ascending.

    With the same seed, a larger draw from a cell contains a smaller one.
    """
    order = permutation_for("selection", len(codes), seed)
    # A stable sort keeps the random order within each cell. So the first images of a cell are a random draw, which a
    # larger draw extends.
    by_cell = order[np.argsort(codes[order], kind="stable")]
    ends = np.cumsum(np.bincount(codes, minlength=len(counts))).tolist()
    chosen = np.concatenate(
        [by_cell[start : start + count] for start, count in zip([0, *ends[:-1]], counts, strict=True)]
    )
    return np.sort(chosen)


def permutation_for(purpose: str, count: int, seed: int) -> npt.NDArray[np.int64]:
    """Return a permutation that is independent of those for other purposes with the same seed.

    Otherwise the planted images would be those that are evaluated first, or those of another selection.
    """
    return permutation(count, mixed_seed(purpose, seed))
