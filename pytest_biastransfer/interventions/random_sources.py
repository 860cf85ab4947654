"""Random numbers that depend on a seed and on the place of an image in its dataset, and on nothing else."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def source_of_chance(*parts: int | str) -> random.Random:
    """Return random numbers that differ for all parts: a seed, the place of an image, what they are for."""
    return random.Random("/".join(map(str, parts)))


def mixed_seed(*parts: int | str) -> int:
    """Return 32 bits that differ for all parts."""
    return source_of_chance(*parts).getrandbits(32)


def generator(*parts: int | str) -> torch.Generator:
    """Return a generator of torch on the CPU: those of GPUs draw other numbers."""
    import torch

    return torch.Generator().manual_seed(mixed_seed(*parts))
