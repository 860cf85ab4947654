"""Is a gap between areas of the same images another one than the accepted one, or is that chance?

Both measurements see the same images, so that their figures err alike: what counts is how far each image's components
changed (DeLong, DeLong and Clarke-Pearson 1988).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.metrics.statistics.components import Components, Floats, joint_covariance
from pytest_biastransfer.metrics.statistics.draws import DRAWS, generator_of, symmetric_root
from pytest_biastransfer.metrics.statistics.normal_tail import normal_p_value

Integers = npt.NDArray[np.int64]

# In about 99 of 100 cases, pairs of groups with the same true difference are nearer to each other, in standard errors.
_NEAR: Final = 2.5
_ROUNDING: Final = 1e-12


def paired_figures_change(
    before: Components, now: Components, *, is_signed: bool = False, margin: float = 0.0, seed: int = 0
) -> float:
    """Return the two-sided p-value of a change of the gap of groups' figures on the same images.

    The change of a *signed* gap is compared with its standard error, by the covariance of all figures.

    For the *largest* difference it is the larger one of two p-values, as for rates (see `paired_gap_change`). The test
    *by pairs* asks how probably the gap changes as far if no figure did. A gap that became larger grew by at most as
    much as the difference of the two groups that are now the farthest apart; so it adds up the probabilities of all
    pairs that might be that. A pair which cannot have been the farthest before is compared with the pair that was: so
    groups that changed places are no change of the gap. The *bootstrap test*, by the bootstrap's bias and standard
    error, asks for the gap alone, whatever became of each figure.

    The tails are those of Student's t, with one degree of freedom less than the smallest sample has images, which is
    never more than Welch's (1947).

    Parameters
    ----------
    before, now
        The components of the same images at either time, of two groups or more.
    is_signed
        Whether the gap is the figure of the first of two groups minus that of the second one.
    margin
        The test is of a change beyond it; it has the sign of the change.
    seed
        Of the bootstrap's draws.

    Returns
    -------
    A probability, at least 2^(1 - k) of samples with k images: without it, figures that no image contradicts, such as
    areas of 1, would be certain.

    Examples
    --------
    >>> generator = np.random.default_rng(0)
    >>> drawn = [generator.random((2, 100)) for _ in range(2)]
    >>> first = Components(np.array([part.mean() for part in drawn[0]]), [(part,) for part in drawn[0]])
    >>> other = Components(np.array([part.mean() for part in drawn[1]]), [(part,) for part in drawn[1]])
    >>> paired_figures_change(first, first, is_signed=True), paired_figures_change(first, first)
    (1.0, 1.0)
    >>> 0.1 < paired_figures_change(first, other, is_signed=True) < 1
    True
    """
    figures, covariance = np.stack([before.figures, now.figures]), joint_covariance(before, now)
    sizes = now.sizes
    freedom, least = max(1, min(map(min, sizes)) - 1), 0.5 ** (sum(map(min, sizes)) - 1)
    if is_signed:
        difference = figures[:, 0] - figures[:, 1]
        error = _errors(covariance, (1, np.array([[0, 1]])), (0, np.array([[0, 1]])))
        return max(least, normal_p_value(float(difference[1] - difference[0]), float(error[0]), margin, freedom))
    change = float(np.ptp(figures[1]) - np.ptp(figures[0]))
    larger, smaller = (1, 0) if change >= 0 else (0, 1)
    pairs = np.argwhere(~np.eye(figures.shape[1], dtype=np.bool_))
    farthest, was_farthest = (
        _farthest(figures, covariance, pairs, larger),
        _farthest(figures, covariance, pairs, smaller),
    )
    own, top = pairs[farthest], pairs[_top(figures[smaller], pairs)]
    compared = np.where(was_farthest[farthest, None], own, top)
    errors = _errors(covariance, (larger, own), (smaller, compared))
    by_pairs = sum(normal_p_value(change, float(error), margin, freedom) for error in errors)
    resampled = _resampled_changes(figures, covariance, seed)
    by_bootstrap = normal_p_value(2 * change - float(resampled.mean()), float(resampled.std()), margin, freedom)
    return max(min(1.0, by_pairs), by_bootstrap, least)


def _farthest(figures: Floats, covariance: Floats, pairs: Integers, time: int) -> npt.NDArray[np.bool_]:
    """Return which pairs may be the ones that are truly the farthest apart at a time, bool of shape [pairs]."""
    differences = figures[time][pairs[:, 0]] - figures[time][pairs[:, 1]]
    top = _top(figures[time], pairs)
    errors = _errors(covariance, (time, np.broadcast_to(pairs[top], pairs.shape)), (time, pairs))
    nearby: npt.NDArray[np.bool_] = differences[top] - differences <= _NEAR * errors + _ROUNDING
    return nearby


def _top(figures: Floats, pairs: Integers) -> int:
    return int(np.argmax(figures[pairs[:, 0]] - figures[pairs[:, 1]]))


def _errors(covariance: Floats, first: tuple[int, Integers], second: tuple[int, Integers]) -> Floats:
    """Return the standard errors of differences of pairs at a time less those of other pairs at another time.

    A pair is a row of two groups: the figure of the first one minus that of the second one.
    """
    (time, pairs), (other, others) = first, second
    ends = [(time, pairs[:, 0], 1), (time, pairs[:, 1], -1), (other, others[:, 0], -1), (other, others[:, 1], 1)]
    variances = sum(
        sign * other_sign * covariance[one, groups, another, other_groups]
        for one, groups, sign in ends
        for another, other_groups, other_sign in ends
    )
    errors: Floats = np.sqrt(np.maximum(variances, 0.0))
    return errors


def _resampled_changes(figures: Floats, covariance: Floats, seed: int) -> Floats:
    """Return by how much the gap would change, had other images been seen: float64 of shape [draws]."""
    normal = generator_of(seed).standard_normal((DRAWS, figures.size))
    drawn = figures + (normal @ symmetric_root(covariance.reshape(figures.size, -1))).reshape(DRAWS, *figures.shape)
    changes: Floats = np.ptp(drawn[:, 1], axis=1) - np.ptp(drawn[:, 0], axis=1)
    return changes
