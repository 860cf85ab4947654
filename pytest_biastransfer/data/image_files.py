"""Labelled picture files: the base of datasets that are folders or lists of pictures."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_biastransfer.data.file_hashes import contents_of, digests_of
from pytest_biastransfer.data.gray_values import DECLARE, Window, windowed_digests
from pytest_biastransfer.data.label_table import LabelTable
from pytest_biastransfer.data.labelled_images import LabelledImages, several_labels
from pytest_biastransfer.store import Facts, StoreDirectory

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_biastransfer.data.arrays import Image


class ImageFiles(LabelledImages):
    """The pictures in `files`, whose names are relative to `directory`, with forward slashes.

    `window` says which gray values of more than 8 bits are black and white. Files are read only for their pixels or
    their fingerprint. Pillow decodes them, as torchvision takes seconds to import. With `facts`, later sessions reuse
    the fingerprint as long as the files' sizes and times are the same.
    """

    reads_in_parallel = True

    def __init__(
        self,
        directory: Path,
        files: Sequence[str],
        labels: Sequence[int] | LabelTable,
        facts: Facts | None,
        window: Window | None = None,
    ) -> None:
        self._directory = directory
        self._files = files
        self._labels = labels
        self._facts = facts or Facts(StoreDirectory(None))
        self._window = window

    @functools.cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """The label of each picture."""
        import numpy as np

        if isinstance(self._labels, LabelTable):
            raise several_labels(self)
        return np.array(self._labels, dtype=np.int64)

    @property
    def label_table(self) -> LabelTable | None:
        """Several labels of each picture, if there are any."""
        return self._labels if isinstance(self._labels, LabelTable) else None

    @property
    def files(self) -> Sequence[str]:
        """The names of the files, relative to the dataset."""
        return self._files

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of the files' content and labels, and of the window."""
        paths = [self._path(name) for name in self._files]
        contents = contents_of(paths, self._facts, self._subject)
        labels = self._labels.to_texts()["texts"] if isinstance(self._labels, LabelTable) else list(self._labels)
        window = "" if self._window is None else f" {self._window}"
        return hashlib.sha256(f"{labels}{contents}{window}".encode()).hexdigest()[:32]

    def content_digests(self) -> Sequence[bytes]:
        """Return a hash of each file; the files are read again unless their sizes and times are known."""
        digests = digests_of([self._path(name) for name in self._files], self._facts, self._subject)
        return windowed_digests(digests, self._window)

    def image(self, index: int) -> Image:
        """Return one decoded picture, RGB: uint8, or float32 for gray values of more than 8 bits."""
        from pytest_biastransfer.data.picture_decoding import DeepGray, read_picture

        return read_picture(
            Path(self._path(self._files[index])), self._location(index), DeepGray(self._window, DECLARE)
        )

    def _path(self, name: str) -> str:
        return f"{self._directory}/{name}"  # A tenth of the time of a Path.

    def _subject(self, index: int | None) -> str:
        return f"{f'images of {self.name}' if index is None else self._location(index)}:"

    def _location(self, index: int) -> str:
        """Return the image's file, for an error message."""
        return f"image {Path(self._path(self._files[index]))}"

    def __len__(self) -> int:
        return len(self._files)
