"""How many images of each class or label have each value of an attribute, to be looked at before training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pytest_biastransfer.data.label_table import UNKNOWN
from pytest_biastransfer.transfer.curation.arguments import Classes, Request

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data import LabelledImages


_NAMED = 3


class Cell(NamedTuple):
    """A cell of a contingency table.

    Attributes
    ----------
    label, value
        The names of its row and of its column.
    images
        The number of images in it.
    expected
        As many there would be if label and attribute were independent.
    """

    label: str
    value: str
    images: int
    expected: float


@dataclass(frozen=True)
class ContingencyTable:
    """The number of images with each label and each value of an attribute.

    Attributes
    ----------
    dataset, attribute
        The names of the dataset and of the attribute.
    labels, values
        The names of the rows and of the columns.
    counts
        The numbers of images, int64 [labels, values].
    expected
        As many there would be if label and attribute were independent, float64 [labels, values].
    unknown
        For each row, the number of images that are left out, because the label or the attribute is unknown.
    """

    dataset: str
    attribute: str
    labels: tuple[str, ...]
    values: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    expected: npt.NDArray[np.float64]
    unknown: tuple[int, ...]

    @property
    def cells(self) -> list[Cell]:
        """The cells, the emptiest first: of equally empty ones, that in which more images were expected."""
        found = [
            Cell(label, value, int(self.counts[row, column]), float(self.expected[row, column]))
            for row, label in enumerate(self.labels)
            for column, value in enumerate(self.values)
        ]
        return sorted(found, key=lambda cell: (cell.images, -cell.expected))

    def __str__(self) -> str:
        rows = [("", *self.values)]
        rows += [
            (label, *(f"{n:,}" for n in row)) for label, row in zip(self.labels, self.counts.tolist(), strict=True)
        ]
        first, *others = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [f"{self.dataset}, by {self.attribute}"]
        for name, *numbers in rows:
            aligned = [f"{number:>{width}}" for number, width in zip(numbers, others, strict=True)]
            lines.append(f"  {name:{first}}  {'  '.join(aligned)}")
        lines += [
            f"  {'emptiest: ' if not place else ' ' * 10}{cell.label} with {self.attribute}={cell.value!r}: "
            f"{cell.images:,} image{'' if cell.images == 1 else 's'}, {cell.expected:,.0f} if they were independent"
            for place, cell in enumerate(self.cells[:_NAMED])
        ]
        left_out = [f"{count:,} of {name}" for name, count in zip(self.labels, self.unknown, strict=True) if count]
        if left_out:
            lines.append(f"  unknown, left out: {', '.join(dict.fromkeys(left_out))}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return the table as plain data for JSON."""
        return {
            "dataset": self.dataset,
            "attribute": self.attribute,
            "values": list(self.values),
            "labels": [
                {"label": label, "images": counts, "expected": expected, "unknown": unknown}
                for label, counts, expected, unknown in zip(
                    self.labels, self.counts.tolist(), self.expected.tolist(), self.unknown, strict=True
                )
            ],
        }


def contingency(dataset: Any, attribute: str, label: Classes | None = None) -> ContingencyTable:
    """Count the images with each label and each value of an attribute, to see before training what is rare.

    Parameters
    ----------
    dataset
        See `pytest_biastransfer.transfer.curation.functions`.
    attribute
        Its name.
    label
        A class or label, or several that count as one: these and all others are the rows. Default: each class is a row;
        or each label, with the images that have it.

    Returns
    -------
    ContingencyTable
        Its text names the emptiest cells.

    Raises
    ------
    DatasetError
        If the dataset lacks the attribute or the label.

    Examples
    --------
    >>> import numpy as np
    >>> grounds = ["snow"] * 3 + ["grass"] * 9
    >>> pets = [(np.zeros((3, 1, 1), dtype=np.uint8), i % 2, {"ground": grounds[i]}) for i in range(12)]
    >>> print(contingency(pets, "ground"))
    list, by ground
               grass  snow
      class 0      4     2
      class 1      5     1
      emptiest: class 1 with ground='snow': 1 image, 2 if they were independent
                class 0 with ground='snow': 2 images, 2 if they were independent
                class 0 with ground='grass': 4 images, 4 if they were independent
    """
    request = Request.of("contingency", dataset)
    values = request.values(attribute)
    known_value = values.codes != UNKNOWN
    counts, expected, unknown = [], [], []
    rows = _rows(request, attribute, label)
    for states in rows.values():
        is_known = known_value & (states != UNKNOWN)
        of_value = np.bincount(values.codes[is_known], minlength=len(values.names))
        own = np.bincount(values.codes[is_known & (states == 1)], minlength=len(values.names))
        counts.append(own)
        expected.append(own.sum() * of_value / max(1, of_value.sum()))
        unknown.append(int(np.count_nonzero(~is_known)))
    columns = np.array(counts), np.array(expected), tuple(unknown)
    return ContingencyTable(request.images.name, values.attribute, tuple(rows), values.names, *columns)


def _rows(request: Request, attribute: str, label: Classes | None) -> dict[str, npt.NDArray[np.int8]]:
    """Return by row whether each image belongs to it: 1, 0, or -1 for unknown."""
    images = request.images
    if label is not None:
        states = request.states("label", label)
        selected = label if isinstance(label, Sequence) and not isinstance(label, str) else [label]
        name = " or ".join(_name(images, one) for one in selected)
        return {name: states, f"not {name}": np.where(states == UNKNOWN, states, 1 - states)}
    if images.label_table is not None:
        names = images.label_table.names_or_positions
        is_label = attribute not in images.attributes
        return {
            name: images.label_table.states[:, column]
            for column, name in enumerate(names)
            if not (is_label and name == attribute)
        }
    numbers = sorted({*images.names_by_number, *np.unique(images.labels).tolist()})
    return {_name(images, number): (images.labels == number).astype(np.int8) for number in numbers}


def _name(images: LabelledImages, label: int | str) -> str:
    """Return the name of a class or label, given by name or number."""
    if isinstance(label, str):
        return label
    if images.label_table is not None:
        return images.label_table.names_or_positions[label]
    return images.names_by_number.get(label, f"class {label}")
