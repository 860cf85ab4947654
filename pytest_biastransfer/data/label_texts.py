"""Labels that are texts, as cells of a table or small files: all of them whole numbers, or names of classes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from pytest_biastransfer.errors import DatasetError
from pytest_biastransfer.specs.class_names import composed

WHOLE: Final = re.compile(r"[0-9]{1,18}")
_NUMBER: Final = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?")


def numbered(labels: Sequence[str], location: Callable[[int], str]) -> tuple[tuple[str, ...] | None, list[int]]:
    """Return the names of the classes, or None if the labels are numbers, and the numbers of the labels.

    If all labels are whole numbers, they are used as numbers. Else they are names, and the sorted names are the
    classes. `location` names an image, given its index, in error messages.

    Raises
    ------
    DatasetError
        If a label is empty, or if all are numbers and one of them is no class.

    Examples
    --------
    >>> numbered(["dog", "cat", "dog"], "image {}".format)
    (('cat', 'dog'), [1, 0, 1])
    >>> numbered(["7", "0"], "image {}".format)
    (None, [7, 0])
    """
    if "" in labels:
        raise DatasetError(f"{location(labels.index(''))}: the label is empty")
    if all(WHOLE.fullmatch(label) for label in labels):
        return None, [int(label) for label in labels]
    # Without this error, "-1" or "0.0" would silently become class names that no model has.
    if all(_NUMBER.fullmatch(label) for label in labels):
        index = next(index for index, label in enumerate(labels) if not WHOLE.fullmatch(label))
        raise DatasetError(
            f"{location(index)}: the label is {labels[index]}, expected a whole number from 0 on, or the name of a "
            f"class"
        )
    labels = list(map(composed, labels))
    names = sorted(set(labels))
    numbers = {name: number for number, name in enumerate(names)}
    return tuple(names), [numbers[label] for label in labels]
