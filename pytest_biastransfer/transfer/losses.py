"""The losses of training: the cross-entropy of classes, and the binary cross-entropy of labels that may be unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch.nn import functional

from pytest_biastransfer.data.label_table import UNKNOWN

if TYPE_CHECKING:
    from pytest_biastransfer.transfer.targets import Targets


class LossFunction(Protocol):
    """A loss of logits, float32 [batch, outputs], and targets on the same device."""

    def mean(self, logits: torch.Tensor, targets: torch.Tensor, smoothing: float) -> torch.Tensor:
        """Return the loss to minimize; `smoothing` is the share of the targets that is spread evenly."""
        ...

    def sum(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the sum over all images, without smoothing: the loss on held-out images."""
        ...


class CrossEntropy:
    """The cross-entropy of one class for each image: targets int64 [batch]."""

    def mean(self, logits: torch.Tensor, targets: torch.Tensor, smoothing: float) -> torch.Tensor:
        """Return the mean over the images."""
        return functional.cross_entropy(logits, targets, label_smoothing=smoothing)

    def sum(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the sum over the images."""
        return functional.cross_entropy(logits, targets, reduction="sum")


class BinaryCrossEntropy:
    """The binary cross-entropy of several labels: targets int8 [batch, outputs], -1 for unknown.

    Parameters
    ----------
    pos_weight
        The factor of the loss of positives, float32 [outputs]; None for 1.
    """

    def __init__(self, pos_weight: torch.Tensor | None = None) -> None:
        self._pos_weight = pos_weight

    def mean(self, logits: torch.Tensor, targets: torch.Tensor, smoothing: float) -> torch.Tensor:
        """Return the mean over all labels that are known; 0 if none is."""
        known = (targets != UNKNOWN).to(logits.dtype)
        spread = targets.to(logits.dtype) * (1 - smoothing) + smoothing / 2
        # A batch without a label that is known has a gradient of 0, and no mean of nothing, which is NaN.
        return self._total(logits, spread, known) / known.sum().clamp(min=1)

    def sum(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the sum over all labels that are known."""
        return self._total(logits, targets.to(logits.dtype), (targets != UNKNOWN).to(logits.dtype))

    def _total(self, logits: torch.Tensor, targets: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        return functional.binary_cross_entropy_with_logits(
            logits, targets, weight=known, pos_weight=self._pos_weight, reduction="sum"
        )


def loss_function(targets: Targets, device: torch.device) -> LossFunction:
    """Return the loss of targets."""
    if targets.loss == "softmax":
        return CrossEntropy()
    weight = targets.pos_weight
    return BinaryCrossEntropy(None if weight is None else torch.from_numpy(weight).to(device))
