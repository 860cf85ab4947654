"""How much of images an intervention changes, and how it looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import torch

from pytest_biastransfer.data.pixels import decode, decode_masks
from pytest_biastransfer.evaluation.predict import source_change

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.models import Preprocess

# What is rounded away in 8 bits is no change.
_HALF_STEP: Final = 0.5 / 255


class Canvas:
    """Some images of a dataset, as a model sees them before normalization."""

    def __init__(self, images: LabelledImages, preprocess: Preprocess, indices: Sequence[int]) -> None:
        self._images = images
        self._preprocess = preprocess
        self._indices = indices
        self.pixels = _floats(decode(images, indices, preprocess))

    def changed(self, intervention: Intervention) -> torch.Tensor:
        """Return the images, float [images, channels, height, width], after an intervention at its stage."""
        images, indices, preprocess = self._images, self._indices, self._preprocess
        if intervention.stage == "source":
            return _floats(decode(images, indices, preprocess, source_change(intervention, images)))
        masks = {
            name: torch.from_numpy(decode_masks(images, name, indices, preprocess.for_masks))
            for name in intervention.mask_names
        }
        return intervention.apply(self.pixels, indices, masks)

    def changed_share(self, intervention: Intervention) -> float:
        """Return the share of the pixels that an intervention changes."""
        difference = (self.changed(intervention) - self.pixels).abs() > _HALF_STEP
        return float(difference.any(dim=1).float().mean())


def _floats(pixels: object) -> torch.Tensor:
    tensor: torch.Tensor = torch.from_numpy(pixels)
    return tensor.float() / 255 if tensor.dtype == torch.uint8 else tensor
