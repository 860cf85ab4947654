"""What a number of images can tell, before any is measured: verdicts on a limit, changes since a baseline."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from pytest_biastransfer.metrics.statistics.intervals import lower_end, upper_end
from pytest_biastransfer.metrics.statistics.limits import is_at_most

# More images are not looked for.
MOST_IMAGES: Final = 10**9
# Of a binomial distribution, what lies farther from the mean in standard deviations has no weight.
_FAR: Final = 9


class Verdicts(NamedTuple):
    """With how many of n images that count the verdict on a limit is sure.

    Attributes
    ----------
    most_passing
        With at most so many, the whole interval is at most the limit; -1 if not even with none.
    least_failing
        From so many on, the whole interval is above it; n + 1 if not even with all.
    """

    most_passing: int
    least_failing: int


def sure_verdicts(limit: float, n: int, confidence: float = 0.95) -> Verdicts:
    """Return with how many images the verdict on a limit of a share is sure, by Clopper and Pearson's interval.

    >>> sure_verdicts(0.05, 1000)
    Verdicts(most_passing=36, least_failing=65)
    """
    tail = (1 - confidence) / 2
    passing = _first(n + 1, lambda count: not is_at_most(float(upper_end(count, n, tail)), limit))
    failing = _first(n + 1, lambda count: not is_at_most(float(lower_end(count, n, tail)), limit))
    return Verdicts(passing - 1, failing)


def probability_at_most(count: int, n: int, share: float) -> float:
    """Return the probability that at most `count` of n images count, of which each does with probability `share`."""
    from scipy.special import bdtr

    return 0.0 if count < 0 else 1.0 if count >= n else float(bdtr(count, n, share))


def change_power(n: int, newly: float, no_longer: float, alpha: float) -> float:
    """Return the probability that McNemar's exact test finds a change of a share on the same n images.

    Parameters
    ----------
    newly, no_longer
        The shares of images that count now and did not before, and the other way round; together at most 1.
    alpha
        The level of the two-sided test, after the correction for the number of comparisons.

    Examples
    --------
    >>> round(change_power(5000, 0.012, 0.004, 0.01), 2)
    0.97
    """
    from scipy.special import bdtr, gammaln

    changing = newly + no_longer
    if changing == 0:
        return 0.0
    spread = math.sqrt(n * changing * (1 - changing)) + 1
    counts = np.arange(max(0, int(n * changing - _FAR * spread)), min(n, int(n * changing + _FAR * spread)) + 1)
    logs = gammaln(n + 1) - gammaln(counts + 1) - gammaln(n - counts + 1) + counts * math.log(changing)
    # Of a share of 1, all images change.
    logs = logs + np.where(counts < n, (n - counts) * math.log1p(-min(changing, 1 - 1e-16)), 0.0)
    # With at most so many on one side, the split of the images that change is significant.
    rarest = np.array([_most_on_one_side(int(count), alpha) for count in counts])
    is_possible = rarest >= 0
    few, size, share = np.maximum(rarest, 0).astype(np.float64), counts, newly / changing
    found = bdtr(few, size, 1 - share) + bdtr(few, size, share)
    return float(np.exp(logs)[is_possible] @ np.minimum(1.0, found[is_possible]))


def _most_on_one_side(count: int, alpha: float) -> int:
    """Return how many of the images that change may do so in the rarer direction; -1 if no split is significant."""
    from scipy.special import bdtr

    return _first(count // 2 + 1, lambda fewer: 2 * float(bdtr(fewer, count, 0.5)) > alpha) - 1


def images_for(power: float, newly: float, no_longer: float, alpha: float) -> int | None:
    """Return the number of images from which on a change is found with a probability; None for more than a billion.

    >>> images_for(0.9, 0.012, 0.004, 0.01)
    3728
    """
    high = 8
    while change_power(high, newly, no_longer, alpha) < power:
        high *= 2
        if high > MOST_IMAGES or newly <= no_longer:
            return None
    # The probability is not quite monotone, because counts are whole numbers: the answer is right to some images.
    return high // 2 + _first(high // 2, lambda more: change_power(high // 2 + more, newly, no_longer, alpha) >= power)


def _first(most: int, holds: Callable[[int], bool]) -> int:
    """Return the first number from 0 on for which something holds that holds from there on; `most` if for none."""
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low
