"""Subsets of a dataset's images, in its order and without copies; ``?limit=N&seed=S`` draws one at random."""

from __future__ import annotations

import functools
import hashlib
import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.data.labelled_images import LabelledImages
from pytest_biastransfer.data.views import View
from pytest_biastransfer.errors import SpecError
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.specs.spec import Spec

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_biastransfer.data.arrays import Image
    from pytest_biastransfer.data.label_table import LabelTable
    from pytest_biastransfer.data.masks import Masks
    from pytest_biastransfer.models.preprocess import Preprocess

_WHOLE: Final = re.compile(r"[0-9]{1,18}")


def draw_subset(images: LabelledImages, spec: Spec) -> LabelledImages:
    """Return a random subset of as many images as the spec's ``limit`` says; without a limit, all images."""
    limit, seed = spec.number("limit"), spec.query.get("seed")
    if seed is None:
        return images if limit is None else Subset(images, limit)
    if limit is None:
        raise SpecError(f"spec {spec.text!r}: seed={seed} draws a subset of the images; add &limit= with its size")
    if not _WHOLE.fullmatch(seed):
        raise SpecError(f"spec {spec.text!r}: seed={seed!r}, expected a whole number of at most 18 digits")
    return Subset(images, limit, int(seed))


class Selection(View):
    """The images of the dataset `inner` at `indices`.

    Whatever is cached for the images of the inner dataset, such as their features, is reused for them.
    """

    @property
    @abstractmethod
    def indices(self) -> npt.NDArray[np.int64]:
        """The indices of the images in the inner dataset, int64 of shape [images], ascending."""

    @functools.cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """The labels of these images."""
        return self.inner.labels[self.indices]

    @functools.cached_property
    def label_table(self) -> LabelTable | None:
        """The labels of these images, if there are several an image."""
        table = self.inner.label_table
        return None if table is None else table.at(self.indices)

    @functools.cached_property
    def weights(self) -> npt.NDArray[np.float64] | None:
        """The weights of these images, unchanged."""
        weights = self.inner.weights
        return None if weights is None else weights[self.indices]

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of the inner fingerprint and the indices; no image is read for it."""
        inner = self.inner.fingerprint
        return inner if len(self) == len(self.inner) else fingerprint("selection", inner, self.indices)

    @functools.cached_property
    def files(self) -> Sequence[str] | None:
        """The files of these images."""
        return None if self.inner.files is None else _at(self.inner.files, self.indices)

    @functools.cached_property
    def attributes(self) -> Mapping[str, Sequence[str]]:
        """The attributes of these images; each is collected at its first use."""
        return _AttributesAt(self.inner.attributes, self.indices)

    def _find_masks(self, name: str) -> Masks:
        from pytest_biastransfer.data.masks import MasksByIndex

        inner = self.inner.masks(name)
        return MasksByIndex(lambda index: inner.mask(self._inner_index(index)), inner.fingerprint)

    def content_digests(self) -> Sequence[bytes] | None:
        """Return the hashes of these images."""
        digests = self.inner.content_digests()
        return None if digests is None else [digests[index] for index in self.indices.tolist()]

    def image(self, index: int) -> Image:
        """Return one of these images."""
        return self.inner.image(self._inner_index(index))

    def before_resizing(self, image: Image, index: int) -> Image:
        """Return one of these images as the inner dataset changes it before it is resized."""
        return self.inner.before_resizing(image, self._inner_index(index))

    def after_cropping(self, image: Image, index: int, preprocess: Preprocess) -> Image:
        """Return one of these images as the inner dataset changes it after it was cropped."""
        return self.inner.after_cropping(image, self._inner_index(index), preprocess)

    def _inner_index(self, index: int) -> int:
        return int(self.indices[index])

    def __len__(self) -> int:
        return len(self.indices)


class IndexSelection(Selection):
    """The images of a dataset at explicit indices, ascending."""

    def __init__(self, inner: LabelledImages, indices: npt.NDArray[np.int64]) -> None:
        super().__init__(inner)
        self._indices = indices

    @property
    def indices(self) -> npt.NDArray[np.int64]:
        """The explicit indices."""
        return self._indices


class Subset(Selection):
    """At most `limit` images of a dataset, drawn at random without replacement, in the dataset's order.

    The draw depends only on the seed and the size of the dataset, and is the same on every machine.
    """

    def __init__(self, inner: LabelledImages, limit: int, seed: int = 0) -> None:
        super().__init__(inner)
        self._limit = limit
        self._seed = seed

    @functools.cached_property
    def indices(self) -> npt.NDArray[np.int64]:
        """The indices of the drawn images; they are drawn at the first use."""
        import numpy as np

        from pytest_biastransfer.data.permutation import permutation

        return np.sort(permutation(len(self.inner), self._seed)[: self._limit])

    @property
    def fingerprint(self) -> str:
        """Hash of the inner fingerprint, the limit and the seed; no image is read for it."""
        inner = self.inner.fingerprint
        if self._limit >= len(self.inner):
            return inner
        return hashlib.sha256(f"{inner} {self._limit} {self._seed}".encode()).hexdigest()[:32]

    def __len__(self) -> int:
        return min(self._limit, len(self.inner))


class _AttributesAt(Mapping[str, Sequence[str]]):
    """The attributes of a subset of the images."""

    def __init__(self, inner: Mapping[str, Sequence[str]], indices: npt.NDArray[np.int64]) -> None:
        self._inner = inner
        self._indices = indices
        self._cached: dict[str, list[str]] = {}

    def __getitem__(self, name: str) -> list[str]:
        if name not in self._cached:
            self._cached[name] = _at(self._inner[name], self._indices)
        return self._cached[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._inner)

    def __len__(self) -> int:
        return len(self._inner)


def _at(values: Sequence[str], indices: npt.NDArray[np.int64]) -> list[str]:
    return list(map(values.__getitem__, indices.tolist()))
