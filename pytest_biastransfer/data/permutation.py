"""Reproducible pseudo-random permutations, the same on every machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

_WORD = 2**64


def permutation(count: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """Return the permutation of ``range(count)`` of a seed, int64; the same on every machine and numpy version.

    >>> sorted(permutation(5, seed=1).tolist())
    [0, 1, 2, 3, 4]
    """
    # splitmix64 (Steele et al. 2014) with the seed as its state: numpy's generators promise no stable streams.
    mixed = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed % _WORD)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(mixed ^ (mixed >> np.uint64(31)), kind="stable")
