"""Several datasets as one, without copies: their images one after the other."""

from __future__ import annotations

import functools
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, chain
from typing import TYPE_CHECKING

from pytest_biastransfer.data.labelled_images import LabelledImages, several_labels
from pytest_biastransfer.errors import DatasetError
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.specs.class_names import composed

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_biastransfer.data.arrays import Image
    from pytest_biastransfer.data.class_map import ClassMap
    from pytest_biastransfer.data.label_table import LabelTable
    from pytest_biastransfer.data.labelled_images import Numbering
    from pytest_biastransfer.data.masks import Masks
    from pytest_biastransfer.models.preprocess import Preprocess

_MOST_NAMES = 200


class Concatenation(LabelledImages):
    """The images of several datasets, in order. Labels and their names are those of the first.

    Parameters
    ----------
    parts
        Datasets with the same classes, or with the same labels of each image. The names may be in another order: the
        labels are renumbered. Names are compared in Unicode's composed form.
    error_type
        Makes the error of datasets that do not fit together.
    """

    def __init__(
        self, parts: Sequence[LabelledImages], error_type: Callable[[str], DatasetError] = DatasetError
    ) -> None:
        self.parts = tuple(parts)
        self.name = " + ".join(part.name for part in parts)
        self.reads_in_parallel = all(part.reads_in_parallel for part in parts)
        self._ends = list(accumulate(map(len, parts)))
        # For each part, the number in the first dataset of each of its classes or labels; None where they are the same.
        self._numbers = [_numbers_in(parts[0], part, error_type) for part in parts]

    @property
    def classes(self) -> tuple[str, ...] | None:  # type: ignore[override]
        """The names of the classes, in the order of the first dataset."""
        return self.parts[0].classes

    @property
    def names_by_number(self) -> Mapping[int, str]:
        """The names of the labels of the first dataset."""
        return self.parts[0].names_by_number

    @property
    def numbering(self) -> Numbering:  # type: ignore[override]
        """Where the numbers of the first dataset come from."""
        return self.parts[0].numbering

    @property
    def class_map(self) -> ClassMap | None:  # type: ignore[override]
        """The map of the first dataset; the others have the same."""
        return self.parts[0].class_map

    @functools.cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """The labels of all parts, in the numbering of the first."""
        import numpy as np

        if self.parts[0].label_table is not None:
            raise several_labels(self)
        labels = [
            part.labels if numbers is None else np.array(numbers, dtype=np.int64)[part.labels]
            for part, numbers in zip(self.parts, self._numbers, strict=True)
        ]
        return np.concatenate(labels)

    @functools.cached_property
    def label_table(self) -> LabelTable | None:
        """The labels of all parts, if there are several an image, in the order of the first."""
        import numpy as np

        from pytest_biastransfer.data.label_table import LabelTable

        tables = [part.label_table for part in self.parts]
        states = [
            table.states if numbers is None else table.states[:, np.argsort(numbers)]
            for table, numbers in zip(tables, self._numbers, strict=True)
            if table is not None
        ]
        return LabelTable(np.concatenate(states), tables[0].names) if tables[0] is not None else None

    @functools.cached_property
    def weights(self) -> npt.NDArray[np.float64] | None:
        """The weights of all parts; 1 for the images of a part that has none. None if no part has any."""
        import numpy as np

        weights = [part.weights for part in self.parts]
        if all(part is None for part in weights):
            return None
        return np.concatenate(
            [np.ones(len(part)) if own is None else own for part, own in zip(self.parts, weights, strict=True)]
        )

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of the fingerprints of the parts, and of how they are renumbered; no image is read for it."""
        fingerprints = [part.fingerprint for part in self.parts]
        return fingerprints[0] if len(self.parts) == 1 else fingerprint("concatenated", fingerprints, self._numbers)

    @functools.cached_property
    def files(self) -> Sequence[str] | None:
        """The files of all images, each relative to its own dataset; None if a part has no files."""
        files = [part.files for part in self.parts]
        return None if any(own is None for own in files) else list(chain.from_iterable(own or () for own in files))

    @functools.cached_property
    def attributes(self) -> Mapping[str, Sequence[str]]:
        """The attributes that all parts have."""
        return _CommonAttributes([part.attributes for part in self.parts])

    def _find_masks(self, name: str) -> Masks:
        from pytest_biastransfer.data.masks import MasksByIndex

        masks = [part.masks(name) for part in self.parts]

        def mask(index: int) -> npt.NDArray[np.float32]:
            number, inner = self._location(index)
            return masks[number].mask(inner)

        return MasksByIndex(mask, fingerprint("concatenated", [own.fingerprint for own in masks]))

    def content_digests(self) -> Sequence[bytes] | None:
        """Return the hashes of all images; None if a part has none."""
        digests = [part.content_digests() for part in self.parts]
        return None if any(own is None for own in digests) else list(chain.from_iterable(own or () for own in digests))

    def image(self, index: int) -> Image:
        """Return an image of one of the parts."""
        number, inner = self._location(index)
        return self.parts[number].image(inner)

    def before_resizing(self, image: Image, index: int) -> Image:
        """Return an image as its own dataset changes it before it is resized."""
        number, inner = self._location(index)
        return self.parts[number].before_resizing(image, inner)

    def after_cropping(self, image: Image, index: int, preprocess: Preprocess) -> Image:
        """Return an image as its own dataset changes it after it was cropped."""
        number, inner = self._location(index)
        return self.parts[number].after_cropping(image, inner, preprocess)

    def looks_unchanged(self) -> bool:
        """Whether the images of all parts look unchanged."""
        return all(part.looks_unchanged() for part in self.parts)

    def _location(self, index: int) -> tuple[int, int]:
        """Return the number of the part that has an image, and the image's index in it."""
        number = bisect_right(self._ends, index)
        return number, index - (self._ends[number - 1] if number else 0)

    def __len__(self) -> int:
        return self._ends[-1]


