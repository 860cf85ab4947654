"""Reads comma-separated files with a header line, strictly."""

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
    """The cells of a file, without surrounding blanks.

    Attributes
    ----------
    path
        The file.
    columns
        The names of the columns.
    rows
        The rows, each with one cell a column.
    lines
        The line number at which each row ends, from 1.
    """

    path: Path
    columns: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    lines: Sequence[int]

    def column(self, name: str) -> list[str]:
        """Return the cells of a column; raise `DatasetError` if no column has that name."""
        if name not in self.columns:
            raise DatasetError(f"{self.path}: there is no column {name!r}; {nearest(name, filter(None, self.columns))}")
        index = self.columns.index(name)
        return [row[index] for row in self.rows]

    def others(self, *names: str) -> dict[str, list[str]]:
        """Return the columns that are not among `names`.

        Columns without a name, such as the row numbers that pandas writes, are left out.
        """
        return {name: self.column(name) for name in self.columns if name and name not in names}

    def location(self, row: int) -> str:
        """Return the file and the line of a row, for an error message."""
        return f"{self.path}, line {self.lines[row]}"


def read_table(path: Path) -> Table:
    """Return the cells of a UTF-8 file, with or without a byte order mark.

    Raises
    ------
    DatasetError
        If the file cannot be read, has no rows, or a row whose number of cells is not the number of columns.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            numbered = list(_rows(csv.reader(file, strict=True), path))
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: is not a text in UTF-8 ({error.reason} at byte {error.start})") from error
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


def files_in(table: Table, column: str, kind: str) -> list[str]:
    """Return the files that a column names, relative to the table's directory.

    `kind` says in error messages what the files are, such as ``image``. Raises `DatasetError` for a file outside the
    directory.
    """
    return [_inside(table, row, name, kind) for row, name in enumerate(table.column(column))]


def _inside(table: Table, row: int, name: str, kind: str) -> str:
    """Return a normalized path; raise `DatasetError` if it leads out of the table's directory."""
    path = posixpath.normpath(name)
    # A backslash is a separator on Windows only. It counts everywhere, so that no system accepts what another refuses.
    top_folder = posixpath.normpath(name.replace("\\", "/")).partition("/")[0]
    problem = None
    if not name:
        problem = f"no {kind} is named"
    elif PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor:
        problem = f"the {kind} {name!r} is an absolute path"
    elif top_folder == ".." or "\0" in name:
        problem = f"the {kind} {name!r} is not in {table.path.parent}"
    if problem is not None:
        raise DatasetError(
            f"{table.location(row)}: {problem}; expected a path relative to the table, and inside its directory"
        )
    return path


def _rows(reader: _Reader, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, with their line numbers."""
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
