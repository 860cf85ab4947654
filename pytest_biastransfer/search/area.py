"""How much of an image an intervention changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pytest_biastransfer.data.pixels import decode, decode_masks

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.models import Preprocess

# What is rounded away in 8 bits is no change.
_HALF_STEP = 0.5 / 255


class Canvas:
    """One image of a dataset, as a model sees it before normalization."""

    def __init__(self, images: LabelledImages, preprocess: Preprocess, index: int = 0) -> None:
        self._images = images
        self._preprocess = preprocess
        self._index = index
        pixels = torch.from_numpy(decode(images, [index], preprocess))
        self.image = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels

    def changed(self, intervention: Intervention, image: torch.Tensor | None = None) -> torch.Tensor:
        """Return the image, or another one in its place, [1, channels, height, width], after an intervention."""
        masks = {
            name: torch.from_numpy(decode_masks(self._images, name, [self._index], self._preprocess.for_masks))
            for name in intervention.mask_names
        }
        return intervention.apply(self.image if image is None else image, [self._index], masks)

    def changed_share(self, intervention: Intervention) -> float:
        """Return the share of the pixels that an intervention changes, of the image or of its negative."""
        found = torch.zeros(self.image.shape[2:], dtype=torch.bool)
        for image in (self.image, 1 - self.image):
            found |= ((self.changed(intervention, image) - image).abs() > _HALF_STEP).any(dim=1)[0]
        return float(found.float().mean())
