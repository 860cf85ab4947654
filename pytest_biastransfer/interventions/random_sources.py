"""Random numbers that depend only on a seed and on the index of an image in its dataset.

So neither the batch size nor the number of workers changes what is drawn.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def random_source(*seeds: int | str) -> random.Random:
    """Return a generator of random numbers that is seeded by all arguments: a purpose, a seed, an image's index."""
    # A string seeds through SHA-512: neighbouring indices have unrelated streams, the same on every platform.
    return random.Random("/".join(map(str, seeds)))


def mixed_seed(*seeds: int | str) -> int:
    """Return a seed of 32 bits that depends on all arguments."""
    return random_source(*seeds).getrandbits(32)


def generator(*seeds: int | str) -> torch.Generator:
    """Return a torch generator on the CPU, seeded by all arguments: generators of GPUs draw other numbers."""
    import torch

    return torch.Generator().manual_seed(mixed_seed(*seeds))
