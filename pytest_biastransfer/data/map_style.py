"""Adapts map-style datasets whose items are ``(image, label)`` or ``(image, label, attributes)``.

A label is a class number, or several labels as `label_table.row_of` takes them.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pytest_biastransfer.data.class_folders import are_splits
from pytest_biastransfer.data.dataset_state import DatasetState
from pytest_biastransfer.data.label_table import LabelTable, is_row, row_of
from pytest_biastransfer.data.labelled_images import LabelledImages, several_labels
from pytest_biastransfer.data.masks import MasksByIndex, as_mask, no_masks
from pytest_biastransfer.data.object_names import LabelNames, names_of_labels, names_of_table
from pytest_biastransfer.data.picture_decoding import pixels
from pytest_biastransfer.errors import DatasetError
from pytest_biastransfer.picture_files import only_allowed_formats, unreadable_file
from pytest_biastransfer.plain_text import path_from
from pytest_biastransfer.progress.activities import counted

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data.arrays import Image
    from pytest_biastransfer.data.label_table import Row
    from pytest_biastransfer.data.labelled_images import Numbering
    from pytest_biastransfer.data.masks import Mask, Masks

_ITEM_LENGTHS = (2, 3)
# The number of items that are read a second time.
_SAMPLE = 32
# Where torchvision's datasets list the files of their images, alone or before their labels.
_FILE_LISTS = ("samples", "imgs", "_samples", "_image_files", "_images")


class _Content(NamedTuple):
    """The result of one pass over a dataset.

    Attributes
    ----------
    labels
        int64 [images], or several an image.
    fingerprint
        Of the images and the labels.
    image_digests
        Of each image with its label.
    digests
        Of each item, with its attributes.
    attributes
        Of each item.
    """

    labels: npt.NDArray[np.int64] | LabelTable
    fingerprint: str
    image_digests: list[bytes]
    digests: list[bytes]
    attributes: list[dict[str, str | None]]


class MapStyleImages(LabelledImages):
    """A dataset with ``__len__`` and ``__getitem__``, such as those of torch and torchvision."""

    def __init__(self, dataset: Any, origin: str) -> None:
        self._dataset = dataset
        self._origin = origin
        self.name = type(dataset).__name__
        self._mask_digests: dict[str, list[bytes]] = {}
        # The state of the object when its images were read.
        self._state: DatasetState | None = None
        try:
            self._length = len(dataset)
        except TypeError as error:
            raise DatasetError(
                f"{origin}: {type(dataset).__name__} has no length; expected a map-style dataset, "
                f"with __len__ and __getitem__"
            ) from error
        if self._length == 0:
            raise DatasetError(f"{origin}: {type(dataset).__name__} is empty, expected at least one image")

    @functools.cached_property
    def classes(self) -> tuple[str, ...] | None:  # type: ignore[override]
        """The names of the labels, or None where some number from 0 on has no name."""
        names = self.names_by_number
        return tuple(map(names.__getitem__, range(len(names)))) if names and max(names) < len(names) else None

    @property
    def names_by_number(self) -> Mapping[int, str]:
        """The names of the labels as they are returned, from the dataset or from one that it wraps."""
        return {} if self.label_table is not None else self._label_names.by_number

    @property
    def numbering(self) -> Numbering:  # type: ignore[override]
        """``by its library`` where the labels number folders as torchvision sorts them; else ``declared``."""
        names = self.classes
        return "by its library" if names and self._label_names.from_folders and _is_sorted(names) else "declared"

    @functools.cached_property
    def _label_names(self) -> LabelNames:
        label_names = names_of_labels(self._dataset, self.labels)
        names = [label_names.by_number[number] for number in sorted(label_names.by_number)]
        if label_names.from_folders and are_splits(names):
            raise DatasetError(
                f"{self._origin}: {' and '.join(names)} are splits of a dataset, not classes; give {self.name} the "
                f"folder of one split"
            )
        return label_names

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The labels, read in one pass over the dataset."""
        if isinstance(self._content.labels, LabelTable):
            raise several_labels(self)
        return self._content.labels

    @property
    def label_table(self) -> LabelTable | None:
        """Several labels of each image, if there are any."""
        return self._content.labels if isinstance(self._content.labels, LabelTable) else None

    @property
    def fingerprint(self) -> str:
        """Hash of the decoded images and the labels."""
        return self._content.fingerprint

    @functools.cached_property
    def files(self) -> Sequence[str] | None:
        """The files in a list as torchvision's datasets have it, relative to ``root`` if they are below it."""
        if self._listed is None:
            return None
        root = getattr(self._dataset, "root", None)
        relative = None if root is None else [path_from(path, root) for path in self._listed]
        if relative is None or any(path.startswith(os.pardir) for path in relative):
            above = os.path.commonpath([os.path.dirname(path) for path in self._listed])  # noqa: PTH120 - of strings
            relative = [path_from(path, above) for path in self._listed]
        return relative

    @functools.cached_property
    def attributes(self) -> Mapping[str, Sequence[str]]:
        """The entries of the items' third elements that are strings, numbers or booleans; None is an empty string."""
        values = self._content.attributes
        # Where some images have a value, None is a missing one; where all have None, it is no attribute.
        names = dict.fromkeys(name for own in values for name, value in own.items() if value is not None)
        for name in names:
            for index, own in enumerate(values):
                if name not in own:
                    raise DatasetError(
                        f"{self._origin}: item {index} of {self.name}{self._file_of(index)} has no attribute {name!r}, "
                        f"which others have; expected the same of all"
                    )
        return {name: [own[name] or "" for own in values] for name in names}

    def _find_masks(self, name: str) -> Masks:
        """Return the masks in the items' third elements, which are pictures or arrays."""
        digest = functools.partial(self._mask_digest, name)
        digests = list(map(digest, range(self._length)))
        changed = self._changed(digests, digest)
        if changed is not None:
            raise DatasetError(
                f"{self._origin}: the mask {name!r} of item {changed} of {self.name} differs each time it is read; "
                f"a measurement needs the same each time"
            )
        self._mask_digests[name] = digests
        fingerprint = hashlib.sha256(b"".join(digests)).hexdigest()[:32]
        return MasksByIndex(lambda index: self._mask(name, index), fingerprint)

    def _mask(self, name: str, index: int) -> Mask:
        extras = {str(key): value for key, value in self._item(index)[2].items()}
        if name not in extras:
            others = [
                key for key, value in extras.items() if hasattr(value, "convert") or getattr(value, "ndim", 0) > 1
            ]
            raise no_masks(name, self.name, others)
        return as_mask(extras[name], f"{self._origin}: the mask {name!r} of item {index} of {self.name}")

    def _mask_digest(self, name: str, index: int) -> bytes:
        return _digest(self._mask(name, index), 0)

    @functools.cached_property
    def _content(self) -> _Content:
        images, digests, attributes, labels = [], [], [], []
        for index in counted(range(self._length), self._length, "reading", "images"):
            image, label, extras = self._item(index)
            labels.append(label)
            attributes.append(_scalars(extras))
            images.append(_digest(image, label))
            # An item without attributes has the digest of its image: the pixels are hashed once.
            digests.append(_digest(image, label, attributes[-1]) if attributes[-1] else images[-1])
        changed = self._changed(digests, self._item_digest)
        if changed is not None:
            raise DatasetError(
                f"{self._origin}: item {changed} of {self.name} differs each time it is read; remove random "
                f"augmentations from the dataset, a measurement needs the same images each time"
            )
        self._state = DatasetState(self._dataset)
        fingerprint = hashlib.sha256(b"".join(images)).hexdigest()[:32]
        return _Content(self._as_labels(labels), fingerprint, images, digests, attributes)

    def _as_labels(self, labels: Sequence[int | Row]) -> npt.NDArray[np.int64] | LabelTable:
        """Return class numbers, or several labels of each image; raise where the items differ."""
        numbers = [label for label in labels if isinstance(label, int)]
        rows = [label for label in labels if not isinstance(label, int)]
        if not rows:
            return np.array(numbers, dtype=np.int64)
        if numbers:
            index = next(i for i in range(1, len(labels)) if isinstance(labels[i], int) != isinstance(labels[0], int))
            kinds = (
                ("several labels", "a class number") if isinstance(labels[0], int) else ("a class number", "several")
            )
            raise DatasetError(
                f"{self._location(index)}: has {kinds[0]}, {labels[index]!r:.80}, and the items before it {kinds[1]}, "
                f"such as {labels[0]!r:.80}; expected one form for all items"
            )
        return LabelTable.of_rows(rows, self._location, names_of_table(self._dataset, rows[0]))

    def __len__(self) -> int:
        return self._length

    def looks_unchanged(self) -> bool:
        """Whether the object's attributes, its length and a sample of its items, read again, are the same as before.

        If not, all cached content is dropped, and the next access reads it again.
        """
        if self._is_unchanged():
            return True
        for name in ("_content", "classes", "attributes", "files", "_listed", "_cached_masks"):
            vars(self).pop(name, None)
        self._mask_digests.clear()
        self._length, self._state = len(self._dataset), None
        return False

    def _is_unchanged(self) -> bool:
        if self._state is not None and self._state != DatasetState(self._dataset):
            return False
        digested: list[tuple[list[bytes], Callable[[int], bytes]]] = []
        for name, digests in self._mask_digests.items():
            digested.append((digests, functools.partial(self._mask_digest, name)))
        if "_content" in vars(self):
            digested.append((self._content.digests, self._item_digest))
        unchanged = len(self._dataset) == self._length and all(self._changed(*pair) is None for pair in digested)
        if self._state is not None:
            # Reading the items may have filled caches of the object, which are no change.
            self._state = DatasetState(self._dataset)
        return unchanged

    def __getstate__(self) -> dict[str, object]:
        return {**super().__getstate__(), "_state": None}

    def _item_digest(self, index: int) -> bytes:
        image, label, extras = self._item(index)
        return _digest(image, label, _scalars(extras))

    def _changed(self, digests: Sequence[bytes], digest: Callable[[int], bytes]) -> int | None:
        """Read a sample of the items again, and return the index of a changed one, or None.

        A random augmentation changes at least one item of the sample almost surely.
        """
        for index in range(0, self._length, -(-self._length // _SAMPLE)):
            if digest(index) != digests[index]:
                return index
        return None

    def content_digests(self) -> Sequence[bytes]:
        """Return the hashes of the decoded images, which were read once."""
        return self._content.image_digests

    def image(self, index: int) -> Image:
        """Return the image of one item."""
        return self._item(index)[0]

    def _location(self, index: int) -> str:
        return f"{self._origin}: item {index} of {self.name}{self._file_of(index)}"

    def _item(self, index: int) -> tuple[Image, int | Row, Mapping[Any, Any]]:
        location = self._location(index)
        try:
            with only_allowed_formats():
                item = self._dataset[index]
        except unreadable_file() as error:
            raise DatasetError(f"{location}: cannot be read ({error})") from error
        if not isinstance(item, tuple | list) or len(item) not in _ITEM_LENGTHS:
            raise DatasetError(
                f"{location} is a {type(item).__name__}; expected (image, label) or (image, label, attributes)"
            )
        extras = item[2] if len(item) == 3 and isinstance(item[2], Mapping) else {}
        return pixels(item[0], location), _label(item[1], location), extras

    def _file_of(self, index: int) -> str:
        """Return the file of an item in parentheses, for error messages."""
        return "" if self._listed is None else f" ({self._listed[index]})"

    @functools.cached_property
    def _listed(self) -> list[str] | None:
        """The files of the items, where the dataset has a list of files with one entry an item."""
        for name in _FILE_LISTS:
            listed = getattr(self._dataset, name, None)
            if isinstance(listed, Sequence) and len(listed) == self._length:
                paths = [entry[0] if isinstance(entry, tuple | list) and entry else entry for entry in listed]
                if all(isinstance(path, str | os.PathLike) for path in paths):
                    return [os.fspath(path) for path in paths]
        return None


def _scalars(extras: Mapping[Any, Any]) -> dict[str, str | None]:
    """Return the entries that are a single string, number or boolean, as strings, and those that are None."""
    values = {name: value.item() if getattr(value, "ndim", None) == 0 else value for name, value in extras.items()}
    return {
        str(name): None if value is None else str(value)
        for name, value in values.items()
        if value is None or isinstance(value, str | int | float)
    }


def _digest(image: npt.NDArray[Any], label: int | Row, attributes: Mapping[str, str | None] | None = None) -> bytes:
    form = f"{image.dtype}{image.shape}{label}{sorted((attributes or {}).items()) or ''}".encode()
    return hashlib.sha256(form + np.ascontiguousarray(image).tobytes()).digest()


def _label(label: Any, location: str) -> int | Row:
    if is_row(label):
        return row_of(label, location)
    number = label.item() if getattr(label, "ndim", None) == 0 else label
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise DatasetError(f"{location}: the label is {label!r:.60}, expected a whole number from 0 on")
    return number


def _is_sorted(names: Sequence[str]) -> bool:
    return list(names) == sorted(names)
