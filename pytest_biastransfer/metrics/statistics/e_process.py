"""Is a share or a mean worse than a baseline's, over all the nights that were measured on new images?

A test of each night at a level alarms falsely in one night or another for certain. This one may be looked at after
every night, for ever, and the probability that it *ever* alarms falsely is at most the level.

**Hypothesis**: in each night, whatever happened in earlier ones, an image has a mean of at most the baseline's true
mean plus the tolerance. The nights may differ from each other, and be better than the baseline.

**Validity.** The level a is spent in two parts. With a probability of at most .9 a, the true mean of the baseline is
above an exact upper bound of it (Clopper & Pearson 1934). Where it is not, the mean of each image is at most q, the
bound plus the tolerance, and the images multiply an *e-process*:

- of a share, by exp(h x) / (1 - q + q exp(h)) for an image that counts (x = 1) or not (x = 0): the likelihood ratio of
  a larger share. Its mean, (1 - s + s exp(h)) / (1 - q + q exp(h)) for a share s, is at most 1 for s <= q and h > 0.
- of a mean of -1, 0 or 1, by 1 + h (x - q), which is not negative for h (1 + q) <= 1: the bet of Waudby-Smith & Ramdas
  (2024, Journal of the Royal Statistical Society B 86, 1-27). Its mean, 1 + h (s - q), is at most 1 for s <= q.

Such a product that starts at 1 is a supermartingale. So is each average of products with weights that are fixed
beforehand: here over several h, as the size of a change is unknown, and over the nights in which the products start, as
a model may become worse at any time. By Ville's inequality (1939) the average ever reaches 1 / (.1 a) with a
probability of at most .1 a; together that is a. The bound falls and the average grows with a, so that what is rejected
at one level is rejected at each larger one, and the smallest such level is a p-value that holds at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.metrics.statistics.intervals import lower_end, upper_end
from pytest_biastransfer.metrics.statistics.tally import Tally

Floats = npt.NDArray[np.float64]

# The part of the level that is spent on the bound. It is the larger one: nights become more, the baseline's images do
# not.
BOUND_SHARE: Final = 0.9
# The sizes h; of a share on the scale of the logit. Each is twice the one before: a change between two of them is found
# hardly later than one of such a size.
_STEPS: Final = 0.03 * 2.0 ** np.arange(8)
# Clopper and Pearson's bound is 1 at smaller levels than a double resolves below 1.
_LEAST_LOG: Final = log(1e-17)
_HALVINGS: Final = 40


def p_over_time(baseline: Tally, nights: Sequence[Tally], tolerance: float = 0.0) -> float:
    """Return the p-value, valid at any time, that a share or mean has been worse than a baseline's in some nights.

    Parameters
    ----------
    baseline
        The images of the baseline.
    nights
        The images of each night, in their order: all nights until now, each of new images.
    tolerance
        By how much the share or mean may be larger than the baseline's true one, at least 0.

    Returns
    -------
    The smallest level at which the hypothesis of this module is rejected; 1 if there is none. It never grows from
    night to night.

    Examples
    --------
    >>> usual, worse = Tally(100, 1000), Tally(150, 1000)
    >>> histories = [usual] * 30, [worse], [usual] * 30 + [worse] * 2
    >>> [round(p_over_time(Tally(500, 5000), nights), 4) for nights in histories]
    [0.9888, 0.0435, 0.0275]
    >>> round(p_over_time(Tally(500, 5000), [worse] * 30, tolerance=0.1), 4)
    1.0
    """

    def is_rejected(log_level: float) -> bool:
        bound = upper_bound(baseline, BOUND_SHARE * exp(log_level)) + tolerance
        most = float(log_e_values(nights, bound).max(initial=0.0))
        return most + log(1 - BOUND_SHARE) + log_level >= 0

    low, high = _LEAST_LOG, 0.0
    if not is_rejected(high):
        return 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_rejected(middle) else (middle, high)
    return exp(high)


def upper_bound(baseline: Tally, level: float) -> float:
    """Return what the true share or mean exceeds with a probability of at most `level`.

    Of a mean, the bounds of its two shares have half of the level each (Bonferroni).

    >>> round(upper_bound(Tally(500, 5000), 0.045), 4), round(upper_bound(Tally(350, 5000, minus=100), 0.045), 4)
    (0.1075, 0.0614)
    """
    if baseline.minus is None:
        return float(upper_end(baseline.plus, baseline.images, level))
    most = float(upper_end(baseline.plus, baseline.images, level / 2))
    return most - float(lower_end(baseline.minus, baseline.images, level / 2))


def log_e_values(nights: Sequence[Tally], bound: float) -> Floats:
    """Return the logarithm of the e-process after each night, float64 of shape [nights].

    Parameters
    ----------
    nights
        The images of each night, all of shares or all of means.
    bound
        What no image's mean exceeds under the hypothesis: q above.

    Examples
    --------
    >>> log_e_values([Tally(10, 100), Tally(25, 100)], 0.1).round(2)
    array([-0.29,  5.3 ])
    """
    number = np.arange(1.0, len(nights) + 1)
    # The product of the nights until one, and that of those from s on is its quotient: night s starts with a weight of
    # 1 / (s (s + 1)).
    products = np.cumsum(_log_factors(nights, bound), axis=0)
    before = np.vstack([np.zeros_like(products[:1]), products[:-1]])
    started = products + np.logaddexp.accumulate(-np.log(number * (number + 1))[:, None] - before, axis=0)
    # The nights to come have not started: their products are 1, and their weights sum to 1 / (t + 1).
    average = np.logaddexp.reduce(started, axis=1, initial=-np.inf) - log(len(_STEPS))
    values: Floats = np.logaddexp(average, -np.log(number + 1))
    return values


def _log_factors(nights: Sequence[Tally], bound: float) -> Any:
    """Return the logarithm of what the images of each night multiply the products by, one column for each step."""
    plus, images = (np.array([night[field] for night in nights], np.float64)[:, None] for field in (0, 1))
    if all(night.minus is None for night in nights):
        return _STEPS * plus - images * np.log1p(bound * np.expm1(_STEPS))
    minus = np.array([night.minus for night in nights], np.float64)[:, None]
    # The weights of the steps that are no bets are lost.
    steps = _STEPS[_STEPS * (1 + bound) < 1]
    return (
        plus * np.log1p(steps * (1 - bound))
        + (images - plus - minus) * np.log1p(-steps * bound)
        + minus * np.log1p(-steps * (1 + bound))
    )
