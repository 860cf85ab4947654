"""The random draws of bootstraps: how many, and of which generator."""

from __future__ import annotations

from typing import Final

import numpy as np

DRAWS: Final = 2000


def generator_of(seed: int) -> np.random.Generator:
    """Return a random generator, of the kind whose raw bits numpy promises never to change."""
    return np.random.Generator(np.random.PCG64(seed))
