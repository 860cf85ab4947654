"""The order in which images are visited, and its chunks.

A fixed pseudo-random permutation: any number of first images is a random sample without replacement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

CHUNK_IMAGES: Final = 256


def visiting_order(count: int) -> npt.NDArray[np.int64]:
    """Return the permutation of ``range(count)``; the same on every machine and numpy version.

    >>> sorted(visiting_order(5).tolist())
    [0, 1, 2, 3, 4]
    """
    # splitmix64 (Steele et al. 2014) of the index; numpy's generators promise no stable streams.
    mixed = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(mixed ^ (mixed >> np.uint64(31)), kind="stable")


def chunks(images: int) -> list[range]:
    """Return the chunks that the first `images` places of the order are cut into.

    >>> chunks(300)
    [range(0, 256), range(256, 300)]
    """
    return [range(start, min(start + CHUNK_IMAGES, images)) for start in range(0, images, CHUNK_IMAGES)]
