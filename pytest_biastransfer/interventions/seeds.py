"""Random numbers that depend on a seed and on the place of an image in its dataset, and on nothing else."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def mixed_seed(seed: int, *places: int) -> int:
    """Return 32 bits that differ for every seed and place."""
    return random.Random("/".join(map(str, (seed, *places)))).getrandbits(32)


def generator(seed: int, *places: int) -> torch.Generator:
    """Return a generator of torch on the CPU: those of GPUs draw other numbers."""
    import torch

    return torch.Generator().manual_seed(mixed_seed(seed, *places))
