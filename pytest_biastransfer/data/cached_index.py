"""Datasets with a cached index: labels, classes and hashes are read once, and again only when a file has changed."""

from __future__ import annotations

import functools
import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypedDict

from pytest_biastransfer._version import __version__
from pytest_biastransfer.data.label_table import LabelTable, TableTexts, is_table
from pytest_biastransfer.data.labelled_images import LabelledImages, Numbering, several_labels
from pytest_biastransfer.errors import DatasetError
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.store import Facts, StoreDirectory
from pytest_biastransfer.store.facts import Digest

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_biastransfer.data.masks import Mask, Masks


# Labels are int64.
_LARGEST: Final = 2**63 - 1


class DatasetIndex(TypedDict):
    """The result of one reading.

    `contents` is a hash of all images in order. `labels` are class numbers, none if there is a `table`. `masks` are
    the names of the masks. `sorted` says whether the classes are numbered here, in the order of their names. The other
    fields are those of `LabelledImages`.
    """

    labels: list[int]
    table: TableTexts | None
    classes: list[str] | None
    sorted: bool
    contents: str
    files: list[str] | None
    attributes: dict[str, list[str]]
    masks: list[str]


def _is_consistent(index: DatasetIndex) -> bool:
    """Whether all fields have one entry an image, and the labels are valid.

    The index comes from a file of the store, which anything may have written.
    """
    count = _count(index)
    columns = [*index["attributes"].values(), *([] if index["files"] is None else [index["files"]])]
    return (
        count > 0
        and all(len(column) == count for column in columns)
        and (is_table(index["table"]) if index["table"] is not None else _are_labels(index))
    )


def _count(index: DatasetIndex) -> int:
    """Return the number of images."""
    return len(index["labels"] if index["table"] is None else index["table"]["texts"])


def _are_labels(index: DatasetIndex) -> bool:
    labels, classes = index["labels"], index["classes"]
    return min(labels) >= 0 and max(labels) <= _LARGEST and (classes is None or max(labels) < len(classes))


def require_labels(labels: Sequence[int], subject: str) -> None:
    """Raise `DatasetError` for numbers that are not valid labels; `subject` begins the message."""
    for label in (min(labels), max(labels)):
        if not 0 <= label <= _LARGEST:
            raise DatasetError(f"{subject} the label {label}, expected whole numbers from 0 on, below 2**63")


class CachedIndexImages(LabelledImages):
    """Images whose index is read once and cached, across sessions, as long as their files look the same."""

    def __init__(self, facts: Facts | None) -> None:
        self._facts = facts or Facts(StoreDirectory(None))

    @abstractmethod
    def _sources(self) -> Sequence[Path | str]:
        """Return the files that the images depend on, as absolute paths; at least one."""

    @abstractmethod
    def _cache_key(self) -> tuple[object, ...]:
        """Return what the index depends on besides the files, such as the options of the spec."""

    @abstractmethod
    def _read_index(self) -> DatasetIndex:
        """Read all images."""

    @functools.cached_property
    def _index(self) -> DatasetIndex:
        key = fingerprint("dataset", __version__, sorted(DatasetIndex.__annotations__), *self._cache_key())
        try:
            index: DatasetIndex = self._facts.of_files(
                self._sources(), key, self._read_index, Annotated[DatasetIndex, _is_consistent]
            )
        except OSError as error:
            raise DatasetError(f"{error.filename or self.name}: cannot be read ({error})") from error
        return index

    @functools.cached_property
    def classes(self) -> tuple[str, ...] | None:  # type: ignore[override]
        """The names of the classes, if there are any."""
        names = self._index["classes"]
        return None if names is None else tuple(names)

    @property
    def numbering(self) -> Numbering:  # type: ignore[override]
        """Where the classes' numbers come from."""
        return "sorted" if self._index["sorted"] else "declared"

    @functools.cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """The labels."""
        import numpy as np

        if self._index["table"] is not None:
            raise several_labels(self)
        return np.array(self._index["labels"], dtype=np.int64)

    @functools.cached_property
    def label_table(self) -> LabelTable | None:
        """Several labels of each image, if there are any."""

        table = self._index["table"]
        return None if table is None else LabelTable.of_texts(table)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of the images and the labels."""
        table = self._index["table"]
        labels = self._index["labels"] if table is None else table["texts"]
        return hashlib.sha256(f"{labels}{self._index['contents']}".encode()).hexdigest()[:32]

    @property
    def files(self) -> Sequence[str] | None:
        """The names of the images' files, if they have any."""
        return self._index["files"]

    @property
    def attributes(self) -> Mapping[str, Sequence[str]]:
        """The attributes of the images."""
        return self._index["attributes"]

    def _find_masks(self, name: str) -> Masks:
        from pytest_biastransfer.data.masks import MasksByIndex, no_masks

        names = self._index["masks"]
        if name not in names:
            raise no_masks(name, self.name, names)
        key = fingerprint("masks", __version__, name, *self._cache_key())
        digest = self._facts.of_files(self._sources(), key, lambda: self._digest_of_masks(name), Digest)
        return MasksByIndex(lambda index: self._mask(name, index), digest)

    def _digest_of_masks(self, name: str) -> str:
        """Return a hash of all masks of a name, in order."""
        raise NotImplementedError(f"{type(self).__name__} finds no masks")

    def _mask(self, name: str, index: int) -> Mask:
        """Return one of the masks of a name."""
        raise NotImplementedError(f"{type(self).__name__} finds no masks")

    def __len__(self) -> int:
        return _count(self._index)
