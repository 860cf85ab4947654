"""How often a rule can decide a limit on a share with so many images.

Sessions in which nothing changed state it too, so this is exact without numpy and scipy.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pytest_biastransfer.names import Rule

# With so many expected images that count, twice or half as many are told apart for sure.
_MANY: Final = 200.0


@functools.cache
def decision_power(rule: Rule, limit: float, n: int, confidence: float = 0.95) -> float:
    """Return how often the rule decides where the true share is far from the limit; see `telling_share`.

    With ``rule="certain"``, how often the limit holds where the true share is half of it; with ``rule="significant"``,
    how often it fails where the true share is twice the limit. The interval is Clopper and Pearson's (1934).

    Parameters
    ----------
    limit
        In (0, 1), of a share of images.
    n
        The number of images, at least 1.

    Examples
    --------
    >>> round(decision_power("certain", 0.05, 200), 2), round(decision_power("certain", 0.05, 1000), 2)
    (0.26, 0.99)
    """
    if rule == "point" or n * min(limit, 1 - limit) > _MANY:
        return 1.0
    tail, share = (1 - confidence) / 2, telling_share(rule, limit)
    needs_few = rule == "certain"
    if limit > 0.5:
        # Fewer images are counted if those that do not count are.
        limit, share, needs_few = 1 - limit, 1 - share, not needs_few
    if needs_few:
        return _at_most(_below(n, limit, tail) - 1, n, share)
    return max(0.0, 1 - _at_most(_below(n, limit, 1 - tail), n, share))


def telling_share(rule: Rule, limit: float) -> float:
    """Return a true share that a rule should tell from the limit: half of it, or twice as large.

    Above a limit of 1/3, twice the limit is near 1 or above it: the share is then halfway between the limit and 1.

    >>> telling_share("certain", 0.05), telling_share("significant", 0.05), telling_share("significant", 0.5)
    (0.025, 0.1, 0.75)
    """
    return limit / 2 if rule == "certain" else min(2 * limit, (1 + limit) / 2)


@functools.cache
def images_to_decide(rule: Rule, limit: float, power: float, confidence: float = 0.95) -> int:
    """Return from how many images on the rule decides with a probability of `power`, right to some images.

    The probability is not quite monotone, because counts are whole numbers.

    >>> images_to_decide("certain", 0.05, 0.9)
    637
    """
    high = 1
    while decision_power(rule, limit, high, confidence) < power:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        if decision_power(rule, limit, middle, confidence) < power:
            low = middle
        else:
            high = middle
    return high


def _below(n: int, limit: float, probability: float) -> int:
    """Return the smallest count with P(X <= count) > probability, of n images that count with probability `limit`.

    If `probability` is that of one tail, smaller counts have an interval that ends below the limit. If it is that of
    all but one tail, larger counts have one that begins above it.
    """
    total = 0.0
    for count in range(n):
        total += _probability(count, n, limit)
        if total > probability:
            return count
    return n


def _at_most(count: int, n: int, share: float) -> float:
    return min(1.0, math.fsum(_probability(number, n, share) for number in range(count + 1)))


def _probability(count: int, n: int, share: float) -> float:
    """Return the probability that `count` of n images count, in [0, 1]; `share` in (0, 1)."""
    ways = math.lgamma(n + 1) - math.lgamma(count + 1) - math.lgamma(n - count + 1)
    return math.exp(ways + count * math.log(share) + (n - count) * math.log1p(-share))
