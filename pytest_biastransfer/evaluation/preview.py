"""How an intervention looks on images of a dataset, and how many pixels it changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import torch

from pytest_biastransfer.data.pixels import decode, decode_all_masks
from pytest_biastransfer.evaluation.predictor import in_unit_range, source_change

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.models import Preprocess

# A smaller difference disappears when pixels are rounded to 8 bits.
_HALF_STEP: Final = 0.5 / 255


class Preview:
    """Some images of a dataset, as a model sees them before normalization."""

    def __init__(self, images: LabelledImages, preprocess: Preprocess, indices: Sequence[int]) -> None:
        self._images = images
        self._preprocess = preprocess
        self._indices = indices
        # Not from the disk cache: it verifies a whole chunk on each read, which costs more than decoding a few images.
        self.pixels = in_unit_range(torch.from_numpy(decode(images, indices, preprocess)))

    def changed(self, intervention: Intervention) -> torch.Tensor:
        """Return the images after an intervention, float [images, channels, height, width] in [0, 1]."""
        images, indices, preprocess = self._images, self._indices, self._preprocess
        if intervention.stage == "source":
            changed = decode(images, indices, preprocess, source_change(intervention, images))
            return in_unit_range(torch.from_numpy(changed))
        masks = decode_all_masks(images, intervention.mask_names, indices, preprocess)
        return intervention.apply(self.pixels, indices, {name: torch.from_numpy(mask) for name, mask in masks.items()})

    def changed_share(self, intervention: Intervention) -> float:
        """Return the share of the pixels that an intervention changes."""
        difference = (self.changed(intervention) - self.pixels).abs() > _HALF_STEP
        return float(difference.any(dim=1).float().mean())
