"""A subset of a dataset's classes, renumbered from 0."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pytest_biastransfer.data.class_map import ClassMap
from pytest_biastransfer.data.subset import IndexSelection
from pytest_biastransfer.fingerprints import fingerprint

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.data.labelled_images import Numbering


class OfClasses(IndexSelection):
    """The images of the classes with these numbers, which are renumbered from 0 in this order."""

    def __init__(self, inner: LabelledImages, numbers: Sequence[int]) -> None:
        super().__init__(inner, np.flatnonzero(np.isin(inner.labels, numbers)))
        self._numbers = tuple(numbers)

    @property
    def classes(self) -> tuple[str, ...] | None:  # type: ignore[override]
        """The names of these classes, if there are any."""
        names = self.inner.classes
        return None if names is None else tuple(names[number] for number in self._numbers)

    @property
    def names_by_number(self) -> Mapping[int, str]:
        """The names of these classes, by their new numbers."""
        inner = self.inner.names_by_number
        return {new: inner[number] for new, number in enumerate(self._numbers) if number in inner}

    @property
    def numbering(self) -> Numbering:  # type: ignore[override]
        """These numbers are declared."""
        return "declared"

    @property
    def class_map(self) -> ClassMap | None:  # type: ignore[override]
        """The inner class map, with the new numbers in place of the old ones."""
        inner = self.inner.class_map
        if inner is None:
            return None
        return ClassMap(inner.path, tuple((new, target) for key, target in inner.pairs for new in self._new_key(key)))

    def _new_key(self, key: str) -> Iterator[str]:
        """Yield the key of a class map for these classes that corresponds to a key for the inner ones, if any."""
        names, number = self.inner.classes, int(key) if key.isascii() and key.isdecimal() and len(key) <= 18 else -1
        if names is not None and key in names:
            yield from {key} & set(self.classes or ())
        elif number in self._numbers:
            yield str(self._numbers.index(number)) if names is None else names[number]

    @functools.cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """The new numbers."""
        # Look up old numbers in ascending order, then map these positions to the requested order.
        ascending = np.argsort(self._numbers)
        renumbered: npt.NDArray[np.int64] = ascending[np.searchsorted(np.sort(self._numbers), self._old_labels)]
        return renumbered

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of the inner fingerprint, the selected images, and their labels if these have changed."""
        selected = IndexSelection(self.inner, self.indices).fingerprint
        if np.array_equal(self.labels, self._old_labels):
            return selected
        return fingerprint("renumbered", selected, self._numbers)

    @property
    def _old_labels(self) -> npt.NDArray[np.int64]:
        return self.inner.labels[self.indices]
