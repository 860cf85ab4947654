"""``csv:FILE?image=path&label=label``: a table of pictures, each with a label, or several, and attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.data.csv_table import Table, files_in, read_table
from pytest_biastransfer.data.gray_values import KEYS as WINDOW_KEYS
from pytest_biastransfer.data.gray_values import Window, declared_window
from pytest_biastransfer.data.image_files import ImageFiles
from pytest_biastransfer.data.label_table import LabelTable, state_of
from pytest_biastransfer.data.label_texts import numbered
from pytest_biastransfer.data.masks import MaskFiles, no_masks
from pytest_biastransfer.errors import DatasetError
from pytest_biastransfer.specs.spec import Spec
from pytest_biastransfer.store import Facts

if TYPE_CHECKING:
    from pytest_biastransfer.data.masks import Masks

KEYS: Final = ("image", "label", *WINDOW_KEYS)


def load(spec: Spec, facts: Facts | None) -> ListedImages:
    """Return the pictures that the file of a spec lists."""
    return ListedImages(
        read_table(spec.path()),
        spec.query.get("image", "image"),
        spec.query.get("label", "label"),
        facts,
        declared_window(spec),
    )


class ListedImages(ImageFiles):
    """The pictures that a table lists, in its order.

    Parameters
    ----------
    table
        The table. Its paths are relative to its directory, and inside it.
    image, label
        The columns of the paths and of the labels; all other columns are attributes. If all labels are whole numbers,
        they are used as numbers. Else they are names, and the sorted names are the classes. With commas, `label` names
        several columns of 1, 0, and -1 or nothing for unknown: several labels for each picture.
    facts
        The cache of the files' hashes; default: none.
    window
        Which gray values of more than 8 bits are black and white.
    """

    def __init__(
        self, table: Table, image: str, label: str, facts: Facts | None = None, window: Window | None = None
    ) -> None:
        # A column's own name may have a comma.
        columns = [label] if label in table.columns else label.split(",")
        if image in columns:
            raise DatasetError(
                f"{table.path}: the images and the labels cannot both be the column {image!r}; change image= or label="
            )
        files = files_in(table, image, "image")
        labels: list[int] | LabelTable
        if len(columns) == 1:
            self.classes, labels = numbered(table.column(label), table.location)
        else:
            self.classes, labels = None, _several(table, columns)
        self.numbering = "declared" if self.classes is None else "sorted"
        super().__init__(table.path.parent, files, labels, facts, window)
        self.name = table.path.stem
        self._table = table
        self._others = table.others(image, *columns)

    @property
    def attributes(self) -> Mapping[str, Sequence[str]]:
        """The other columns."""
        return self._others

    def _find_masks(self, name: str) -> Masks:
        if name not in self._others:
            raise no_masks(name, self.name, self._others)
        files = files_in(self._table, name, "mask")
        return MaskFiles(self._table.path.parent, files, self._table.location, self._facts)

    def _location(self, index: int) -> str:
        return f"{self._table.location(index)}: {super()._location(index)}"


def _several(table: Table, columns: Sequence[str]) -> LabelTable:
    """Return a label for each of several columns."""
    cells = zip(*map(table.column, columns), strict=True)
    rows = [
        {name: state_of(cell, f"{table.location(row)}: {name}") for name, cell in zip(columns, states, strict=True)}
        for row, states in enumerate(cells)
    ]
    return LabelTable.of_rows(rows, table.location)
