"""Subsets, concatenations and mixtures of datasets.

They are views, as those of `pytest_biastransfer.transfer.curation.functions`. The datasets may have one
class for each image, or several labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_biastransfer.data.concatenation import Concatenation
from pytest_biastransfer.data.subset import IndexSelection, Subset
from pytest_biastransfer.errors import DatasetError
from pytest_biastransfer.transfer.curation.arguments import Request
from pytest_biastransfer.transfer.curation.contingency import permutation_for

if TYPE_CHECKING:
    from pytest_biastransfer.data.subset import Selection

# How far shares may be from a sum of 1: three times 0.1 and 0.7 is not exactly 1.
_ROUNDING = 1e-9


def subset(dataset: Any, n: int, seed: int = 0) -> Selection:
    """Select a number of images at random, such as to study how many target images are enough.

    Parameters
    ----------
    dataset
        See `pytest_biastransfer.transfer.curation.functions`.
    n
        The number of images, from 1 to all.
    seed
        Seed of the draw without replacement, from 0 on. With the same seed, a larger subset contains a smaller one. It
        is the subset of ``?limit=N&seed=S`` in a spec.

    Returns
    -------
    Selection
        The images, in the order of the dataset.

    Raises
    ------
    DatasetError
        If the dataset has fewer images.

    Examples
    --------
    >>> import numpy as np
    >>> digits = [(np.zeros((3, 1, 1), dtype=np.uint8), digit) for digit in range(10)]
    >>> subset(digits, 3).labels.tolist(), subset(digits, 5).labels.tolist()
    ([2, 4, 6], [2, 4, 5, 6, 8])
    """
    request = Request.of("subset", dataset)
    images = request.images
    if isinstance(n, bool) or not isinstance(n, Integral) or not 1 <= n <= len(images):
        raise request.error(
            f"n={n!r:.100}, expected a whole number from 1 to {len(images):,}, all images of {images.name}"
        )
    return Subset(images, int(n), request.seed(seed))


def concat(*datasets: Any) -> Concatenation:
    """Put several datasets one after the other.

    Parameters
    ----------
    datasets
        Datasets with the same classes, or with the same labels of each image; their names may be in another order. See
        `pytest_biastransfer.transfer.curation.functions`.

    Returns
    -------
    Concatenation
        All images. The classes or labels are in the order of the first dataset. It has the attributes and masks that
        all datasets have, and the weights of each; images of a dataset without weights have weight 1.

    Raises
    ------
    DatasetError
        If the datasets do not have the same classes or labels.

    Examples
    --------
    >>> import numpy as np
    >>> class Pets(list):
    ...     classes = ("cat", "dog")
    >>> class MorePets(list):
    ...     classes = ("dog", "cat")
    >>> black = np.zeros((3, 1, 1), dtype=np.uint8)
    >>> concat(Pets([(black, 0), (black, 1)]), MorePets([(black, 0)])).labels.tolist()
    [0, 1, 1]
    """
    if not datasets:
        raise DatasetError("concat: got no dataset, expected at least one")
    requests = [Request.of("concat", dataset) for dataset in datasets]
    return Concatenation([request.images for request in requests], requests[0].error)


def mixture(parts: Sequence[tuple[Any, float]], n: int | None = None, *, seed: int = 0) -> Selection:
    """Mix datasets by share: draw images of each, so that each has its share of the result.

    Parameters
    ----------
    parts
        Pairs of a dataset and its share in [0, 1]; the shares add up to 1. Of a dataset of share 0 there are no images.
        The datasets must fit together as for `concat`.
    n
        The number of images; default: as many as possible.
    seed
        Seed of the draws without replacement, from 0 on. With the same seed, of each dataset a larger draw contains a
        smaller one.

    Returns
    -------
    Selection
        Of each dataset ``share * n`` images, rounded so that the numbers add up to n.

    Raises
    ------
    DatasetError
        If a dataset has too few images, or the datasets do not have the same classes or labels.

    Examples
    --------
    >>> import numpy as np
    >>> def pets(ground, count):
    ...     return [(np.zeros((3, 1, 1), dtype=np.uint8), i % 2, {"ground": ground}) for i in range(count)]
    >>> mixed = mixture([(pets("grass", 50), 0.9), (pets("snow", 50), 0.1)], n=30)
    >>> len(mixed), mixed.attributes["ground"].count("snow")
    (30, 3)
    >>> len(mixture([(pets("grass", 50), 0.9), (pets("snow", 50), 0.1)]))
    55
    """
    if not isinstance(parts, Sequence) or not parts or not all(map(_is_pair, parts)):
        raise DatasetError(
            f"mixture: parts={parts!r:.100}, expected pairs of a dataset and its share, such as [(a, 0.9), (b, 0.1)]"
        )
    requests = [Request.of("mixture", dataset) for dataset, _ in parts]
    shares = [request.share("share", share) for request, (_, share) in zip(requests, parts, strict=True)]
    if abs(math.fsum(shares) - 1) > _ROUNDING:
        listed = " + ".join(f"{share:g}" for share in shares)
        raise requests[0].error(f"the shares {listed} add up to {math.fsum(shares):g}, expected 1")
    seed, size = requests[0].seed(seed), requests[0].size(n, "n")
    # All datasets, also those of share 0: numbering and classes then do not depend on the shares.
    whole = Concatenation([request.images for request in requests], requests[0].error)
    counts = _counts(requests, shares, size)
    offsets = np.cumsum([0, *map(len, whole.parts[:-1])]).tolist()
    drawn = [
        offset + np.sort(permutation_for(f"mixture {number}", len(part), seed)[:count])
        for number, (part, count, offset) in enumerate(zip(whole.parts, counts, offsets, strict=True))
    ]
    return IndexSelection(whole, np.concatenate(drawn))


def _is_pair(part: object) -> bool:
    return isinstance(part, tuple | list) and len(part) == 2


def _counts(requests: Sequence[Request], shares: Sequence[float], n: int | None) -> list[int]:
    """Return how many images of each dataset there are; raise `DatasetError` if one has too few."""
    datasets = [request.images for request in requests]
    pairs = list(zip(datasets, shares, strict=True))
    largest = min(math.floor(len(images) / share + _ROUNDING) for images, share in pairs if share)
    counts = _rounded(shares, largest if n is None else n)
    for images, share, count in zip(datasets, shares, counts, strict=True):
        if count > len(images):
            raise requests[0].error(
                f"n={n:,} with a share of {share:g} needs {count:,} images of {images.name}, which has "
                f"{len(images):,}; possible: n up to {largest:,}"
            )
    return counts


def _rounded(shares: Sequence[float], n: int) -> list[int]:
    """Return whole numbers that add up to n, by the method of largest remainders."""
    exact = [share * n for share in shares]
    counts = [math.floor(number + _ROUNDING) for number in exact]
    by_remainder = sorted(range(len(shares)), key=lambda number: counts[number] - exact[number])
    for number in by_remainder[: n - sum(counts)]:
        counts[number] += 1
    return counts
