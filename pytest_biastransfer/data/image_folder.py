"""``imagefolder:DIR``: pictures in one folder a class, as torchvision's ImageFolder lays them out."""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pytest_biastransfer.data.decoding import read_picture
from pytest_biastransfer.data.images import LabelledImages
from pytest_biastransfer.errors import DatasetError

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data.images import Image

_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


class ImageFolder(LabelledImages):
    """The pictures in the folders of `directory`, sorted; the folders, sorted, are the classes.

    Files are read only when their pixels or their fingerprint are asked for, and torchvision, which
    takes seconds to import, is not needed.
    """

    def __init__(self, directory: Path) -> None:
        if not directory.is_dir():
            raise DatasetError(f"imagefolder {directory}: no such directory")
        folders = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir())
        self._files = [
            (Path(parent, name), label)
            for label, folder in enumerate(folders)
            for parent, _, names in sorted(os.walk(directory / folder, followlinks=True))
            for name in sorted(names)
            if name.lower().endswith(_SUFFIXES)
        ]
        if not self._files:
            raise DatasetError(
                f"imagefolder {directory}: no pictures; expected one folder a class with "
                f"{', '.join(_SUFFIXES)} files in it"
            )
        self.name = directory.resolve().name
        self.classes = tuple(folders)

    @functools.cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """The number of each picture's folder."""
        return np.array([label for _, label in self._files], dtype=np.int64)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of the files' content and labels."""
        digest = hashlib.sha256()
        for path, label in self._files:
            try:
                content = path.read_bytes()
            except OSError as error:
                raise DatasetError(f"image {path}: cannot be read ({error})") from error
            digest.update(f"{label}".encode() + hashlib.sha256(content).digest())
        return digest.hexdigest()[:32]

    def image(self, index: int) -> Image:
        """Return one decoded picture, uint8 RGB."""
        return read_picture(self._files[index][0])
