"""``?limit=N&seed=S``: a random part of a dataset."""

from __future__ import annotations

import functools
import hashlib
import re
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.data.labelled_images import LabelledImages
from pytest_biastransfer.data.selection import Selection
from pytest_biastransfer.errors import SpecError
from pytest_biastransfer.specs.spec import Spec

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

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
