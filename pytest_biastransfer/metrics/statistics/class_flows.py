"""How many images enter and leave each class, and what each of them adds to a distance between distributions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.metrics.statistics.noisy_sizes import mean_sizes
from pytest_biastransfer.metrics.statistics.transitions import Transitions

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class ClassFlows(NamedTuple):
    """The flows of one measurement.

    Attributes
    ----------
    entering, leaving
        The number of images whose prediction becomes each class, and was it before: int64 [classes].
    """

    entering: Integers
    leaving: Integers

    @classmethod
    def of(cls, moves: Transitions, classes: int) -> ClassFlows:
        """Count the moves, whose classes are below `classes`."""
        return cls(np.bincount(moves.after, minlength=classes), np.bincount(moves.before, minlength=classes))

    @property
    def gained(self) -> Integers:
        """How many images each class gains, less those that it loses: int64 [classes]."""
        return self.entering - self.leaving


class ImageSum(NamedTuple):
    """A sum over images, and what each image that moves adds to it.

    Attributes
    ----------
    total
        The sum.
    parts
        What a change of one image changes it by, float64 [moves].
    """

    total: float
    parts: Floats


def classes_of(moves: Sequence[Transitions]) -> int:
    """Return a number that all classes of some moves are below."""
    return 1 + max((int(part.max(initial=0)) for one in moves for part in (one.before, one.after)), default=0)


def distance(moves: Transitions, classes: int) -> ImageSum:
    """Return the observed distance between the classes before and after, in images: half the sum of |gains|.

    It is larger on average than the true one, because chance moves images between the classes, too.

    >>> one_way = Transitions(np.array([3, 7]), before=np.array([0, 0]), after=np.array([1, 1]))
    >>> distance(one_way, 2)
    ImageSum(total=2.0, parts=array([1., 1.]))
    """
    gained = ClassFlows.of(moves, classes).gained
    signs = np.sign(gained)
    return ImageSum(float(np.abs(gained).sum()) / 2, (signs[moves.after] - signs[moves.before]) / 2)


def held_out_distance(moves: Transitions, classes: int) -> ImageSum:
    """Return a distance that on average is at most the true one: classes are chosen by some images, judged by others.

    The images are split into two random halves. One half tells which classes gain and which lose; the gains of these
    classes in the other half, less their losses, are on average at most the true distance, whatever the first half
    said. This is the mean of that over all splits and both roles of the halves, so that it does not depend on a split.
    It has a closed form: of the v images that enter or leave a class, the number that enter it in the first half, plus
    those that leave it in the other one, has a binomial distribution.

    >>> one_way = Transitions(np.array([3, 7]), before=np.array([0, 0]), after=np.array([1, 1]))
    >>> held_out_distance(one_way, 2).total
    1.0
    """
    entering, leaving = ClassFlows.of(moves, classes)
    own = _held_out(entering, leaving)
    without_one = (
        own - _held_out(np.maximum(entering - 1, 0), leaving),
        own - _held_out(entering, np.maximum(leaving - 1, 0)),
    )
    return ImageSum(float(own.sum()) / 2, (without_one[0][moves.after] + without_one[1][moves.before]) / 2)


def _held_out(entering: Integers, leaving: Integers) -> Floats:
    """Return for each class the mean over all splits of sign(gain in one half) * gain in the other one, twice."""
    moving = entering + leaving
    # The gain of a half is W - leaving, where W has a binomial distribution with probability 1/2.
    below, up_to = _binomial(leaving - 1, moving), _binomial(leaving, moving)
    sign = 1 - up_to - below
    # Its mean size: W * P(W) of n is n/2 * P(W - 1) of n - 1.
    rest = np.maximum(moving - 1, 0)
    upper = moving / 2 * (1 - _binomial(leaving - 1, rest)) - leaving * (1 - up_to)
    lower = leaving * below - moving / 2 * _binomial(leaving - 2, rest)
    return np.where(moving > 0, 2 * ((entering - leaving) * sign - upper - lower), 0.0)


def _binomial(most: Integers, n: Integers) -> Floats:
    """Return the probability of at most so many of n, each with a probability of 1/2."""
    from scipy.special import bdtr

    inside = (most >= 0) & (most < n)
    found: Floats = np.where(most < 0, 0.0, 1.0)
    found[inside] = bdtr(most[inside].astype(np.float64), n[inside], 0.5)
    return found


def corrected_distance(moves: Transitions, classes: int) -> float:
    """Return the observed distance less what chance adds to it, in images: half the sum of the mean true |gains|.

    The variance of a gain is the number of images that enter or leave the class; see `mean_sizes`.

    >>> one_way = Transitions(np.arange(9), before=np.zeros(9, dtype=np.int64), after=np.ones(9, dtype=np.int64))
    >>> round(corrected_distance(one_way, 2), 2)
    9.0
    """
    flows = ClassFlows.of(moves, classes)
    moving = flows.entering + flows.leaving
    some = moving > 0
    corrected = float(mean_sizes(flows.gained[some], moving[some]).sum()) / 2
    return min(corrected, float(np.abs(flows.gained).sum()) / 2)
