"""Datasets with one folder a class: which entries of a directory are classes and pictures."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from pytest_biastransfer.errors import DatasetError

SUFFIXES: Final = (".bmp", ".dcm", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
# Folders of operating systems and tools, besides those whose names begin with a dot.
_LITTER: Final = frozenset(
    ("__macosx", "__pycache__", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found")
)
_SPLIT_NAME: Final = re.compile(
    r"(train|training|trainval|val|valid|validation|dev|test|testing|eval|evaluation|holdout)"
    r"([-_. ]?(set|data|images?|split|[0-9]+))*",
    re.IGNORECASE,
)


def pictures_by_class(directory: Path) -> dict[str, list[str]]:
    """Return the pictures of each class, relative to `directory`; classes and pictures are sorted by code points.

    Each folder is a class. Hidden entries and those of operating systems are left out.

    Raises
    ------
    DatasetError
        If the folders are splits of a dataset, such as ``train`` and ``val``, instead of classes.
    """
    folders = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir() and not is_hidden(entry.name))
    by_class = {folder: list(_pictures(str(directory), folder)) for folder in folders}
    splits = _split_folders(by_class)
    if splits:
        names = " and ".join(f"{name}/" for name in splits)
        raise DatasetError(
            f"imagefolder {directory}: {names} are splits of a dataset, not classes; name the folder of one split, "
            f"such as imagefolder:{directory / splits[-1]}"
        )
    return by_class


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or belongs to an operating system or a tool instead of the dataset."""
    return name.startswith(".") or name.lower() in _LITTER


def are_splits(names: Sequence[str]) -> bool:
    """Whether all names of folders are names of splits, such as ``train`` and ``val``."""
    return len(names) > 0 and all(map(_SPLIT_NAME.fullmatch, names))


def _split_folders(by_class: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the folders that are splits: where all folders have such names, or several of them have subfolders.

    A class may be called ``test``; a folder with subfolders beside another such folder is hardly a class.
    """
    filled = [name for name, pictures in by_class.items() if pictures]
    splits = [name for name in filled if _SPLIT_NAME.fullmatch(name)]
    if are_splits(filled):
        return splits
    nested = [name for name in splits if all(picture.count("/") > 1 for picture in by_class[name])]
    return nested if len(nested) > 1 else []


def _pictures(directory: str, folder: str) -> Iterator[str]:
    """Yield the pictures in a folder and its subfolders, relative to `directory`."""
    for parent, _, names in sorted(_walk(f"{directory}/{folder}")):
        folder_name = parent[len(directory) + 1 :].replace(os.sep, "/")
        for name in sorted(names):
            # Names in _LITTER have no suffix of a picture, so files need not be compared with them.
            if not name.startswith(".") and name.lower().endswith(SUFFIXES):
                yield f"{folder_name}/{name}"


def _walk(directory: str) -> Iterator[tuple[str, list[str], list[str]]]:
    _require_no_loop(directory)
    for parent, folders, names in os.walk(directory, followlinks=True):
        folders[:] = [folder for folder in folders if not is_hidden(folder)]
        for folder in folders:
            _require_no_loop(f"{parent}/{folder}")
        yield parent, folders, names


def _require_no_loop(folder: str) -> None:
    """Raise for a link to a folder that contains it: the walk would never end."""
    path = Path(folder)
    if path.is_symlink() and path.parent.resolve().is_relative_to(path.resolve()):
        raise DatasetError(f"imagefolder {path}: is a link to a folder that it is in; remove it")
