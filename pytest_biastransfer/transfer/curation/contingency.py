"""Images by class and by the value of an attribute: how many there are of each cell, and some of them drawn."""

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
    """The cells of a table of labels by values, of which none is empty.

    Attributes
    ----------
    codes
        The cell of each image, int64 [images]: that of its label and value is ``label * values + value``.
    counts
        How many images are in each cell, int64 [labels, values].
    """

    codes: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]

    @property
    def independence(self) -> npt.NDArray[np.float64]:
        """The weight of each image with which label and value are independent, float64 [images].

        P(label) P(value) / P(label, value), after Kamiran and Calders 2012.
        """
        by_label, by_value = self.counts.sum(axis=1, keepdims=True), self.counts.sum(axis=0, keepdims=True)
        weights = by_label / len(self.codes) * by_value / self.counts
        found: npt.NDArray[np.float64] = weights.ravel()[self.codes]
        return found


def cells_of(request: Request, values: AttributeValues, label: Any) -> Cells:
    """Return the cells of class by value; or, with a label, of this label or another one by value.

    Raises `DatasetError` if one of them is empty.
    """
    if label is None:
        numbers, rows = np.unique(request.images.labels, return_inverse=True)
        words = [request.class_words([number]) for number in numbers.tolist()]
    else:
        inside, word = labelled(request, label)
        rows, words = 1 - inside.astype(np.int64), [word, f"other classes than {word}"]
    codes = rows * len(values.names) + values.codes
    counts = np.bincount(codes, minlength=len(words) * len(values.names)).reshape(len(words), -1)
    if not counts.all():
        row, column = np.argwhere(counts == 0)[0].tolist()
        raise request.error(
            f"{request.images.name} has no image of {words[row]} with {values.condition(column)}; expected some of "
            f"each "
            f"class with each {values.attribute}. Leave out classes with of_classes(...), or compare one with all "
            f"others: label="
        )
    return Cells(codes, counts)


def labelled(request: Request, label: Any) -> tuple[npt.NDArray[np.bool_], str]:
    """Return which images have the label, or one of several, and the label in words.

    Raises `DatasetError` unless some have it and some have not.
    """
    numbers = request.numbers("label", label)
    inside, words = np.isin(request.images.labels, numbers), request.class_words(numbers)
    if inside.all():
        raise request.error(f"all images of {request.images.name} are of {words}; expected others too")
    return inside, words


def drawn(codes: npt.NDArray[np.int64], wanted: Sequence[int], seed: int) -> npt.NDArray[np.int64]:
    """Return the places of so many images of each cell, ascending.

    With one seed, more images of a cell are the same ones and others.
    """
    order = mixed_permutation(len(codes), "selection", seed)
    by_cell = order[np.argsort(codes[order], kind="stable")]
    ends = np.cumsum(np.bincount(codes, minlength=len(wanted))).tolist()
    found = np.concatenate(
        [by_cell[start : start + count] for start, count in zip([0, *ends[:-1]], wanted, strict=True)]
    )
    return np.sort(found)


def mixed_permutation(count: int, what: str, seed: int) -> npt.NDArray[np.int64]:
    """Return a permutation that has nothing in common with those of other purposes with the same seed.

    Else the images that are evaluated first, or that another selection takes, would be those that are planted on.
    """
    return permutation(count, mixed_seed(what, seed))
