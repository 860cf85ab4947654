"""Early stopping: what the images seen so far say about a limit on a share of all images.

The images are seen in random order without replacement, so that all M of them together hold a number K of
hits, fixed and unknown. Up to some number, `most`, the limit holds. Each K is excluded as soon as the ratio

    probability of what was seen if the share is random / its probability with K hits

reaches 1 / alpha. The share in the numerator has a beta distribution, cut off to the other side of the limit:
above the limit for each K up to `most`, and below it for each K above. Once all K above `most` are excluded,
the limit holds; once all others are, it fails. Either is wrong only if the true K was excluded. At that K the
ratio starts at 1 and does not grow on average, whatever the numerator: that is a probability of sequences, and
the denominator is the true one, so that the ratio is a supermartingale. By Ville's inequality it reaches
1 / alpha at any look with a probability of at most alpha. So one may look as often as one likes (Waudby-Smith
and Ramdas 2020, arXiv 2006.04347, section 2.2, with a numerator for each side).

The numerator only decides how soon it is known. On average it takes at most 1.25 times the images of Wald's
sequential test that knows the true share, where that is 0.1 to 0.6, or 1.4 to 4 times the limit of 0.05
(`python -m benchmarks.simulations early-stopping`).

The interval of a share is the confidence sequence of the same article: all K whose ratio is below 1 / alpha,
with the whole beta distribution in the numerator. Then the ratio is prior / posterior of K.
"""

from __future__ import annotations

from bisect import bisect_left
from math import log
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.metrics.statistics.intervals import lower_end, upper_end
from pytest_biastransfer.metrics.statistics.limits import is_at_most

if TYPE_CHECKING:
    from pytest_biastransfer.names import Rule

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
# The share that divides a prior is at least this, and at most 1 minus this.
_LEAST_SHARE: Final = 1e-6
# What the odds of a limit are in those of its prior's mean: chosen so that no share between a tenth and four
# times a small limit takes many more images than it has to.
_ODDS: Final = 0.7


class Prior(NamedTuple):
    """A beta distribution of the share of hits.

    Attributes
    ----------
    a, b
        Its parameters.
    cut
        The share, in (0, 1), that divides it into what speaks for the limit and what speaks against it.
    """

    a: float
    b: float
    cut: float


def prior_for(cut: float) -> Prior:
    """Return the prior to judge a limit with: its smaller parameter is 1, its mean up to 1.4 times the limit.

    `cut` is the limit, or exactly the share at which the verdict on all images changes. It is known before the
    first image; the prior may depend on nothing that was seen.

    >>> prior_for(0.25)
    Prior(a=1.0, b=2.0999999999999996, cut=0.25)
    """
    cut = min(max(cut, _LEAST_SHARE), 1 - _LEAST_SHARE)
    smaller = min(cut, 1 - cut)
    larger = max(1.0, _ODDS * (1 - smaller) / smaller)
    return Prior(1.0, larger, cut) if cut <= 0.5 else Prior(larger, 1.0, cut)


def most_hits(populations: Counts, limit: float, rule: Rule, confidence: float) -> Counts:
    """Return with how many hits at most the verdict on a whole population is that the limit holds.

    Parameters
    ----------
    populations
        Numbers M of images, at least 0: int64 of any shape.
    limit
        What the share of hits may be at most; any number, in [0, 1] where it says something.
    rule, confidence
        What of the share must be at most the limit, as in `Expectation`: the share itself, or the upper or
        the lower end of its interval by `proportion`.

    Returns
    -------
    For each M the largest K from 0 to M with which the limit holds, -1 if it holds with none, int64. With
    M = 0 the share is undefined, and a limit on it never holds.

    Examples
    --------
    >>> most_hits(np.array([0, 20, 50, 1000]), 0.05, "point", 0.95)
    array([-1,  1,  2, 50])
    >>> most_hits(np.array([0, 20, 50, 1000]), 0.05, "certain", 0.95)
    array([-1, -1, -1, 36])
    """
    most = _guess(populations, limit, rule, confidence)
    wrong = np.ones_like(most, dtype=np.bool_)
    while wrong.any():
        here, images = most[wrong], populations[wrong]
        up = _holds(here + 1, images, limit, rule, confidence)
        down = ~_holds(here, images, limit, rule, confidence)
        most[wrong] += up.astype(np.int64) - down
        wrong[wrong] = up | down
    return most


