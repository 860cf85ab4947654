"""``?attributes=FILE.csv``: joins a table of attributes with the images, by the names of their files."""

from __future__ import annotations

import functools
import posixpath
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pytest_biastransfer.data.csv_table import Table, files_in
from pytest_biastransfer.data.labelled_images import LabelledImages
from pytest_biastransfer.data.masks import MaskFiles, no_masks
from pytest_biastransfer.data.views import View
from pytest_biastransfer.errors import DatasetError

if TYPE_CHECKING:
    from pytest_biastransfer.data.masks import Masks


class WithAttributes(View):
    """The images of a dataset, with the columns of a table as further attributes.

    The table's first column has the names of the files, relative to the dataset, or without their folders where that
    is unambiguous. Rows of files outside the dataset are ignored.
    """

    def __init__(self, inner: LabelledImages, table: Table) -> None:
        super().__init__(inner)
        self._table = table
        if len(table.columns) < 2:
            raise DatasetError(
                f"{table.path}: has the column {table.columns[0]!r} only; expected the names of the files in the first "
                f"column, and attributes in others"
            )

    @functools.cached_property
    def attributes(self) -> Mapping[str, Sequence[str]]:
        """The dataset's own attributes and the table's."""
        files = self._named_images()
        own, joined = self.inner.attributes, self._table.others(self._table.columns[0])
        for name in own.keys() & joined.keys():
            raise DatasetError(
                f"{self._table.path}: {self.inner.name} has an attribute {name!r} already; rename or remove that column"
            )
        rows = self._rows(files)
        return {**own, **{name: [cells[row] for row in rows] for name, cells in joined.items()}}

    def _named_images(self) -> Sequence[str]:
        files = self.inner.files
        if files is None:
            raise DatasetError(
                f"{self._table.path}: cannot be joined with {self.inner.name}, whose images are not files and have "
                f"no names"
            )
        return files

    def _find_masks(self, name: str) -> Masks:
        table = self._table
        if name not in table.columns[1:]:
            try:
                return self.inner.masks(name)
            except DatasetError as error:
                raise no_masks(name, self.name, table.columns[1:]) from error
        rows = self._rows(self._named_images())
        named = files_in(table, name, "mask")
        return MaskFiles(table.path.parent, [named[row] for row in rows], lambda index: table.location(rows[index]))

    def _rows(self, files: Sequence[str]) -> list[int]:
        """Return the row of each file."""
        names = _names(files)
        rows: dict[str, int] = {}
        for row, cells in enumerate(self._table.rows):
            file = names.get(posixpath.normpath(cells[0]))
            if file is None:
                continue
            if file in rows:
                raise DatasetError(
                    f"{self._table.location(row)}: a second row for {file}; the first is in line "
                    f"{self._table.lines[rows[file]]}"
                )
            rows[file] = row
        missing = [file for file in files if file not in rows]
        if missing:
            raise DatasetError(
                f"{self._table.path}: no row for {len(missing)} of {len(files)} images, the first is {missing[0]}; "
                f"expected in the column {self._table.columns[0]!r} each file's name relative to {self.inner.name}, or "
                f"its last part where only one file has that"
            )
        return [rows[file] for file in files]


def _names(files: Sequence[str]) -> dict[str, str]:
    """Return the files by their unambiguous names."""
    by_last: dict[str, set[str]] = defaultdict(set)
    for file in files:
        by_last[posixpath.basename(file)].add(file)
    alone = {last: candidates.pop() for last, candidates in by_last.items() if len(candidates) == 1}
    return alone | {file: file for file in files}
