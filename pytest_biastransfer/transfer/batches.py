"""Training inputs as batches of any images in any order: features, or pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from pytest_biastransfer.data.pixels import decode
from pytest_biastransfer.evaluation.predictor import in_unit_range
from pytest_biastransfer.evaluation.visiting_order import chunks, visiting_order

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.pixel_cache import PixelCache
    from pytest_biastransfer.models import Preprocess

# More threads only wait for the interpreter lock.
_MOST_THREADS = 8


class Batches(Protocol):
    """Training inputs, by the images' indices in the dataset."""

    def __len__(self) -> int: ...

    def batch(self, indices: Sequence[int]) -> torch.Tensor:
        """Return the inputs of some images, float32 [batch, ...], on the device."""
        ...

    def training_batch(self, indices: Sequence[int], generator: torch.Generator) -> torch.Tensor:
        """Return the inputs of some images for a training step; `generator` draws what is random about them."""
        ...


class FeatureBatches:
    """Features of all images, float32 [images, features], kept on the device."""

    def __init__(self, features: npt.NDArray[np.float32], device: torch.device) -> None:
        self._features = torch.from_numpy(features).to(device)

    def __len__(self) -> int:
        return len(self._features)

    def batch(self, indices: Sequence[int]) -> torch.Tensor:
        """Return the features of some images."""
        return self._features[torch.as_tensor(indices, device=self._features.device)]

    def training_batch(self, indices: Sequence[int], generator: torch.Generator) -> torch.Tensor:
        """Return the features of some images; nothing about them is random."""
        return self.batch(indices)


class PixelBatches:
    """Pixels of the size and normalization that a model expects.

    The pixels of all images stay available, memory-mapped if the pixel cache has them on disk. If they exceed the limit
    of the cache, they are decoded for each batch. `dataset_seed` is that of the order in which the cache has them.
    """

    def __init__(
        self,
        images: LabelledImages,
        preprocess: Preprocess,
        cache: PixelCache,
        dataset_seed: int,
        device: torch.device,
    ) -> None:
        self._images = images
        self._preprocess = preprocess
        self._cache = cache
        self._device = device
        self._threads = min(torch.get_num_threads(), _MOST_THREADS)
        self._seed = dataset_seed
        order = visiting_order(len(images), dataset_seed)
        self._chunks = [(chunk, order[chunk.start : chunk.stop].tolist()) for chunk in chunks(len(order))]
        # The position of each image in the visiting order, which is cut into chunks.
        self._positions = np.argsort(order)
        self._starts = np.array([chunk.start for chunk, _ in self._chunks])
        self._loaded: dict[int, npt.NDArray[Any]] | None = {} if cache.fits(images, preprocess) else None

    def __len__(self) -> int:
        return len(self._images)

    def batch(self, indices: Sequence[int]) -> torch.Tensor:
        """Return the pixels of some images, normalized."""
        pixels = self._pixels(indices).to(self._device)
        return self._preprocess.normalize(in_unit_range(pixels)).contiguous(memory_format=torch.channels_last)

    def training_batch(self, indices: Sequence[int], generator: torch.Generator) -> torch.Tensor:
        """Return the pixels of some images, normalized; nothing about them is random."""
        return self.batch(indices)

    def pixels(self, indices: Sequence[int]) -> torch.Tensor:
        """Return the pixels of some images, float32 in [0, 1], on the CPU."""
        return in_unit_range(self._pixels(indices))

    def _pixels(self, indices: Sequence[int]) -> torch.Tensor:
        if self._loaded is None:
            return torch.from_numpy(decode(self._images, indices, self._preprocess, threads=self._threads))
        positions = self._positions[list(indices)]
        numbers = np.searchsorted(self._starts, positions, side="right") - 1
        rows = positions - self._starts[numbers]
        images = [self._chunk(number)[row] for number, row in zip(numbers.tolist(), rows.tolist(), strict=True)]
        if len({image.dtype for image in images}) == 1:
            return torch.from_numpy(np.stack(images))
        # A chunk has bytes if all its images are exact as bytes, else floats.
        return torch.stack([in_unit_range(torch.from_numpy(image)) for image in images])

    def _chunk(self, number: int) -> npt.NDArray[Any]:
        assert self._loaded is not None
        if number not in self._loaded:
            chunk, indices = self._chunks[number]
            self._loaded[number] = self._cache.read(
                self._images, self._preprocess, self._seed, chunk, indices, self._threads
            )
        return self._loaded[number]