def decide(hits: int, visited: int, populations: range, most: Counts, prior: Prior, alpha: float) -> bool | None:
    """Return the verdict on the whole population if it is certain already, else None.

    Parameters
    ----------
    hits, visited
        How many of the images seen are hits; how many were seen.
    populations
        The possible numbers of images in the whole population, none below `visited`. Where only some images
        count, such as the correctly classified ones, their number is known for certain only at the end. The
        true one being among the possible ones, a verdict that they all share is as certain as one on a known
        number.
    most
        What `most_hits` gives for these populations, int64 of shape [populations].
    prior
        What `prior_for` gives, the same at every look.
    alpha
        The probability, in (0, 1), that a verdict at any look is another than that on all images. Once the
        whole of a known population was seen, the verdict is that on all images for certain, and never None.

    Raises
    ------
    ValueError
        If there are no populations, or not as many as `most`, or one below `visited`.

    Examples
    --------
    >>> images = range(5000, 5001)
    >>> most = most_hits(np.array(images), 0.05, "point", 0.95)
    >>> [decide(hits, 256, images, most, prior_for(0.05), 0.01) for hits in (0, 12, 40)]
    [True, None, False]
    """
    if not len(populations) == len(most) > 0 or min(populations) < visited:
        raise ValueError(f"{len(most)} numbers of hits and {visited} images seen do not fit the {populations!r}")
    sizes = np.array(populations, dtype=np.int64)
    # The largest population is mostly the last one to be decided; the others need not be asked before.
    for selection in (np.s_[-1:], np.s_[:]):
        holds, fails = verdicts(hits, visited, sizes[selection], most[selection], prior, alpha)
        if not (holds.all() or fails.all()):
            return None
    return bool(holds.all())


def interval(hits: int, visited: int, population: int, prior: Prior, alpha: float) -> tuple[float, float]:
    """Return the ends of the confidence sequence for the share of hits in the whole population.

    They are the smallest and the largest share that the images seen do not exclude by the whole prior. So the limit
    may still be between them when `decide` has decided, and they are never on its other side. The arguments are
    those of `decide`, with one number of images in the whole population. With none the share is anything in [0, 1].

    >>> interval(5, 100, 1000, prior_for(0.05), 0.01)
    (0.009, 0.151)
    >>> interval(50, 1000, 1000, prior_for(0.05), 0.01)
    (0.05, 0.05)
    """
    if population == 0:
        return 0.0, 1.0

    def excluded(total: int) -> bool:
        return bool(log_ratio(total, hits, visited, population, prior) >= -log(alpha))

    likeliest = int(_likeliest(hits, visited, population))
    lowest = bisect_left(range(likeliest), True, key=lambda total: not excluded(total))
    above = bisect_left(range(population + 1), True, lo=likeliest + 1, key=excluded)
    return lowest / population, (above - 1) / population


def verdicts(hits: Any, visited: Any, populations: Any, most: Any, prior: Prior, alpha: float) -> tuple[Flags, Flags]:
    """Return where all numbers of hits above `most` are excluded, and where all others are.

    The arguments are those of `decide`, but for whole numbers or int64 arrays that broadcast to one shape,
    each place being a case of its own. Nowhere are both true.
    """
    likeliest, largest = _likeliest(hits, visited, populations), populations - (visited - hits)
    # The likelihood is log-concave in the number of hits: on either side the one next to the likeliest goes
    # last. The likeliest itself never goes: no mixture of likelihoods is above the largest of them.
    above, below = np.clip(most + 1, likeliest, largest), np.clip(most, hits, likeliest)
    holds, fails = (
        _log_mixture(hits, visited, prior, is_below=is_below) - _log_likelihood(total, hits, visited, populations)
        >= -log(alpha)
        for total, is_below in ((above, True), (below, False))
    )
    return (most >= largest) | holds, (most < hits) | fails


