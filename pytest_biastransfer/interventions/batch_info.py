"""What an intervention may depend on besides the pixels: the images' indices in the dataset, and their masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_biastransfer.errors import InterventionError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class BatchInfo:
    """Indices and masks of the images in a batch.

    Attributes
    ----------
    indices
        The images' indices in the dataset.
    masks
        Their masks by name, floating point tensors [batch, 1, height, width] in [0, 1].
    """

    indices: Sequence[int]
    masks: Mapping[str, torch.Tensor]

    def subset(self, positions: Sequence[int]) -> BatchInfo:
        """Return the information about the images at some positions of the batch."""
        masks = {name: mask[list(positions)] for name, mask in self.masks.items()}
        return BatchInfo([self.indices[position] for position in positions], masks)

    def require_masks(self, intervention: object, names: Sequence[str], images: torch.Tensor) -> None:
        """Raise `InterventionError` unless there is a mask of each name that matches the images."""
        for name in names:
            if name not in self.masks:
                raise InterventionError(
                    f"{intervention}: the mask {name!r} is missing; expected masks={{{name!r}: ...}} with a tensor "
                    f"[batch, 1, height, width]"
                )
            mask, expected = self.masks[name], [len(images), 1, *images.shape[2:]]
            if list(mask.shape) != expected or not mask.is_floating_point():
                raise InterventionError(
                    f"{intervention}: the mask {name!r} is {mask.dtype} {list(mask.shape)}, expected floats {expected}"
                )
