"""Views of a dataset: a view changes some properties, and inherits all others from the inner dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pytest_biastransfer.data.labelled_images import LabelledImages

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_biastransfer.data.arrays import Image
    from pytest_biastransfer.data.class_map import ClassMap
    from pytest_biastransfer.data.label_table import LabelTable
    from pytest_biastransfer.data.labelled_images import Numbering
    from pytest_biastransfer.data.masks import Masks
    from pytest_biastransfer.models.preprocess import Preprocess


class View(LabelledImages):
    """The images of another dataset, unchanged; the base class of views."""

    def __init__(self, inner: LabelledImages) -> None:
        self.inner = inner
        self.name = inner.name
        self.reads_in_parallel = inner.reads_in_parallel

    @property
    def classes(self) -> tuple[str, ...] | None:  # type: ignore[override]
        """The names of the inner classes."""
        return self.inner.classes

    @property
    def names_by_number(self) -> Mapping[int, str]:
        """The names of the inner labels."""
        return self.inner.names_by_number

    @property
    def numbering(self) -> Numbering:  # type: ignore[override]
        """Where the numbers of the inner classes come from."""
        return self.inner.numbering

    @property
    def class_map(self) -> ClassMap | None:  # type: ignore[override]
        """The inner map."""
        return self.inner.class_map

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The inner labels."""
        return self.inner.labels

    @property
    def label_table(self) -> LabelTable | None:
        """The inner labels, if there are several an image."""
        return self.inner.label_table

    @property
    def fingerprint(self) -> str:
        """The inner fingerprint."""
        return self.inner.fingerprint

    @property
    def files(self) -> Sequence[str] | None:
        """The inner files."""
        return self.inner.files

    @property
    def attributes(self) -> Mapping[str, Sequence[str]]:
        """The inner attributes."""
        return self.inner.attributes

    @property
    def weights(self) -> npt.NDArray[np.float64] | None:
        """The inner weights."""
        return self.inner.weights

    def _find_masks(self, name: str) -> Masks:
        return self.inner.masks(name)

    def image(self, index: int) -> Image:
        """Return an inner image."""
        return self.inner.image(index)

    def before_resizing(self, image: Image, index: int) -> Image:
        """Return an image as the inner dataset changes it before it is resized."""
        return self.inner.before_resizing(image, index)

    def after_cropping(self, image: Image, index: int, preprocess: Preprocess) -> Image:
        """Return an image as the inner dataset changes it after it was cropped."""
        return self.inner.after_cropping(image, index, preprocess)

    def content_digests(self) -> Sequence[bytes] | None:
        """Return the hashes of the inner images; None where this view changes them."""
        return self.inner.content_digests() if self.fingerprint == self.inner.fingerprint else None

    def looks_unchanged(self) -> bool:
        """Whether the inner images look unchanged."""
        return self.inner.looks_unchanged()

    def __len__(self) -> int:
        return len(self.inner)


class Renamed(View):
    """The same images under another name."""

    def __init__(self, inner: LabelledImages, name: str) -> None:
        super().__init__(inner)
        self.name = name
