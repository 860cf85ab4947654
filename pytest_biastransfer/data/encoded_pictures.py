"""Encoded pictures in a table of Hugging Face's ``datasets``: their bytes, or the name of a file of the dataset."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_biastransfer.errors import DatasetError
from pytest_biastransfer.plain_text import path_from


def encoded_picture(cell: Mapping[str, Any] | None, directory: Path, location: str) -> tuple[bytes, str | None]:
    """Return the bytes of a picture's file, and the file's name where the dataset has it.

    Parameters
    ----------
    cell
        The keys ``bytes`` and ``path``, as the library gives a picture that it does not decode.
    directory
        The directory of the dataset; files elsewhere are not read.
    location
        Names the picture in error messages.

    Raises
    ------
    DatasetError
        If there is no picture, or its file is elsewhere or cannot be read.
    """
    if cell is None:
        raise DatasetError(f"{location} is missing")
    path: str | None = cell["path"]
    if cell["bytes"] is not None:
        return cell["bytes"], path
    root = directory.resolve()
    # Security: a table may name any file of this machine, so paths outside the dataset are refused.
    if path is None or not Path(os.path.normpath(root / path)).is_relative_to(root):
        raise DatasetError(f"{location} ({path}) is neither in the dataset nor in {directory}")
    try:
        return (root / path).read_bytes(), path
    except OSError as error:
        raise DatasetError(f"{location} ({path}): cannot be read ({error})") from error


def name_in(path: str, directory: Path) -> str:
    """Return the name of a file relative to the directory of its dataset, with forward slashes."""
    return path_from(path, directory.resolve()) if Path(path).is_absolute() else Path(path).as_posix()
