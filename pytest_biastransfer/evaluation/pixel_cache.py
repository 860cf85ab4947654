"""A disk cache of decoded pixels, shared by processes and sessions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_biastransfer._version import __version__
from pytest_biastransfer.data.arrays import as_float
from pytest_biastransfer.data.pixels import decode
from pytest_biastransfer.evaluation.visiting_order import chunks_in
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.picture_files import decoder
from pytest_biastransfer.store import Generations, StoreDirectory
from pytest_biastransfer.store.chunks import ChunkStore, Content

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.models import Preprocess


class PixelCache:
    """The pixels that models see before normalization; each chunk is decoded by one process.

    Parameters
    ----------
    store
        Where the pixels are stored.
    limit
        The most bytes that may be stored. The least recently used dataset is dropped first; a dataset that is larger
        than the limit is decoded each time.
    generations
        How often the pixels of a dataset were dropped because they were stale.
    """

    def __init__(self, store: ChunkStore, limit: int, generations: Generations) -> None:
        self._store = store
        self._generations = generations
        self._limit = limit
        self._stores: dict[str, ChunkStore] = {}
        # An image of each dataset, and its shape.
        self._examples: dict[str, tuple[int, tuple[int, ...]]] = {}

    def read(
        self,
        images: LabelledImages,
        preprocess: Preprocess,
        dataset_seed: int,
        positions: range,
        indices: Sequence[int],
        threads: int = 1,
    ) -> npt.NDArray[Any]:
        """Return the pixels of the images at `indices`; see `decode`.

        `positions` are theirs in the visiting order of `dataset_seed`, and consist of one or several chunks.
        """
        key = self.key(images, preprocess, dataset_seed)
        if key not in self._stores:
            # Estimated from one image: all have one size after preprocessing.
            example = decode(images, [indices[0]], preprocess)
            needed, self._examples[key] = len(images) * example.nbytes, (indices[0], example.shape[1:])
            self._stores[key] = (
                self._store if self._store.make_room(key, needed, self._limit) else ChunkStore(StoreDirectory(None))
            )

        example_index, shape = self._examples[key]

        def decoded(chunk: range) -> Content:
            own = indices[chunk.start - positions.start : chunk.stop - positions.start]
            pixels = decode(images, own, preprocess, threads=threads)
            if pixels.shape[1:] != shape:
                # Raises the error that names both images.
                decode(images, [example_index, own[0]], preprocess)
            return {"pixels": pixels}

        def accepts(chunk: range, content: Content) -> bool:
            return _are_pixels(content.get("pixels"), (len(chunk), *shape))

        collected = dict(self._stores[key].collect(key, chunks_in(positions), decoded, accepts))
        return _in_one_array([collected[chunk]["pixels"] for chunk in chunks_in(positions)])

    def stored(
        self, images: LabelledImages, preprocess: Preprocess, dataset_seed: int, chunk: range, shape: Sequence[int]
    ) -> npt.NDArray[Any] | None:
        """Return the stored pixels of a chunk, [images, *shape]; None if none of this shape are stored."""
        expected = (len(chunk), *shape)
        key = self.key(images, preprocess, dataset_seed)
        content = self._store.get(key, chunk, lambda _, arrays: _are_pixels(arrays.get("pixels"), expected))
        return None if content is None else content["pixels"]

    def drop(self, images: LabelledImages, preprocess: Preprocess, dataset_seed: int) -> None:
        """Drop the stored pixels of a dataset, which are stale."""
        self._generations.drop(_key(images, preprocess, dataset_seed), self.key(images, preprocess, dataset_seed))

    def key(self, images: LabelledImages, preprocess: Preprocess, dataset_seed: int) -> str:
        """Return the key of a dataset's pixels as a model sees them; another one once they were dropped.

        Chunks have positions in the visiting order, so it depends on the seed of that order.
        """
        return self._generations.current(_key(images, preprocess, dataset_seed))

    def fits(self, images: LabelledImages, preprocess: Preprocess) -> bool:
        """Whether the pixels of all images fit into the limit."""
        return self._bytes_of(images, preprocess, 0) <= self._limit

    def _bytes_of(self, images: LabelledImages, preprocess: Preprocess, example: int) -> int:
        return len(images) * decode(images, [example], preprocess).nbytes


def _are_pixels(pixels: npt.NDArray[Any] | None, shape: tuple[int, ...]) -> bool:
    """Whether an array has the form of decoded pixels."""
    if pixels is None or pixels.shape != shape:
        return False
    return pixels.dtype == np.uint8 or (pixels.dtype == np.float32 and bool(np.isfinite(pixels).all()))


def _in_one_array(parts: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Return the pixels of several chunks together; a single one is not copied, as it may be mapped from the disk."""
    if len(parts) == 1:
        return parts[0]
    # As `decode` does it: bytes only where all images are exact as bytes.
    return np.concatenate(parts if len({part.dtype for part in parts}) == 1 else [as_float(part) for part in parts])


def _key(images: LabelledImages, preprocess: Preprocess, dataset_seed: int) -> str:
    return fingerprint(images.fingerprint, dataset_seed, preprocess.pixels_fingerprint, __version__, decoder())
