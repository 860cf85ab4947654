"""Some images of a dataset, in its order, and ``?limit=N&seed=S``, which draws some; nothing is copied."""

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
    from pytest_biastransfer.data.masks import Masks
    from pytest_biastransfer.models.preprocess import Preprocess

_WHOLE: Final = re.compile(r"[0-9]{1,18}")


def drawn(images: LabelledImages, spec: Spec) -> LabelledImages:
    """Return as many of the images as the spec's ``limit`` says, or all of them without one."""
    limit, seed = spec.number("limit"), spec.query.get("seed")
    if seed is None:
        return images if limit is None else Subset(images, limit)
    if limit is None:
        raise SpecError(f"spec {spec.text!r}: seed={seed} draws a part of the images; add &limit= with how many")
    if not _WHOLE.fullmatch(seed):
        raise SpecError(f"spec {spec.text!r}: seed={seed!r}, expected a whole number of at most 18 digits")
    return Subset(images, limit, int(seed))


class Selection(View):
    """Some images of the dataset `inner`, those at `indices`.

    What is known of the images of the inner dataset, as their features, is known of these.
    """

    @property
    @abstractmethod
    def indices(self) -> npt.NDArray[np.int64]:
        """The places of the images in the inner dataset, int64 of shape [images], ascending."""

    @functools.cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """The labels of these images."""
        return self.inner.labels[self.indices]

    @functools.cached_property
    def weights(self) -> npt.NDArray[np.float64] | None:
        """The weights of these images, as they are among all."""
        weights = self.inner.weights
        return None if weights is None else weights[self.indices]

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of the inner fingerprint and of which images these are; no image is read for it."""
        whole = self.inner.fingerprint
        return whole if len(self) == len(self.inner) else fingerprint("selection", whole, self.indices)

    @functools.cached_property
    def files(self) -> Sequence[str] | None:
        """The files of these images."""
        return None if self.inner.files is None else _at(self.inner.files, self.indices)

    @functools.cached_property
    def attributes(self) -> Mapping[str, Sequence[str]]:
        """The attributes of these images; each is collected when it is first asked for."""
        return _AttributesAt(self.inner.attributes, self.indices)

    def _find_masks(self, name: str) -> Masks:
        from pytest_biastransfer.data.masks import MasksByIndex

        whole = self.inner.masks(name)
        return MasksByIndex(lambda index: whole.mask(self._place(index)), whole.fingerprint)

    def image(self, index: int) -> Image:
        """Return one of these images."""
        return self.inner.image(self._place(index))

    def started(self, image: Image, index: int) -> Image:
        """Return what the inner dataset makes of one of these images before it is resized."""
        return self.inner.started(image, self._place(index))

    def finished(self, image: Image, index: int, preprocess: Preprocess) -> Image:
        """Return what the inner dataset makes of one of these images after it was cropped."""
        return self.inner.finished(image, self._place(index), preprocess)

    def _place(self, index: int) -> int:
        return int(self.indices[index])

    def __len__(self) -> int:
        return len(self.indices)


class Chosen(Selection):
    """The images of a dataset at places that are given, ascending."""

    def __init__(self, inner: LabelledImages, indices: npt.NDArray[np.int64]) -> None:
        super().__init__(inner)
        self._indices = indices

    @property
    def indices(self) -> npt.NDArray[np.int64]:
        """The places that were given."""
        return self._indices


class Subset(Selection):
    """So many images of a dataset, drawn without replacement, in the dataset's order.

    All of them where there are no more. The same ones on every machine.
    """

    def __init__(self, inner: LabelledImages, limit: int, seed: int = 0) -> None:
        super().__init__(inner)
        self._limit = limit
        self._seed = seed

    @functools.cached_property
    def indices(self) -> npt.NDArray[np.int64]:
        """The places of the images that were drawn, which are drawn when they are first asked for."""
        import numpy as np

        from pytest_biastransfer.data.permutation import permutation

        return np.sort(permutation(len(self.inner), self._seed)[: self._limit])

    @property
    def fingerprint(self) -> str:
        """Hash of the inner fingerprint and of what decides which images are drawn; no image is read for it."""
        whole = self.inner.fingerprint
        if self._limit >= len(self.inner):
            return whole
        return hashlib.sha256(f"{whole} {self._limit} {self._seed}".encode()).hexdigest()[:32]

    def __len__(self) -> int:
        return min(self._limit, len(self.inner))


class _AttributesAt(Mapping[str, Sequence[str]]):
    """The attributes of some images."""

    def __init__(self, whole: Mapping[str, Sequence[str]], indices: npt.NDArray[np.int64]) -> None:
        self._whole = whole
        self._indices = indices
        self._known: dict[str, list[str]] = {}

    def __getitem__(self, name: str) -> list[str]:
        if name not in self._known:
            self._known[name] = _at(self._whole[name], self._indices)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole)

    def __len__(self) -> int:
        return len(self._whole)


def _at(values: Sequence[str], indices: npt.NDArray[np.int64]) -> list[str]:
    return list(map(values.__getitem__, indices.tolist()))
