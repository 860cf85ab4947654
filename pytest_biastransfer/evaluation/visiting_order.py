"""The order in which images are visited, and its chunks.

The order is a fixed pseudo-random permutation, so its first images are a random sample without replacement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_biastransfer.data.permutation import permutation

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

CHUNK_IMAGES: Final = 256


def visiting_order(count: int) -> npt.NDArray[np.int64]:
    """Return the permutation of ``range(count)``, int64 [count]; the same on every machine and numpy version.

    >>> sorted(visiting_order(5).tolist())
    [0, 1, 2, 3, 4]
    """
    return permutation(count)


def chunks(images: int) -> list[range]:
    """Return the chunks of the first `images` positions of the order.

    >>> chunks(300)
    [range(0, 256), range(256, 300)]
    """
    return [range(start, min(start + CHUNK_IMAGES, images)) for start in range(0, images, CHUNK_IMAGES)]
