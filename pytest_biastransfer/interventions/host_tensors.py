"""Moves small tensors of the host to the device of images, without waiting for the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def constant(numbers: float | Sequence[float] | Sequence[Sequence[float]], images: torch.Tensor) -> torch.Tensor:
    """Return numbers as a tensor of the dtype and on the device of images.

    >>> import torch
    >>> constant([0.5, 1], torch.zeros(1, dtype=torch.float16))
    tensor([0.5000, 1.0000], dtype=torch.float16)
    """
    import torch

    return beside(torch.tensor(numbers, dtype=images.dtype), images)


def beside(tensor: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Return a tensor on the device of images.

    A GPU copies ordinary memory of the host at once, so that this process would wait for all that it was given to
    compute. Pinned memory is copied in its turn.
    """
    if tensor.device == images.device:
        return tensor
    if images.device.type == "cuda":
        return tensor.pin_memory().to(images.device, non_blocking=True)
    return tensor.to(images.device)
