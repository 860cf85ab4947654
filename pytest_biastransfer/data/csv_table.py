"""Comma-separated files with a line of column names, read strictly."""

from __future__ import annotations

import csv
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from pytest_biastransfer.errors import DatasetError, nearest

if TYPE_CHECKING:
    from _csv import Reader as _Reader


@dataclass(frozen=True)
class Table:
    """The cells of a file, without the blanks around them.

    Attributes
    ----------
    path
        The file.
    columns
        The names of the columns.
    rows
        The cells, as many in each row as there are columns.
    lines
        The number of the line that each row ends on, from 1.
    """

    path: Path
    columns: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    lines: Sequence[int]

    def column(self, name: str) -> list[str]:
        """Return the cells of a column; raises `DatasetError` if there is none of that name."""
        if name not in self.columns:
            raise DatasetError(f"{self.path}: there is no column {name!r}; {nearest(name, filter(None, self.columns))}")
        place = self.columns.index(name)
        return [row[place] for row in self.rows]

    def others(self, *names: str) -> dict[str, list[str]]:
        """Return the columns that are not among `names`.

        Not those without a name either, such as the row numbers that pandas writes.
        """
        return {name: self.column(name) for name in self.columns if name and name not in names}

    def place(self, row: int) -> str:
        """Return where a row is, for an error message."""
        return f"{self.path}, line {self.lines[row]}"


def read_table(path: Path) -> Table:
    """Return the cells of a file, UTF-8, with or without a byte order mark.

    Raises
    ------
    DatasetError
        If it cannot be read, has no rows, or a row with other than as many cells as there are columns.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            numbered = list(_rows(csv.reader(file, strict=True), path))
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: is no text in UTF-8 ({error.reason} at byte {error.start})") from error
    if not numbered:
        raise DatasetError(f"{path}: is empty; expected a line of column names, and one line for each image")
    (_, columns), *rest = numbered
    if not rest:
        raise DatasetError(f"{path}: has column names only ({', '.join(columns)}); expected one line for each image")
    _require_columns(columns, path)
    for line, row in rest:
        if len(row) != len(columns):
            raise DatasetError(
                f"{path}, line {line}: {len(row)} cells, expected {len(columns)}, as many as there are columns "
                f"({', '.join(columns)})"
            )
    return Table(path, tuple(columns), [row for _, row in rest], [line for line, _ in rest])


def files_in(table: Table, column: str, what: str) -> list[str]:
    """Return the files that a column names, relative to the table's directory; `what` they are, for error messages.

    Raises `DatasetError` for one that is not in there.
    """
    return [_inside(table, row, name, what) for row, name in enumerate(table.column(column))]


def _inside(table: Table, row: int, name: str, what: str) -> str:
    """Return a path in its shortest form, if it does not lead out of the table's directory."""
    shortest = posixpath.normpath(name)
    # A backslash separates on Windows only, but a table is to be refused everywhere or nowhere.
    first = posixpath.normpath(name.replace("\\", "/")).partition("/")[0]
    wrong = None
    if not name:
        wrong = f"no {what} is named"
    elif PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor:
        wrong = f"the {what} {name!r} is an absolute path"
    elif first == ".." or "\0" in name:
        wrong = f"the {what} {name!r} is not in {table.path.parent}"
    if wrong is not None:
        raise DatasetError(
            f"{table.place(row)}: {wrong}; expected a path relative to the table, and inside its directory"
        )
    return shortest


def _rows(reader: _Reader, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, with their lines' numbers."""
    try:
        for row in reader:
            if row:
                yield reader.line_num, [cell.strip() for cell in row]
    except csv.Error as error:
        raise DatasetError(f"{path}, line {reader.line_num}: {error}") from error


def _require_columns(columns: Sequence[str], path: Path) -> None:
    for name in columns:
        if name and columns.count(name) > 1:
            raise DatasetError(f"{path}: two columns are called {name!r}; rename one of them")
