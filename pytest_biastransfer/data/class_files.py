"""``?classes=FILE``: the names of a dataset's classes, or a map from its classes to a model's."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.data.class_map import ClassMap
from pytest_biastransfer.data.labelled_images import LabelledImages
from pytest_biastransfer.data.views import View
from pytest_biastransfer.errors import DatasetError, nearest
from pytest_biastransfer.specs.class_names import as_names, composed, read_class_file

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_biastransfer.data.label_table import LabelTable
    from pytest_biastransfer.data.labelled_images import Numbering

_EXPECTED: Final = (
    "expected one name a line; or in a .json file a list of names, or an object from the dataset's classes to a "
    'model\'s, by name or number, such as {"tabby": "cat", "pug": 5}'
)


def with_classes(images: LabelledImages, path: Path) -> LabelledImages:
    """Return the images with the class names or the class map in a file.

    Names stand one a line, or in a JSON list. A map is a JSON object.
    """
    content = _read(path)
    if isinstance(content, dict):
        return _Mapped(images, ClassMap(path, tuple(content.items())))
    return _Named(images, tuple(content), path)


class _Mapped(View):
    """The images of a dataset, with a map from its classes to a model's."""

    def __init__(self, inner: LabelledImages, class_map: ClassMap) -> None:
        super().__init__(inner)
        self._class_map = class_map

    @property
    def class_map(self) -> ClassMap:  # type: ignore[override]
        """The map."""
        return self._class_map


class _Named(View):
    """The images of a dataset with names for its numbers; if it has names already, renumbered in the file's order."""

    def __init__(self, inner: LabelledImages, names: tuple[str, ...], path: Path) -> None:
        super().__init__(inner)
        self._names = names
        self._path = path

    @property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        """The names in the file."""
        return self._names

    @property
    def names_by_number(self) -> Mapping[int, str]:
        """The names in the file."""
        return dict(enumerate(self._names))

    @property
    def numbering(self) -> Numbering:  # type: ignore[override]
        """The file declares the numbers."""
        return "declared"

    @functools.cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """For each image, the index of its class among the names."""
        import numpy as np

        inner, numbers = self.inner.labels, self._numbers
        if numbers is not None:
            return np.array(numbers, dtype=np.int64)[inner]
        if inner.max() >= len(self._names):
            index = int(inner.argmax())
            raise DatasetError(
                f"{self._path}: names {len(self._names)} classes, but image {index} of {self.name} has the label "
                f"{inner[index]}; expected a name for each number from 0 on"
            )
        return inner

    @functools.cached_property
    def label_table(self) -> LabelTable | None:
        """Several labels of each image, with the names in the file, if the dataset has them."""
        table = self.inner.label_table
        if table is None:
            return None
        count = table.states.shape[1]
        if table.names is None and len(self._names) == count:
            return dataclasses.replace(table, names=self._names)
        has = f"{count} labels without names" if table.names is None else f"the labels {', '.join(table.names)}"
        raise DatasetError(
            f"{self._path}: names {len(self._names)} labels, and {self.name} has {has} for each image; expected a name "
            f"for each label, of labels that have none"
        )

    @property
    def fingerprint(self) -> str:
        """Hash of the images and the labels in their new numbering."""
        inner, numbers = self.inner.fingerprint, self._numbers
        if numbers is None or numbers == list(range(len(numbers))):
            return inner
        return hashlib.sha256(f"{inner} {numbers}".encode()).hexdigest()[:32]

    def content_digests(self) -> Sequence[bytes] | None:
        """Return the hashes of the inner images, which stay the same under other numbers."""
        return self.inner.content_digests()

    @functools.cached_property
    def _numbers(self) -> list[int] | None:
        """The new number of each class, or None where the dataset has no names."""
        inner = self.inner.classes
        if inner is None:
            return None
        own = list(map(composed, self._names))
        for name in inner:
            if own.count(composed(name)) != 1:
                problem = "twice" if composed(name) in own else f"not; {nearest(name, self._names)}"
                raise DatasetError(
                    f"{self._path}: {self.name} has the class {name!r}, which is named there {problem}. To use other "
                    f"names than the dataset's, map them: write a JSON object such as {{{json.dumps(name)}: 0}}"
                )
        return [own.index(composed(name)) for name in inner]


def _read(path: Path) -> list[str] | dict[str, str | int]:
    def fail(problem: str) -> DatasetError:
        return DatasetError(f"classes {path}: {problem}")

    def without_repetition(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        for key, count in Counter(key for key, _ in pairs).items():
            if count > 1:
                raise fail(f"{key!r} is mapped twice")
        return dict(pairs)

    content = read_class_file(path, fail, pairs=without_repetition)
    if isinstance(content, dict) and content and all(_is_class(target) for target in content.values()):
        return content
    return as_names(content, fail, _EXPECTED)


def _is_class(target: object) -> bool:
    return isinstance(target, str | int) and not isinstance(target, bool)
