"""The threshold with which as many images are predicted positive as there are positives."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def at_prevalence(scores: npt.NDArray[Any], positive_count: int) -> npt.NDArray[np.bool_]:
    """Return which images are predicted positive if as many shall be as there are positives.

    These are the images with the highest scores. Images with the same score fall on the same side of the
    threshold: on the one that makes the count nearest to `positive_count`; if both are as near, they are negative.

    Parameters
    ----------
    scores
        Floats of shape [images].
    positive_count
        The number of positives, in [0, images].

    Examples
    --------
    >>> at_prevalence(np.array([0.1, 0.9, 0.5, 0.5]), 2)
    array([False,  True, False, False])
    >>> at_prevalence(np.array([0.1, 0.9, 0.5, 0.5]), 3)
    array([False,  True,  True,  True])
    """
    marked: npt.NDArray[np.bool_] = scores > prevalence_cut(scores, positive_count)
    return marked


def prevalence_cut(scores: npt.NDArray[Any], positive_count: int) -> float:
    """Return the number that the scores of as many images are above as there are positives; see `at_prevalence`.

    Of all such numbers, it is the largest: other images have to reach the lowest of these scores.

    >>> prevalence_cut(np.array([0.1, 0.9, 0.5, 0.5]), 2) < 0.9
    True
    """
    if positive_count == 0:
        return np.inf
    index = len(scores) - positive_count
    threshold = np.partition(scores, index)[index]
    above, reached = scores[scores > threshold], scores[scores >= threshold]
    marked = reached if len(reached) - positive_count < positive_count - len(above) else above
    return float(np.nextafter(marked.min(), -np.inf, dtype=scores.dtype)) if len(marked) else np.inf
