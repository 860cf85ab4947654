"""The order in which images are visited, and its chunks; nothing else knows where a chunk ends.

The order is a pseudo-random permutation, so its first images are a random sample without replacement. The content of
the dataset and a number of the user fix it, so that whoever makes a dataset cannot choose which images come first,
and all processes agree. The first chunks are small, because a measurement that may stop early looks at the images
after each. Where several are needed, they are computed together.
"""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.data.permutation import permutation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    import numpy.typing as npt

# The most images of a chunk, and of those that are computed together.
CHUNK_IMAGES: Final = 256
# Where the chunks end before each has as many.
_FIRST_ENDS: Final = (32, 64, 128)


def dataset_seed(dataset: str, number: int) -> int:
    """Return the seed of the order of a dataset, of 64 bits, from its fingerprint and the user's number.

    >>> dataset_seed("3f2a", 0) == dataset_seed("3f2a", 0), dataset_seed("3f2a", 0) == dataset_seed("3f2a", 1)
    (True, False)
    """
    return int.from_bytes(hashlib.sha256(f"{dataset} {number}".encode()).digest()[:8], "big")


def visiting_order(count: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the permutation of ``range(count)`` of a seed, int64 [count]; the same on every machine and numpy version.

    >>> sorted(visiting_order(5, dataset_seed("3f2a", 0)).tolist())
    [0, 1, 2, 3, 4]
    """
    return permutation(count, seed)


def chunks(images: int) -> list[range]:
    """Return the chunks of the first `images` positions of the order.

    >>> chunks(300)
    [range(0, 32), range(32, 64), range(64, 128), range(128, 256), range(256, 300)]
    """
    return chunks_in(range(images))


def chunks_in(positions: range) -> list[range]:
    """Return the chunks that some positions of the order consist of; they begin where a chunk does.

    >>> chunks_in(range(64, 512))
    [range(64, 128), range(128, 256), range(256, 512)]
    """
    ends = [*_FIRST_ENDS, *range(CHUNK_IMAGES, positions.stop, CHUNK_IMAGES)]
    cuts = [positions.start, *(end for end in ends if positions.start < end < positions.stop), positions.stop]
    return [range(start, stop) for start, stop in itertools.pairwise(cuts) if start < stop]


def joined(chunks: Iterable[range]) -> Iterator[range]:
    """Yield neighbouring chunks as one range of up to `CHUNK_IMAGES` positions; take no more chunks than for the next.

    >>> list(joined([range(0, 32), range(32, 64), range(128, 256), range(256, 512)]))
    [range(0, 64), range(128, 256), range(256, 512)]
    """
    positions = range(0)
    for chunk in chunks:
        if positions and chunk.start != positions.stop:
            yield positions
            positions = range(0)
        positions = range(positions.start if positions else chunk.start, chunk.stop)
        if positions.stop % CHUNK_IMAGES == 0:
            yield positions
            positions = range(0)
    if positions:
        yield positions
