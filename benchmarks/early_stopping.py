"""How often an early verdict is wrong, and how many images it takes: computed exactly, without simulation.

Under a fixed number of hits in the population, the number of hits among the first images is a Markov chain. Its
distribution is carried from image to image, and what is decided at a look leaves it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from pytest_biastransfer.metrics.statistics.sequential import Prior, most_hits, prior_for, verdicts

Counts = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
# Takes possible numbers of hits among so many first images, int64 [n]; returns where the limit holds for sure, and
# where it fails for sure, bool [n].
Decision = Callable[[Counts, int], tuple[Flags, Flags]]

# Probabilities that are dropped: of a single number of hits, and of all that is undecided.
_NEGLIGIBLE = 1e-18
_NEGLIGIBLE_REST = 1e-9


class Stopping(NamedTuple):
    """Probability of a verdict that is not that on all images, and the images needed on average."""

    wrong: float
    images: float


def stopping(population: int, total: int, most: int, at: Iterable[int], decision: Decision) -> Stopping:
    """Return what a decision leads to.

    Parameters
    ----------
    population, total
        The number of images, and of hits among them.
    most
        With how many hits the limit just holds.
    at
        After how many images there is a look, besides one after all.
    decision
        What is decided at a look.
    """
    looks, fewest, live = {*at, population}, 0, np.ones(1)
    wrong = images = 0.0
    for n in range(1, population + 1):
        hit = live * np.clip((total - fewest - np.arange(len(live))) / (population - n + 1), 0, 1)
        live = np.append(live - hit, 0.0) + np.append(0.0, hit)
        some = np.flatnonzero(live > _NEGLIGIBLE)
        fewest, live = fewest + int(some[0]), live[some[0] : some[-1] + 1]
        if n in looks:
            passed, failed = decision(fewest + np.arange(len(live)), n)
            wrong += float(live[failed if total <= most else passed].sum())
            images += n * float(live[passed | failed].sum())
            live = np.where(passed | failed, 0.0, live)
        if live.sum() < _NEGLIGIBLE_REST:
            break
    return Stopping(wrong, images)


def largest_passing(population: int, limit: float) -> int:
    """Return with how many hits the limit on the share of them just holds."""
    return int(most_hits(np.array([population]), limit, "point", 0.95)[0])


def early_stop(population: int, limit: float, alpha: float, prior: Prior | None = None) -> Decision:
    """Return what this package decides."""
    most = largest_passing(population, limit)
    used = prior or prior_for((most + 0.5) / population)
    return lambda hits, seen: verdicts(hits, seen, population, most, used, alpha)


def wald(population: int, total: int, limit: float, alpha: float) -> Decision:
    """Return what Wald's test decides that knows the true number of hits, and asks whether it is not the limit's.

    It compares `total` with the nearest number on the other side of the limit, and errs with a probability of `alpha`
    either way. No test with these errors takes fewer images on average, up to the overshoot (Wald and Wolfowitz 1948).
    """
    most = largest_passing(population, limit)
    other, bound = most + (total <= most), np.log((1 - alpha) / alpha)

    def decision(hits: Counts, seen: int) -> tuple[Flags, Flags]:
        ratio = _log_likelihood(total, hits, seen, population) - _log_likelihood(other, hits, seen, population)
        right, wrong = ratio >= bound, ratio <= -bound
        return (right, wrong) if total <= most else (wrong, right)

    return decision


def _log_likelihood(total: int, hits: Counts, seen: int, population: int) -> npt.NDArray[np.float64]:
    """Return the log-probability of a sequence, but for what does not depend on `total`."""
    misses = seen - hits
    likelihood: npt.NDArray[np.float64] = (
        gammaln(total + 1)
        - gammaln(total - hits + 1)
        + gammaln(population - total + 1)
        - gammaln(population - total - misses + 1)
    )
    return likelihood
