"""``imagefolder:DIR``: pictures in one folder a class, as torchvision's ImageFolder lays them out."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pytest_biastransfer.data.class_folders import SUFFIXES, pictures_by_class
from pytest_biastransfer.data.gray_values import KEYS as WINDOW_KEYS
from pytest_biastransfer.data.gray_values import Window, declared_window
from pytest_biastransfer.data.image_files import ImageFiles
from pytest_biastransfer.errors import DatasetError
from pytest_biastransfer.specs.spec import Spec
from pytest_biastransfer.store import Facts

KEYS: Final = WINDOW_KEYS


def load(spec: Spec, facts: Facts | None) -> ImageFolder:
    """Return the pictures in the directory that a spec names."""
    return ImageFolder(spec.path(), facts, declared_window(spec))


class ImageFolder(ImageFiles):
    """The pictures in the folders of `directory`, sorted; the folders, sorted, are the classes."""

    numbering = "sorted"

    def __init__(self, directory: Path, facts: Facts | None = None, window: Window | None = None) -> None:
        if not directory.is_dir():
            raise DatasetError(f"imagefolder {directory}: no such directory")
        by_class = pictures_by_class(directory)
        labels = [label for label, pictures in enumerate(by_class.values()) for _ in pictures]
        if not labels:
            raise DatasetError(
                f"imagefolder {directory}: no pictures; expected one folder a class with "
                f"{', '.join(SUFFIXES)} files in it"
            )
        files = [name for pictures in by_class.values() for name in pictures]
        super().__init__(directory, files, labels, facts, window)
        self.name = directory.resolve().name
        self.classes = tuple(by_class)
