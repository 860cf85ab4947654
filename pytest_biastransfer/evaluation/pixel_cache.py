"""Decoded pixels, shared by processes and sessions as long as there is room for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pytest_biastransfer import __version__
from pytest_biastransfer.data.pixels import decode
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.store import Place
from pytest_biastransfer.store.chunks import ChunkStore

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.models import Preprocess


class PixelCache:
    """The pixels that models see before normalization, decoded by whichever process gets there first.

    Parameters
    ----------
    store
        Where the pixels are kept.
    limit
        The most bytes that may be kept. To make room, the pixels that were used longest ago are dropped;
        those of a dataset that is too large are decoded each time.
    """

    def __init__(self, store: ChunkStore, limit: int) -> None:
        self._store = store
        self._limit = limit
        self._places: dict[str, ChunkStore] = {}

    def read(
        self, images: LabelledImages, preprocess: Preprocess, chunk: range, indices: Sequence[int], threads: int = 1
    ) -> npt.NDArray[Any]:
        """Return the pixels of the images at `indices`, which are those of `chunk`; see `decode`."""
        key = _key(images, preprocess)
        if key not in self._places:
            needed = self._bytes_of(images, preprocess, indices[0])
            self._places[key] = (
                self._store if self._store.make_room(key, needed, self._limit) else ChunkStore(Place(None))
            )
        collected = self._places[key].collect(
            key, [chunk], lambda _: {"pixels": decode(images, indices, preprocess, threads=threads)}
        )
        ((_, content),) = collected
        return content["pixels"]

    def fits(self, images: LabelledImages, preprocess: Preprocess) -> bool:
        """Whether the pixels of all images are no more than may be kept."""
        return self._bytes_of(images, preprocess, 0) <= self._limit

    def _bytes_of(self, images: LabelledImages, preprocess: Preprocess, example: int) -> int:
        return len(images) * decode(images, [example], preprocess).nbytes


def _key(images: LabelledImages, preprocess: Preprocess) -> str:
    return fingerprint(images.fingerprint, preprocess.pixels_fingerprint, __version__)
