"""Simulated years of nightly runs on new images: how often they alarm, and after how many nights."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from math import log
from typing import Final

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.metrics.statistics.change_tests import two_proportions
from pytest_biastransfer.metrics.statistics.e_process import BOUND_SHARE, log_e_values, upper_bound
from pytest_biastransfer.metrics.statistics.tally import Tally

YEAR: Final = 365
ALPHA: Final = 0.01
ALPHA_OVER_TIME: Final = 0.05
NEVER: Final = YEAR + 1
# A row of a table: its name, and its cells.
Row = tuple[str, Sequence[str]]
Nights = npt.NDArray[np.int64]

_SEED: Final = 0
_SIZES: Final = ((1000, 1000), (1000, 5000), (5000, 1000), (5000, 5000))
_INCREASES: Final = ((0.10, 0.11), (0.10, 0.12), (0.10, 0.15), (0.01, 0.015), (0.01, 0.02))


def first_alarms(asr: float, later: float, baseline: int, images: int, repeats: int, unchanged: int = 0) -> Nights:
    """Return the first night with an alarm of each simulated year, int64 [3, repeats], `NEVER` if there is none.

    The rows are the test over time, and a test of each night alone at `ALPHA` and at `ALPHA_OVER_TIME`. The true share
    is `asr` in the baseline and in the first `unchanged` nights, and `later` in the others.
    """
    generator = np.random.default_rng(_SEED)
    shares = np.where(np.arange(YEAR) < unchanged, asr, later)
    alarms = []
    for _ in range(repeats):
        accepted = Tally(int(generator.binomial(baseline, asr)), baseline)
        hits = generator.binomial(images, shares)
        alone = [_alone(accepted, hits, images, level) for level in (ALPHA, ALPHA_OVER_TIME)]
        alarms.append([_over_time(accepted, hits, images), *alone])
    return np.array(alarms, np.int64).T


def _over_time(accepted: Tally, hits: Nights, images: int) -> int:
    # What `p_over_time` at most the level means, without looking for the p-value.
    bound = upper_bound(accepted, BOUND_SHARE * ALPHA_OVER_TIME)
    values = log_e_values([Tally(int(count), images) for count in hits], bound)
    return _first(values >= -log((1 - BOUND_SHARE) * ALPHA_OVER_TIME))


def _alone(accepted: Tally, hits: Nights, images: int, level: float) -> int:
    start = accepted.plus * images // accepted.images + 1
    significant = bisect_left(
        range(images + 1),
        True,
        lo=start,
        key=lambda count: two_proportions(count, images, accepted.plus, accepted.images) <= level,
    )
    return _first(hits >= significant)


def _first(alarms: npt.NDArray[np.bool_]) -> int:
    return int(alarms.argmax()) + 1 if alarms.any() else NEVER


def false_alarms(repeats: int) -> Iterator[Row]:
    """Yield how often a year in which nothing changes has an alarm."""
    yield "asr, baseline, images a night", ("over time at 0.05", "each night at 0.01", "each night at 0.05")
    for asr in (0.1, 0.01):
        for baseline, images in _SIZES:
            alarms = first_alarms(asr, asr, baseline, images, repeats)
            yield f"{asr:g}, {baseline:,}, {images:,}", [f"{share:.3f}" for share in (alarms < NEVER).mean(axis=1)]


def delays(repeats: int) -> Iterator[Row]:
    """Yield how often an increase is found, and the median and the 0.9 quantile of the nights that takes.

    Worse from the first night on: over time at .05, and each night alone at .01; and over time after a hundred nights
    without a change.
    """
    yield "asr, baseline, images a night", ("over time", "each night", "over time, worse from night 101 on")
    for asr, later in _INCREASES:
        for baseline, images in _SIZES:
            over_time, alone, _ = first_alarms(asr, later, baseline, images, repeats)
            unchanged = 100
            after, *_ = first_alarms(asr, later, baseline, images, repeats, unchanged)
            after = np.where((after > unchanged) & (after < NEVER), after - unchanged, NEVER)
            yield f"{asr:g} to {later:g}, {baseline:,}, {images:,}", [_summary(n) for n in (over_time, alone, after)]


def _summary(alarms: Nights) -> str:
    quantiles = np.quantile(alarms, [0.5, 0.9], method="higher")
    nights = " / ".join("–" if night == NEVER else str(night) for night in quantiles)
    return f"{np.mean(alarms < NEVER):.2f}; {nights}"
