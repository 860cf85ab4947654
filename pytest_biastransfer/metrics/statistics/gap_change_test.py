"""Is a gap between groups another one than the accepted one, or is that chance? P-values of changes of gaps.

As in `comparison`: two measurements are *paired* where they are of the same images, in the same order.
"""

from __future__ import annotations

from math import hypot, isnan, isqrt
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.metrics.statistics.draws import DRAWS, generator_of
from pytest_biastransfer.metrics.statistics.normal_tail import normal_p_value

Marked = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Counts = Integers | Floats

EXCHANGES: Final = 20_000
# Where fewer exchanges change the gap as far, the normal distribution's tail tells how rare that is.
_FEW: Final = 10
_ROUNDING: Final = 1e-12


class SizedGap(NamedTuple):
    """A gap, and what chance does to it: `gap`, `inflation`, `error` and `by_chance` of `GroupGaps`."""

    gap: float
    inflation: float
    error: float
    by_chance: float


def paired_gap_change(
    before: Marked,
    now: Marked,
    among: Marked,
    codes: Integers,
    groups: int,
    *,
    min_group_size: int = 30,
    is_signed: bool = False,
    margin: float = 0.0,
    seed: int = 0,
) -> float:
    """Return the two-sided p-value of a change of the gap of a rate on the same images.

    It is the larger one of two, as is that of the skew (see `skew_change`). The *permutation test* (Fisher 1935)
    exchanges the two outcomes of images at random, which might as well have come the other way round if nothing
    had changed, and counts how often the gap changes at least as much; only images whose outcome changed matter.
    But it also finds that groups changed places, and takes that for a change of the gap. The *bootstrap test*, by
    the bootstrap's bias and standard error, asks for the gap alone.

    Parameters
    ----------
    before, now
        Which images count, at either time, bool of shape [images].
    among
        Among which images the rate is taken, bool of shape [images].
    codes
        The group of each image, in [0, groups), int64 of shape [images].
    groups
        The number of groups.
    min_group_size
        How many images a group needs to take part. Where fewer than two have them, there is no gap: 1.
    is_signed
        Whether the gap is the rate of the first group minus that of the second one.
    margin
        The bootstrap test is of a change beyond it; it has the sign of the change.

    Returns
    -------
    A probability, at least 2^(1 - k) where the outcomes of k images changed; exactly 1 if the same images count.

    Examples
    --------
    >>> codes, among, none = np.arange(200) // 100, np.ones(200, dtype=bool), np.zeros(200, dtype=bool)
    >>> paired_gap_change(none, none, among, codes, 2)
    1.0
    >>> round(paired_gap_change(none, np.arange(200) < 5, among, codes, 2), 2)
    0.06
    """
    # The four outcomes: never counted, only now, only before, both times.
    keys = (codes * 4 + before * 2 + now)[among]
    outcomes = np.bincount(keys, minlength=4 * groups).reshape(groups, 4)
    outcomes = outcomes[outcomes.sum(axis=1) >= max(1, min_group_size)].T[:, :, None]
    changed_images = int(outcomes[1:3].sum())
    if outcomes.shape[1] < 2 or not changed_images:
        return 1.0
    generator = generator_of(seed)
    (change,), exchanged = (_gap_changes(counts, is_signed) for counts in (outcomes, _exchanged(outcomes, generator)))
    as_far = int(np.count_nonzero(abs(exchanged) >= abs(change) - _ROUNDING))
    by_exchanges = (1 + as_far) / (1 + EXCHANGES)
    if as_far < _FEW:
        # So many exchanges cannot tell how rare it is: many comparisons would never get below the floor.
        by_exchanges = min(by_exchanges, normal_p_value(float(change - exchanged.mean()), float(exchanged.std())))
    resampled = _gap_changes(_resampled(outcomes, generator), is_signed)
    by_bootstrap = normal_p_value(2 * float(change) - float(resampled.mean()), float(resampled.std()), margin)
    return max(by_exchanges, by_bootstrap, 0.5 ** (changed_images - 1))


def unpaired_gap_change(before: SizedGap, now: SizedGap, margin: float = 0.0) -> float:
    """Return the two-sided p-value of a change of a gap, of images that were drawn independently.

    It is the larger one of two, for two ways of having the same gap before and now. That it is the same, and
    not 0, is tested by the normal distribution, after taking off what chance adds: a gap of few images is larger
    by chance, and gets smaller when more of them are measured. That it is 0 both times is tested by how often
    chance alone would part the groups that far at either time (Bonferroni).

    With a `margin`, which has the sign of the change, the first test is of a change beyond it.

    For figures of the same images, of which nothing more is known, it is too large rather than too small: what happens
    by chance at both times is taken for something that could have happened once.

    Returns
    -------
    A probability; 1 where there was or is no gap, for want of groups with enough images.

    Examples
    --------
    >>> round(unpaired_gap_change(SizedGap(0.1, 0.01, 0.03, 0.02), SizedGap(0.25, 0.01, 0.04, 0.0)), 4)
    0.0027
    """
    change = (now.gap - now.inflation) - (before.gap - before.inflation)
    if isnan(change):
        return 1.0
    none = min(1.0, 2 * min(before.by_chance, now.by_chance))
    return max(none, normal_p_value(change, hypot(before.error, now.error), margin))


def _gap_changes(outcomes: Counts, is_signed: bool) -> Floats:
    """Return by how much the gap changes: outcomes [4, groups, draws] -> [draws]."""
    _, newly, no_longer, always = outcomes
    # The draws come last: that is ten times as fast as differences of the few groups of each draw.
    rates = ((always + changed_images) / outcomes.sum(axis=0) for changed_images in (no_longer, newly))
    before, now = (groups[0] - groups[1] if is_signed else np.ptp(groups, axis=0) for groups in rates)
    changes: Floats = now - before
    return changes


def _exchanged(outcomes: Integers, generator: np.random.Generator) -> Integers:
    """Exchange the outcomes before and now of random images: [4, groups, 1] -> [4, groups, draws]."""
    never, newly, no_longer, always = outcomes
    changed = newly + no_longer
    heads = np.stack([_heads(int(coins), generator) for coins in changed[:, 0]])
    return np.stack(np.broadcast_arrays(never, heads, changed - heads, always))


def _heads(coins: int, generator: np.random.Generator) -> Integers:
    """Return how many of so many coins show heads, int64 of shape [draws]; tens of coins in a fifth of numpy's time."""
    from scipy.special import bdtr

    # Beyond ten standard deviations, which are half a root each, is nothing to be drawn.
    least = max(0, coins // 2 - 5 * isqrt(coins) - 5)
    shares = bdtr(np.arange(least, coins - least, dtype=np.float64), coins, 0.5)
    return least + np.searchsorted(shares, generator.random(EXCHANGES), side="right")


def _resampled(outcomes: Integers, generator: np.random.Generator) -> Floats:
    """Return what the outcomes would be, had other images been seen: [4, groups, 1] -> [4, groups, draws]."""
    return generator.standard_gamma(outcomes + 1 / len(outcomes), size=(*outcomes.shape[:2], DRAWS))