def log_ratio(total: Any, hits: Any, visited: Any, populations: Any, prior: Prior) -> Floats:
    """Return the logarithm of prior / posterior for `total` hits in the whole population, by the whole prior.

    All but the prior are whole numbers or int64 arrays that broadcast to one shape, with hits <= visited <=
    populations and 0 <= total <= populations. The result is infinite for a total that what was seen excludes.
    It is convex in the total, and at most 0 where that is smallest.

    >>> np.exp(log_ratio(np.array([1, 2, 9]), 1, 2, 10, Prior(1.0, 1.0, 0.5))).round(3)
    array([1.667, 0.937, 1.667])
    """
    # By Bayes' rule this is the probability of the sequence seen under the prior / that for this total.
    ratio: Floats = _log_mixture(hits, visited, prior) - _log_likelihood(total, hits, visited, populations)
    return ratio


def _log_mixture(hits: Any, visited: Any, prior: Prior, *, is_below: bool | None = None) -> Any:
    """Return the log-probability of the sequence seen if the share is drawn from the prior, or from a side of it.

    That is of images with replacement; without, it is the same for the whole prior, as a beta-binomial number
    of hits leads to it. Minus infinity stands for less than any float, which excludes nothing.
    """
    from scipy.special import betainc, betaln

    a, b = prior.a + hits, prior.b + (visited - hits)
    whole = betaln(a, b) - betaln(prior.a, prior.b)
    if is_below is None:
        return whole
    # The upper side as the lower one of the misses: 1 minus the other side would be inexact where it is small.
    if is_below:
        now, before = betainc(a, b, prior.cut), betainc(prior.a, prior.b, prior.cut)
    else:
        now, before = betainc(b, a, 1 - prior.cut), betainc(prior.b, prior.a, 1 - prior.cut)
    with np.errstate(divide="ignore"):
        return whole + np.log(now) - np.log(before)


def _log_likelihood(total: Any, hits: Any, visited: Any, populations: Any) -> Any:
    """Return the log-probability of the sequence seen with `total` hits in the whole population."""
    misses = visited - hits
    return _log_falling(total, hits) + _log_falling(populations - total, misses) - _log_falling(populations, visited)


def _log_falling(n: Any, k: Any) -> Any:
    """Return log(n (n - 1) ... (n - k + 1)): minus infinity for k > n, as `gammaln` is infinite there."""
    from scipy.special import gammaln

    return gammaln(n + 1) - gammaln(n - k + 1)


def _likeliest(hits: Any, visited: Any, populations: Any) -> Any:
    """Return the number of hits in the whole population that makes what was seen most probable."""
    return np.minimum(hits * (populations + 1) // np.maximum(visited, 1), populations - (visited - hits))


def _guess(populations: Counts, limit: float, rule: Rule, confidence: float) -> Counts:
    """Return nearly what `most_hits` does, by the normal approximation."""
    from scipy.special import ndtri

    share = min(max(limit, 0.0), 1.0)
    deviations = {"point": 0, "certain": 1, "significant": -1}[rule] * ndtri((1 - confidence) / 2)
    hits = populations * share + deviations * np.sqrt(populations * share * (1 - share))
    guess: Counts = np.clip(np.floor(hits).astype(np.int64), -1, populations)
    return guess


def _holds(hits: Counts, images: Counts, limit: float, rule: Rule, confidence: float) -> Flags:
    """Return where the limit holds with so many hits of so many images; -1 stands for fewer than any."""
    possible, some = (hits >= 0) & (hits <= images), images > 0
    bound = {"point": _share, "certain": upper_end, "significant": lower_end}[rule]
    judged = bound(np.where(possible, hits, 0), np.maximum(images, 1), (1 - confidence) / 2)
    within: Flags = is_at_most(judged, limit)
    return np.where(possible, within & some, hits < 0)


def _share(hits: Counts, images: Counts, _tail: float) -> Floats:
    return hits / images
