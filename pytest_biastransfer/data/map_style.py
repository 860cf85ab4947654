"""Any map-style dataset of ``(image, label)`` or ``(image, label, attributes)``."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_biastransfer.data.decoding import pixels, unreadable_file
from pytest_biastransfer.data.images import LabelledImages
from pytest_biastransfer.errors import DatasetError

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data.images import Image

_ITEM_LENGTHS = (2, 3)
_READ_AGAIN = 32


class MapStyleImages(LabelledImages):
    """A dataset with ``__len__`` and ``__getitem__``, such as those of torch and torchvision."""

    def __init__(self, dataset: Any, place: str) -> None:
        self._dataset = dataset
        self._place = place
        self.name = type(dataset).__name__
        try:
            self._length = len(dataset)
        except TypeError as error:
            raise DatasetError(
                f"{place}: {type(dataset).__name__} has no length; expected a map-style dataset, "
                f"with __len__ and __getitem__"
            ) from error
        if self._length == 0:
            raise DatasetError(f"{place}: {type(dataset).__name__} is empty, expected at least one image")

    @functools.cached_property
    def classes(self) -> tuple[str, ...] | None:  # type: ignore[override]
        """The dataset's ``classes``, if its labels number them."""
        names = getattr(self._dataset, "classes", None)
        if not isinstance(names, Sequence) or isinstance(names, str):
            return None
        if not all(isinstance(name, str) for name in names) or self.labels.max() >= len(names):
            return None
        return tuple(names)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The labels, read in one pass over the dataset."""
        return self._content[0]

    @property
    def fingerprint(self) -> str:
        """Hash of the decoded images and the labels."""
        return self._content[1]

    @functools.cached_property
    def _content(self) -> tuple[npt.NDArray[np.int64], str, list[bytes]]:
        digests = []
        labels = np.empty(self._length, dtype=np.int64)
        for index in range(self._length):
            image, labels[index] = self._item(index)
            digests.append(_digest(image, labels[index]))
        changed = self._changed(digests)
        if changed is not None:
            raise DatasetError(
                f"{self._place}: item {changed} of {self.name} differs each time it is read; remove random "
                f"augmentations from the dataset, a measurement needs the same images each time"
            )
        return labels, hashlib.sha256(b"".join(digests)).hexdigest()[:32], digests

    def looks_unchanged(self) -> bool:
        """Whether the length and some items, read again, are what they were."""
        if "_content" not in vars(self):
            return True
        return len(self._dataset) == self._length and self._changed(self._content[2]) is None

    def _changed(self, digests: Sequence[bytes]) -> int | None:
        """Read some items again; a random augmentation changes at least one of them, almost surely."""
        for index in range(0, self._length, -(-self._length // _READ_AGAIN)):
            if _digest(*self._item(index)) != digests[index]:
                return index
        return None

    def image(self, index: int) -> Image:
        """Return the image of one item."""
        return self._item(index)[0]

    def _item(self, index: int) -> tuple[Image, int]:
        place = f"{self._place}: item {index} of {self.name}{self._file_of(index)}"
        try:
            item = self._dataset[index]
        except unreadable_file() as error:
            raise DatasetError(f"{place}: cannot be read ({error})") from error
        if not isinstance(item, tuple | list) or len(item) not in _ITEM_LENGTHS:
            raise DatasetError(
                f"{place} is a {type(item).__name__}; expected (image, label) or (image, label, attributes)"
            )
        return pixels(item[0], place), _label(item[1], place)

    def _file_of(self, index: int) -> str:
        """Return the file of an item, where the dataset lists its files as torchvision's do."""
        samples = getattr(self._dataset, "samples", None)
        if isinstance(samples, Sequence) and len(samples) == self._length:
            return f" ({samples[index][0]})"
        return ""


def _digest(image: Image, label: int) -> bytes:
    form = f"{image.dtype}{image.shape}{label}".encode()
    return hashlib.sha256(form + np.ascontiguousarray(image).tobytes()).digest()


def _label(label: Any, place: str) -> int:
    number = label.item() if getattr(label, "ndim", None) == 0 else label
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise DatasetError(f"{place}: the label is {label!r:.60}, expected a whole number from 0 on")
    return number
