"""Any map-style dataset of ``(image, label)`` or ``(image, label, attributes)``."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_biastransfer.data.class_folders import are_parts
from pytest_biastransfer.data.dataset_state import DatasetState
from pytest_biastransfer.data.labelled_images import LabelledImages
from pytest_biastransfer.data.masks import MasksByIndex, as_mask, no_masks
from pytest_biastransfer.data.object_names import LabelNames, names_of_labels
from pytest_biastransfer.data.picture_decoding import pixels
from pytest_biastransfer.errors import DatasetError
from pytest_biastransfer.picture_files import only_allowed_formats, unreadable_file

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data.arrays import Image
    from pytest_biastransfer.data.labelled_images import Numbering
    from pytest_biastransfer.data.masks import Mask, Masks

_ITEM_LENGTHS = (2, 3)
_READ_AGAIN = 32
# Where torchvision's datasets list the files of their images, alone or before their labels.
_FILE_LISTS = ("samples", "imgs", "_samples", "_image_files", "_images")


class MapStyleImages(LabelledImages):
    """A dataset with ``__len__`` and ``__getitem__``, such as those of torch and torchvision."""

    def __init__(self, dataset: Any, place: str) -> None:
        self._dataset = dataset
        self._place = place
        self.name = type(dataset).__name__
        self._mask_digests: dict[str, list[bytes]] = {}
        # When the images were read.
        self._state: DatasetState | None = None
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
        """The names of the labels, if they are numbered from 0 on without a gap."""
        names = self.names_by_number
        return tuple(map(names.__getitem__, range(len(names)))) if names and max(names) < len(names) else None

    @property
    def names_by_number(self) -> Mapping[int, str]:
        """The names that the dataset, or one that it wraps, has for the labels as they come out."""
        return self._label_names.by_number

    @property
    def numbering(self) -> Numbering:  # type: ignore[override]
        """Whether the labels number folders as torchvision has sorted them."""
        names = self.classes
        return "by its library" if names and self._label_names.from_folders and _is_sorted(names) else "declared"

    @functools.cached_property
    def _label_names(self) -> LabelNames:
        found = names_of_labels(self._dataset, self.labels)
        names = [found.by_number[number] for number in sorted(found.by_number)]
        if found.from_folders and are_parts(names):
            raise DatasetError(
                f"{self._place}: {' and '.join(names)} are parts of a dataset, not classes; give {self.name} the "
                f"folder of one part"
            )
        return found

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The labels, read in one pass over the dataset."""
        return self._content[0]

    @property
    def fingerprint(self) -> str:
        """Hash of the decoded images and the labels."""
        return self._content[1]

    @functools.cached_property
    def files(self) -> Sequence[str] | None:
        """The files that the dataset lists as torchvision's do, relative to its ``root`` if they are in there."""
        if self._listed is None:
            return None
        root = getattr(self._dataset, "root", None)
        relative = None if root is None else [os.path.relpath(path, root) for path in self._listed]
        if relative is None or any(path.startswith(os.pardir) for path in relative):
            above = os.path.commonpath([os.path.dirname(path) for path in self._listed])  # noqa: PTH120 - of strings
            relative = [os.path.relpath(path, above) for path in self._listed]
        return [Path(path).as_posix() for path in relative]

    @functools.cached_property
    def attributes(self) -> Mapping[str, Sequence[str]]:
        """What the items' third elements say, where these are mappings to strings, numbers or truth values."""
        told = self._content[3]
        for name in dict.fromkeys(name for one in told for name in one):
            for index, one in enumerate(told):
                if name not in one:
                    raise DatasetError(
                        f"{self._place}: item {index} of {self.name}{self._file_of(index)} has no attribute {name!r}, "
                        f"which others have; expected the same of all"
                    )
        return {name: [one[name] for one in told] for name in told[0]}

    def _find_masks(self, name: str) -> Masks:
        """Return what the items' third elements say, where these are mappings to pictures or arrays."""
        digest = functools.partial(self._mask_digest, name)
        digests = list(map(digest, range(self._length)))
        changed = self._changed(digests, digest)
        if changed is not None:
            raise DatasetError(
                f"{self._place}: the mask {name!r} of item {changed} of {self.name} differs each time it is read; "
                f"a measurement needs the same each time"
            )
        self._mask_digests[name] = digests
        fingerprint = hashlib.sha256(b"".join(digests)).hexdigest()[:32]
        return MasksByIndex(lambda index: self._mask(name, index), fingerprint)

    def _mask(self, name: str, index: int) -> Mask:
        told = {str(key): value for key, value in self._item(index)[2].items()}
        if name not in told:
            others = [key for key, value in told.items() if hasattr(value, "convert") or getattr(value, "ndim", 0) > 1]
            raise no_masks(name, self.name, others)
        return as_mask(told[name], f"{self._place}: the mask {name!r} of item {index} of {self.name}")

    def _mask_digest(self, name: str, index: int) -> bytes:
        return _digest(self._mask(name, index), 0)

    @functools.cached_property
    def _content(self) -> tuple[npt.NDArray[np.int64], str, list[bytes], list[dict[str, str]]]:
        images, digests, attributes = [], [], []
        labels = np.empty(self._length, dtype=np.int64)
        for index in range(self._length):
            image, labels[index], told = self._item(index)
            attributes.append(_scalars(told))
            images.append(_digest(image, labels[index]))
            digests.append(_digest(image, labels[index], attributes[-1]))
        changed = self._changed(digests, self._item_digest)
        if changed is not None:
            raise DatasetError(
                f"{self._place}: item {changed} of {self.name} differs each time it is read; remove random "
                f"augmentations from the dataset, a measurement needs the same images each time"
            )
        self._state = DatasetState(self._dataset)
        return labels, hashlib.sha256(b"".join(images)).hexdigest()[:32], digests, attributes

    def looks_unchanged(self) -> bool:
        """Whether the object's attributes, the length and some items, read again, are what they were.

        Where they are not, all is read again when it is next asked for.
        """
        if self._is_unchanged():
            return True
        for name in ("_content", "classes", "attributes", "files", "_listed", "_known_masks"):
            vars(self).pop(name, None)
        self._mask_digests.clear()
        self._length, self._state = len(self._dataset), None
        return False

    def _is_unchanged(self) -> bool:
        if self._state is not None and self._state != DatasetState(self._dataset):
            return False
        known: list[tuple[list[bytes], Callable[[int], bytes]]] = []
        for name, digests in self._mask_digests.items():
            known.append((digests, functools.partial(self._mask_digest, name)))
        if "_content" in vars(self):
            known.append((self._content[2], self._item_digest))
        unchanged = len(self._dataset) == self._length and all(self._changed(*one) is None for one in known)
        if self._state is not None:
            # Reading may fill caches.
            self._state = DatasetState(self._dataset)
        return unchanged

    def __getstate__(self) -> dict[str, object]:
        return {**super().__getstate__(), "_state": None}

    def _item_digest(self, index: int) -> bytes:
        image, label, told = self._item(index)
        return _digest(image, label, _scalars(told))

    def _changed(self, digests: Sequence[bytes], digest: Callable[[int], bytes]) -> int | None:
        """Read some items again; a random augmentation changes at least one of them, almost surely."""
        for index in range(0, self._length, -(-self._length // _READ_AGAIN)):
            if digest(index) != digests[index]:
                return index
        return None

    def image(self, index: int) -> Image:
        """Return the image of one item."""
        return self._item(index)[0]

    def _item(self, index: int) -> tuple[Image, int, Mapping[Any, Any]]:
        place = f"{self._place}: item {index} of {self.name}{self._file_of(index)}"
        try:
            with only_allowed_formats():
                item = self._dataset[index]
        except unreadable_file() as error:
            raise DatasetError(f"{place}: cannot be read ({error})") from error
        if not isinstance(item, tuple | list) or len(item) not in _ITEM_LENGTHS:
            raise DatasetError(
                f"{place} is a {type(item).__name__}; expected (image, label) or (image, label, attributes)"
            )
        told = item[2] if len(item) == 3 and isinstance(item[2], Mapping) else {}
        return pixels(item[0], place), _label(item[1], place), told

    def _file_of(self, index: int) -> str:
        """Return the file of an item, for error messages."""
        return "" if self._listed is None else f" ({self._listed[index]})"

    @functools.cached_property
    def _listed(self) -> list[str] | None:
        """The files of the items, where the dataset lists as many as it has items."""
        for name in _FILE_LISTS:
            listed = getattr(self._dataset, name, None)
            if isinstance(listed, Sequence) and len(listed) == self._length:
                paths = [one[0] if isinstance(one, tuple | list) and one else one for one in listed]
                if all(isinstance(path, str | os.PathLike) for path in paths):
                    return [os.fspath(path) for path in paths]
        return None


def _scalars(told: Mapping[Any, Any]) -> dict[str, str]:
    """Return the entries that are one string, number or truth value, as strings."""
    values = {name: value.item() if getattr(value, "ndim", None) == 0 else value for name, value in told.items()}
    return {str(name): str(value) for name, value in values.items() if isinstance(value, str | int | float)}


def _digest(image: npt.NDArray[Any], label: int, attributes: Mapping[str, str] | None = None) -> bytes:
    form = f"{image.dtype}{image.shape}{label}{sorted((attributes or {}).items()) or ''}".encode()
    return hashlib.sha256(form + np.ascontiguousarray(image).tobytes()).digest()


def _label(label: Any, place: str) -> int:
    number = label.item() if getattr(label, "ndim", None) == 0 else label
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise DatasetError(f"{place}: the label is {label!r:.60}, expected a whole number from 0 on")
    return number


def _is_sorted(names: Sequence[str]) -> bool:
    return list(names) == sorted(names)