class _CommonAttributes(Mapping[str, Sequence[str]]):
    """The attributes that all parts have; each is collected at its first use."""

    def __init__(self, parts: Sequence[Mapping[str, Sequence[str]]]) -> None:
        self._parts = parts
        self._names = [name for name in parts[0] if all(name in part for part in parts)]
        self._cached: dict[str, list[str]] = {}

    def __getitem__(self, name: str) -> list[str]:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._cached:
            self._cached[name] = list(chain.from_iterable(part[name] for part in self._parts))
        return self._cached[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _numbers_in(
    first: LabelledImages, part: LabelledImages, error_type: Callable[[str], DatasetError]
) -> list[int] | None:
    """Return the number in the first dataset of each class or label of another; None if all are the same.

    Raises an error if they do not have the same classes or labels.
    """
    first_names, names = _names_of(first, error_type), _names_of(part, error_type)
    kinds = [
        "one class for each image" if images.label_table is None else "several labels for each image"
        for images in (first, part)
    ]
    if kinds[0] != kinds[1]:
        raise error_type(f"{first.name} has {kinds[0]}, and {part.name} {kinds[1]}; expected the same kind of labels")
    maps = [None if images.class_map is None else images.class_map.pairs for images in (first, part)]
    if maps[0] != maps[1]:
        raise error_type(
            f"{first.name} and {part.name} map their classes differently to those of a model; give both the same "
            f"classes=FILE, or none"
        )
    if names == first_names:
        return None
    listed = [_listed(images, own) for images, own in ((first, first_names), (part, names))]
    if names is None or first_names is None or sorted(names) != sorted(first_names):
        kind = "classes" if first.label_table is None else "labels"
        raise error_type(
            f"{first.name} has {listed[0]}, and {part.name} {listed[1]}; expected the same {kind}, in any order"
        )
    if len(set(names)) < len(names):
        raise error_type(f"{part.name} has a name twice, {listed[1]}, so its labels cannot be renumbered")
    return [first_names.index(name) for name in names]


def _names_of(images: LabelledImages, error_type: Callable[[str], DatasetError]) -> list[str] | None:
    """Return the names of the classes or labels; without names, None for classes, and the positions for labels."""
    table = images.label_table
    if table is not None:
        return list(map(composed, table.names_or_positions))
    if images.classes is not None:
        return list(map(composed, images.classes))
    if images.names_by_number:
        raise error_type(f"{images.name} has names of some of its classes only; name all of them: classes=FILE")
    return None


def _listed(images: LabelledImages, names: Sequence[str] | None) -> str:
    if names is None:
        return "numbers as classes"
    kind = "classes" if images.label_table is None else "labels"
    return f"the {kind} {', '.join(names):.{_MOST_NAMES}}"
