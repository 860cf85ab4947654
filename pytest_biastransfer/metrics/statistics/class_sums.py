"""Sums of the weights of images by class, for many draws of weights at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


class Term(NamedTuple):
    """Rows of weights that are added to classes, or subtracted from them where `sign` is -1.

    `rows` and `classes` are integers of one shape, in any order; a row may be there several times.
    """

    sign: int
    rows: Integers
    classes: Integers


class ClassSums:
    """Sum weights by class.

    Parameters
    ----------
    classes
        How many classes there are.
    *terms
        What to add and to subtract.

    Examples
    --------
    >>> moved = ClassSums(3, Term(1, rows=np.array([0, 1]), classes=np.array([2, 2])))
    >>> moved.of(np.array([[1, 0], [1, 5]]))
    array([[0, 0],
           [0, 0],
           [2, 5]], dtype=int32)
    """

    def __init__(self, classes: int, *terms: Term) -> None:
        self._classes = classes
        self._blocks = [block for term in terms for block in _blocks(term)]

    def of(self, weights: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        """Return the sums, int32 of shape [classes, draws], of integer weights of shape [rows, draws]."""
        sums = np.zeros((self._classes, weights.shape[1]), dtype=np.int32)
        for sign, classes, rows in self._blocks:
            sums[classes] += sign * summed(weights[rows])
        return sums


def summed(weights: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """Return the sums of weights over the last axis but one, int32; bytes must be zeros and ones.

    >>> summed(np.array([[1, 0], [1, 1]], dtype=np.uint8))
    array([2, 1], dtype=int32)
    """
    if weights.dtype != np.uint8:
        return weights.sum(axis=-2, dtype=np.int32)  # type: ignore[no-any-return]
    # Sums of bytes are several times faster than such that widen; 255 of them cannot overflow.
    sums = np.zeros((*weights.shape[:-2], weights.shape[-1]), dtype=np.int32)
    for start in range(0, weights.shape[-2], 255):
        sums += weights[..., start : start + 255, :].sum(axis=-2, dtype=np.uint8)
    return sums


def _blocks(term: Term) -> Iterator[tuple[int, Integers, Integers]]:
    """Yield the sign, some classes, and the rows of each, of shape [classes, rows]; each class once.

    Classes with the same number of rows are summed together: a call for each of hundreds of classes, as well
    as np.add.reduceat, takes several times longer.
    """
    order = np.argsort(term.classes, kind="stable")
    classes, starts, sizes = np.unique(term.classes[order], return_index=True, return_counts=True)
    for size in np.unique(sizes):
        alike = sizes == size
        yield term.sign, classes[alike], term.rows[order][starts[alike, None] + np.arange(size)]
