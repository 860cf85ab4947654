"""``imagefolder:DIR``: pictures in one folder a class, as torchvision's ImageFolder lays them out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pytest_biastransfer.data.image_files import ImageFiles
from pytest_biastransfer.errors import DatasetError
from pytest_biastransfer.specs import Spec
from pytest_biastransfer.store import Facts

KEYS: Final = ()
_SUFFIXES: Final = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


def load(spec: Spec, facts: Facts | None) -> ImageFolder:
    """Return the pictures in the directory that a spec names."""
    return ImageFolder(spec.path(), facts)


class ImageFolder(ImageFiles):
    """The pictures in the folders of `directory`, sorted; the folders, sorted, are the classes."""

    def __init__(self, directory: Path, facts: Facts | None = None) -> None:
        if not directory.is_dir():
            raise DatasetError(f"imagefolder {directory}: no such directory")
        folders = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir())
        found = [(name, label) for label, folder in enumerate(folders) for name in _pictures(str(directory), folder)]
        if not found:
            raise DatasetError(
                f"imagefolder {directory}: no pictures; expected one folder a class with "
                f"{', '.join(_SUFFIXES)} files in it"
            )
        super().__init__(directory, [name for name, _ in found], [label for _, label in found], facts)
        self.name = directory.resolve().name
        self.classes = tuple(folders)


def _pictures(directory: str, folder: str) -> Iterator[str]:
    """Yield the pictures in a folder and those in it, relative to `directory`."""
    for parent, _, names in sorted(os.walk(f"{directory}/{folder}", followlinks=True)):
        inside = parent[len(directory) + 1 :].replace(os.sep, "/")
        for name in sorted(names):
            if name.lower().endswith(_SUFFIXES):
                yield f"{inside}/{name}"
