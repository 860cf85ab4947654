"""Folders whose names are classes: which entries of a directory count, and which are something else."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from pytest_biastransfer.errors import DatasetError

SUFFIXES: Final = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
# What systems and tools leave beside pictures, besides names that begin with a dot.
_LITTER: Final = frozenset(
    ("__macosx", "__pycache__", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found")
)
_PART: Final = re.compile(
    r"(train|training|trainval|val|valid|validation|dev|test|testing|eval|evaluation|holdout)"
    r"([-_. ]?(set|data|images?|split|[0-9]+))*",
    re.IGNORECASE,
)


def pictures_by_class(directory: Path) -> dict[str, list[str]]:
    """Return the pictures of each class, relative to `directory`: of each folder in it, sorted by code points.

    Hidden entries, and what systems leave beside pictures, are no classes and no pictures.

    Raises
    ------
    DatasetError
        If the folders are parts of a dataset, such as ``train`` and ``val``, and no classes.
    """
    folders = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir() and not is_hidden(entry.name))
    found = {folder: list(_pictures(str(directory), folder)) for folder in folders}
    parts = _parts(found)
    if parts:
        names = " and ".join(f"{name}/" for name in parts)
        raise DatasetError(
            f"imagefolder {directory}: {names} are parts of a dataset, not classes; name the folder of one part, such "
            f"as imagefolder:{directory / parts[-1]}"
        )
    return found


def is_hidden(name: str) -> bool:
    """Whether a file or folder is none of a dataset's: hidden, or left by a system or a tool."""
    return name.startswith(".") or name.lower() in _LITTER


def are_parts(names: Sequence[str]) -> bool:
    """Whether names of folders are all those of parts of a dataset, such as ``train`` and ``val``."""
    return len(names) > 0 and all(map(_PART.fullmatch, names))


def _parts(found: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the folders that are parts of a dataset: all that there are, or several with folders of their own."""
    filled = [name for name, pictures in found.items() if pictures]
    parts = [name for name in filled if _PART.fullmatch(name)]
    if are_parts(filled):
        return parts
    nested = [name for name in parts if all(picture.count("/") > 1 for picture in found[name])]
    return nested if len(nested) > 1 else []


def _pictures(directory: str, folder: str) -> Iterator[str]:
    """Yield the pictures in a folder and those in it, relative to `directory`."""
    for parent, _, names in sorted(_walked(f"{directory}/{folder}")):
        inside = parent[len(directory) + 1 :].replace(os.sep, "/")
        for name in sorted(names):
            # No name of litter ends as a picture's.
            if not name.startswith(".") and name.lower().endswith(SUFFIXES):
                yield f"{inside}/{name}"


def _walked(directory: str) -> Iterator[tuple[str, list[str], list[str]]]:
    _require_no_loop(directory)
    for parent, folders, names in os.walk(directory, followlinks=True):
        folders[:] = [folder for folder in folders if not is_hidden(folder)]
        for folder in folders:
            _require_no_loop(f"{parent}/{folder}")
        yield parent, folders, names


def _require_no_loop(folder: str) -> None:
    """Raise for a link that would lead through the same pictures again and again."""
    path = Path(folder)
    if path.is_symlink() and path.parent.resolve().is_relative_to(path.resolve()):
        raise DatasetError(f"imagefolder {path}: is a link to a folder that it is in; remove it")
