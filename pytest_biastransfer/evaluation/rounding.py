"""How much logits may differ by rounding: between batches of other sizes, kernels and compilers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from pytest_biastransfer.names import Precision


@dataclass(frozen=True)
class Rounding:
    """The largest difference of logits that rounding explains: the sum of two allowances.

    Attributes
    ----------
    of_spread
        Relative to the spread of the logits; see `spread_of`.
    of_size
        Relative to their size.
    """

    of_spread: float
    of_size: float

    def differing(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Return whether the logits of each image, [images, classes], differ by more than rounding; bool [images]."""
        # Of few images; and Apple's GPUs have no float64.
        first, second = first.cpu().double(), second.cpu().double()
        # "not <=" instead of ">": comparisons with NaN are false, and NaN has to count as a difference.
        return ~((first - second).abs() <= self.allowed(first)).all(dim=1)

    def allowed(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the allowed difference of each logit, [images, classes]."""
        size = torch.maximum(logits.abs(), logits.abs().median(dim=1, keepdim=True).values)
        return self.of_spread * spread_of(logits) + self.of_size * size


ROUNDING: Final[Mapping[str, Rounding]] = {
    "float32": Rounding(1e-3, 64 * torch.finfo(torch.float32).eps),
    "tf32": Rounding(1e-2, 4e-3),
    "bf16": Rounding(3e-2, 3e-2),
    # Dynamic quantization: steps of 1/255 of the largest number in the batch, in each layer.
    "int8": Rounding(0.15, 3e-2),
}


def spread_of(logits: torch.Tensor) -> float:
    """Return the spread of logits [images, classes]: that between classes or that between images, whichever is less.

    Classes that are masked by huge negative logits do not count, nor do differences that all images share. A single
    output has the spread between images, and of a single image its size.

    >>> spread_of(torch.tensor([[1.0, 3.0, -1e9], [1.0, 5.0, -1e9]]))
    2.0
    """
    if logits.shape[1] == 1:
        return float((logits.amax() - logits.amin()) if len(logits) > 1 else logits.abs().amax())
    between_classes = float((logits.amax(dim=1) - logits.median(dim=1).values).median())
    if len(logits) == 1:
        return between_classes
    return min(between_classes, float((logits.amax(dim=0) - logits.amin(dim=0)).max()))


def output_precision(precision: Precision, logits: torch.Tensor) -> str:
    """Return the precision that logits were computed in: that of the evaluation, unless their dtype is coarser."""
    return "bf16" if logits.dtype in (torch.bfloat16, torch.float16) else precision
