"""What is trained on, as batches of any images in any order: their features, or their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from pytest_biastransfer.data.pixels import decode
from pytest_biastransfer.evaluation.predictor import in_unit_range
from pytest_biastransfer.evaluation.visiting_order import CHUNK_IMAGES, chunks, visiting_order

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.pixel_cache import PixelCache
    from pytest_biastransfer.models import Preprocess

# More threads than this wait for one another's Python code.
_MOST_THREADS = 8


class Batches(Protocol):
    """Inputs of what is trained, by the places of images in the dataset."""

    def __len__(self) -> int: ...

    def batch(self, indices: Sequence[int]) -> torch.Tensor:
        """Return the inputs of some images, float32 [batch, ...], on the device."""
        ...


class FeatureBatches:
    """Features of all images, float32 [images, features], which stay on the device."""

    def __init__(self, features: npt.NDArray[np.float32], device: torch.device) -> None:
        self._features = torch.from_numpy(features).to(device)

    def __len__(self) -> int:
        return len(self._features)

    def batch(self, indices: Sequence[int]) -> torch.Tensor:
        """Return the features of some images."""
        return self._features[torch.as_tensor(indices, device=self._features.device)]


class PixelBatches:
    """Pixels as a model wants them.

    Those of all images are kept, memory-mapped where the pixel cache has them on disk, unless they are more than it
    may keep: then they are decoded each time.
    """

    def __init__(self, images: LabelledImages, preprocess: Preprocess, cache: PixelCache, device: torch.device) -> None:
        self._images = images
        self._preprocess = preprocess
        self._cache = cache
        self._device = device
        self._threads = min(torch.get_num_threads(), _MOST_THREADS)
        order = visiting_order(len(images))
        self._chunks = [(chunk, order[chunk.start : chunk.stop].tolist()) for chunk in chunks(len(order))]
        # Where each image is in the visiting order, of which a chunk holds a part.
        self._places = np.argsort(order)
        self._kept: dict[int, npt.NDArray[Any]] | None = {} if cache.fits(images, preprocess) else None

    def __len__(self) -> int:
        return len(self._images)

    def batch(self, indices: Sequence[int]) -> torch.Tensor:
        """Return the pixels of some images, normalized."""
        pixels = self._pixels(indices).to(self._device)
        return self._preprocess.normalize(in_unit_range(pixels)).contiguous(memory_format=torch.channels_last)

    def _pixels(self, indices: Sequence[int]) -> torch.Tensor:
        if self._kept is None:
            return torch.from_numpy(decode(self._images, indices, self._preprocess, threads=self._threads))
        places = [divmod(place, CHUNK_IMAGES) for place in self._places[list(indices)].tolist()]
        images = [self._chunk(number)[row] for number, row in places]
        if len({image.dtype for image in images}) == 1:
            return torch.from_numpy(np.stack(images))
        # Chunks are bytes where that is exact.
        return torch.stack([in_unit_range(torch.from_numpy(image)) for image in images])

    def _chunk(self, number: int) -> npt.NDArray[Any]:
        assert self._kept is not None
        if number not in self._kept:
            chunk, indices = self._chunks[number]
            self._kept[number] = self._cache.read(self._images, self._preprocess, chunk, indices, self._threads)
        return self._kept[number]
