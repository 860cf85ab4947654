"""Which images of a dataset a batch has, and what the dataset says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_biastransfer.errors import InterventionError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class BatchInfo:
    """Where the images of a batch come from.

    Attributes
    ----------
    indices
        Their places in the dataset.
    masks
        Their masks by name, floating point tensors [batch, 1, height, width] in [0, 1].
    """

    indices: Sequence[int]
    masks: Mapping[str, torch.Tensor]

    def part(self, places: Sequence[int]) -> BatchInfo:
        """Return the origin of the images at these places of the batch."""
        return BatchInfo(
            [self.indices[place] for place in places], {name: mask[list(places)] for name, mask in self.masks.items()}
        )

    def require_masks(self, intervention: object, names: Sequence[str], images: torch.Tensor) -> None:
        """Raise `InterventionError` unless there is a mask of each name, of the form of the images."""
        for name in names:
            if name not in self.masks:
                raise InterventionError(
                    f"{intervention}: the mask {name!r} is not given; expected masks={{{name!r}: ...}} with a tensor "
                    f"[batch, 1, height, width]"
                )
            mask, expected = self.masks[name], [len(images), 1, *images.shape[2:]]
            if list(mask.shape) != expected or not mask.is_floating_point():
                raise InterventionError(
                    f"{intervention}: the mask {name!r} is {mask.dtype} {list(mask.shape)}, expected floats {expected}"
                )
