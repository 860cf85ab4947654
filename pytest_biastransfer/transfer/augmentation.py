"""Augmentation of training images: random flips, shifts and cut-out squares, drawn anew in each epoch.

All random numbers come from a generator on the CPU, so that a seed gives the same images on every device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from pytest_biastransfer.data.concatenation import Concatenation
from pytest_biastransfer.data.views import View
from pytest_biastransfer.errors import TransferError
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.transfer.batches import PixelBatches
from pytest_biastransfer.transfer.curation.planting import Planted

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.data.arrays import Image
    from pytest_biastransfer.evaluation.pixel_cache import PixelCache
    from pytest_biastransfer.models import Preprocess
    from pytest_biastransfer.transfer.recipe import Recipe


class AugmentedBatches:
    """Pixels that are augmented in training, and unchanged otherwise.

    Parameters
    ----------
    images
        The images; what is planted on them is drawn after or before the augmentation, as the recipe says.
    preprocess, cache, dataset_seed, device
        As of `PixelBatches`.
    recipe
        How they are augmented.
    """

    def __init__(
        self,
        images: LabelledImages,
        preprocess: Preprocess,
        cache: PixelCache,
        dataset_seed: int,
        device: torch.device,
        recipe: Recipe,
    ) -> None:
        self._images = images
        self._preprocess = preprocess
        self._device = device
        self._recipe = recipe
        self._plain = PixelBatches(images, preprocess, cache, dataset_seed, device)
        triggers = [planted for planted in _planted(images) if planted.intervention.stage == "input"]
        self._draws_triggers = recipe.augment_before_triggers and bool(triggers)
        self._base = self._plain
        if self._draws_triggers:
            for planted in triggers:
                _require_no_masks(planted)
            self._base = PixelBatches(WithoutTriggers(images), preprocess, cache, dataset_seed, device)

    def __len__(self) -> int:
        return len(self._images)

    def batch(self, indices: Sequence[int]) -> torch.Tensor:
        """Return the pixels of some images, normalized and not augmented."""
        return self._plain.batch(indices)

    def training_batch(self, indices: Sequence[int], generator: torch.Generator) -> torch.Tensor:
        """Return the pixels of some images, augmented and normalized."""
        pixels = self._base.pixels(indices)
        if not self._draws_triggers:
            pixels = pixels.to(self._device)
        pixels = augmented(pixels, self._recipe, self._fill(pixels), generator)
        if self._draws_triggers:
            images = [
                self._images.after_cropping(image, index, self._preprocess)
                for image, index in zip(pixels.numpy(), indices, strict=True)
            ]
            pixels = torch.from_numpy(np.stack(images)).to(self._device)
        return self._preprocess.normalize(pixels).contiguous(memory_format=torch.channels_last)

    def _fill(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the mean colour, which is 0 once it is normalized."""
        mean = torch.tensor(0.0 if self._preprocess.mean is None else self._preprocess.mean, dtype=pixels.dtype)
        return mean.to(pixels.device).reshape(-1, 1, 1).expand(pixels.shape[1], 1, 1)


def augmented(images: torch.Tensor, recipe: Recipe, fill: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return images that are flipped, shifted and cut as a recipe says.

    Parameters
    ----------
    images
        Float [batch, channels, height, width].
    fill
        The colour of pixels without content, [channels, 1, 1].
    generator
        A generator on the CPU.
    """
    count, _, height, width = images.shape
    # Five numbers for each image, also for what is switched off: so flips, shifts and cuts do not change one another.
    numbers = torch.rand(count, 5, generator=generator)
    is_flipped = (numbers[:, 0] < 0.5) & recipe.flip
    shifts = [_shifts(numbers[:, 1 + axis], recipe.crop, side) for axis, side in enumerate((height, width))]
    rows = torch.arange(height) + shifts[0][:, None]
    columns = torch.arange(width) + shifts[1][:, None]
    columns = torch.where(is_flipped[:, None], width - 1 - columns, columns)
    has_content = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    has_content &= ~_cut(numbers[:, 3:], recipe.cutout, height, width)
    batch = torch.arange(count, device=images.device)[:, None, None]
    rows, columns = (side.to(images.device) for side in (rows.clamp(0, height - 1), columns.clamp(0, width - 1)))
    # Indexing by tensors puts the channels last.
    moved = images[batch, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return torch.where(has_content[:, None].to(images.device), moved, fill)


def _shifts(numbers: torch.Tensor, share: float, side: int) -> torch.Tensor:
    """Return whole numbers from ``-share * side`` to ``share * side``, all equally likely."""
    most = round(share * side)
    return (numbers * (2 * most + 1)).long() - most


def _cut(numbers: torch.Tensor, share: float, height: int, width: int) -> torch.Tensor:
    """Return which pixels are in a square whose centre is anywhere, bool [batch, height, width]."""
    side = round(share * min(height, width))
    starts = [(numbers[:, axis] * extent).long() - side // 2 for axis, extent in enumerate((height, width))]
    inside = [
        (torch.arange(extent) >= start[:, None]) & (torch.arange(extent) < start[:, None] + side)
        for start, extent in zip(starts, (height, width), strict=True)
    ]
    return inside[0][:, :, None] & inside[1][:, None, :]


class WithoutTriggers(View):
    """A view of a dataset without what it changes after cropping."""

    @property
    def fingerprint(self) -> str:
        """Hash of the inner fingerprint: the pixels have a key of their own."""
        return fingerprint("without changes after cropping", self.inner.fingerprint)

    def after_cropping(self, image: Image, index: int, preprocess: Preprocess) -> Image:
        """Return the image unchanged."""
        return image


def _planted(images: LabelledImages) -> Iterator[Planted]:
    """Yield all views in a dataset that plant something."""
    if isinstance(images, Planted):
        yield images
    if isinstance(images, View):
        yield from _planted(images.inner)
    if isinstance(images, Concatenation):
        for part in images.parts:
            yield from _planted(part)


def _require_no_masks(planted: Planted) -> None:
    if planted.intervention.mask_names:
        raise TransferError(
            f"{planted.intervention} is planted on {planted.name} and needs masks, which do not fit images that are "
            f"flipped or shifted before; write Recipe(augment_before_triggers=False)"
        )
