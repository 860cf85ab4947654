"""Is a skew another one than the accepted one, or is that chance?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.metrics.statistics.class_flows import ClassFlows, classes_of
from pytest_biastransfer.metrics.statistics.draws import generator_of
from pytest_biastransfer.metrics.statistics.normal_tail import normal_p_value
from pytest_biastransfer.metrics.statistics.transitions import Transitions

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Marked = npt.NDArray[np.bool_]

# Splits that the figures are the mean of: one alone would decide too much.
_SPLITS: Final = 8


class _Change(NamedTuple):
    """The change of a mean, in images, and its variance."""

    value: float
    variance: float


def skew_change(
    before: Sequence[Transitions],
    now: Sequence[Transitions],
    n_before: int,
    n_now: int,
    *,
    paired: bool,
    margin: float = 0.0,
) -> float:
    """Return the two-sided p-value of a change of the skew, or of its excess over a control model's.

    The images are split into two random halves. One half tells, with both measurements together, which classes gain
    and which lose; in the other half, the gains of these classes less their losses are a mean over images, and the test
    is whether this mean changed. So flips that become more and cancel out change nothing on average, while the observed
    skew grows by them. Value and variance are the means of several splits, with each half in both roles. The tail is
    the normal distribution's, without a floor that many comparisons would never get below.

    Parameters
    ----------
    before, now
        The moves of the model, and after it those of the control model where the excess is meant.
    n_before, n_now
        The numbers of images, those that do not move included; the same number where `paired`.
    paired
        Whether the images are the same ones, in the same order.
    margin
        The test is of a change beyond it; it has the sign of the change.

    Returns
    -------
    A probability, at least 2^(1 - k) where k images differ: the chance that all go the same way.

    Examples
    --------
    >>> none = Transitions(*[np.array([], dtype=np.int64)] * 3)
    >>> five = Transitions(np.arange(5), before=np.arange(5), after=np.full(5, 9))
    >>> skew_change([none], [five], 100, 100, paired=True)
    0.0625
    """
    before, now = _with_ranked_classes(before, now)
    classes = classes_of([*before, *now])
    if paired:
        # An image with its moves of both times: of those that move alike, it does not matter which is which.
        both = _table([*before, *now])
        if not (differing := _differing(both)):
            return 1.0
        measurements = [both[: 2 * len(before)], both[2 * len(before) :]]
    else:
        measurements = [_table(before), _table(now)]
        differing = sum(table.shape[1] for table in measurements)
    generator = generator_of(0)
    changes = [
        _change(measurements, _halves(generator, measurements, paired=paired), (n_before, n_now), classes)
        for _ in range(_SPLITS)
    ]
    value, variance = np.mean(changes, axis=0).tolist()
    return max(normal_p_value(value, variance**0.5, margin), 0.5 ** (differing - 1))


def observed_skew(moves: Sequence[Transitions], n: int) -> float:
    """Return the skew of a model on n images, less that of the control model if there is one.

    >>> five = Transitions(np.arange(5), before=np.array([0, 0, 0, 1, 1]), after=np.array([1, 1, 1, 0, 2]))
    >>> observed_skew([five], 10)
    0.2
    """
    classes = classes_of(moves)
    flows = [np.bincount(move.after, minlength=classes) - np.bincount(move.before, minlength=classes) for move in moves]
    skew, *control = (float(np.abs(flow).sum()) / 2 / n for flow in flows)
    return skew - sum(control)


def _with_ranked_classes(
    before: Sequence[Transitions], now: Sequence[Transitions]
) -> tuple[list[Transitions], list[Transitions]]:
    """Number the classes by how many images enter and leave them, so that their names do not matter."""
    moves = [*before, *now]
    occurring = np.unique(np.concatenate([part for move in moves for part in (move.before, move.after)]))
    numbered = [
        Transitions(move.images, np.searchsorted(occurring, move.before), np.searchsorted(occurring, move.after))
        for move in moves
    ]
    flows = [flow for move in numbered for flow in ClassFlows.of(move, len(occurring))]
    ranks = np.empty(len(occurring), dtype=np.int64)
    ranks[np.lexsort(flows)] = np.arange(len(occurring))
    ranked = [Transitions(move.images, ranks[move.before], ranks[move.after]) for move in numbered]
    return ranked[: len(before)], ranked[len(before) :]


def _table(models: Sequence[Transitions]) -> Integers:
    """Return the moves of all models: their classes before and after plus 1, or 0 for none, int64 [2 * models, images].

    The images that move for any of them are in the order of their moves, so that the order of the dataset does not
    matter.
    """
    images = np.unique(np.concatenate([moves.images for moves in models]))
    table = np.zeros((2 * len(models), len(images)), dtype=np.int64)
    for row, moves in enumerate(models):
        places = np.searchsorted(images, moves.images)
        table[2 * row, places], table[2 * row + 1, places] = moves.before + 1, moves.after + 1
    return table[:, np.lexsort(table)]


def _differing(both: Integers) -> int:
    """Return how many images do not move as they did; the upper half of the rows is of before."""
    before, now = np.split(both, 2)
    return int(np.count_nonzero((before != now).any(axis=0)))


def _halves(generator: np.random.Generator, measurements: Sequence[Integers], *, paired: bool) -> list[Marked]:
    """Return which images of each measurement are in the first half: the same ones where they are paired."""
    first = _half(generator, measurements[0].shape[1])
    return [first, first if paired else _half(generator, measurements[1].shape[1])]


def _half(generator: np.random.Generator, count: int) -> Marked:
    """Return a coin for each image, from the raw bits that are the same on every machine."""
    raw = generator.bit_generator.random_raw(-(-count // 64)).astype("<u8")
    return np.unpackbits(raw.view(np.uint8), count=count).view(np.bool_)


def _change(
    measurements: Sequence[Integers], halves: Sequence[Marked], sizes: tuple[int, int], classes: int
) -> _Change:
    """Return the change of the mean over the images of one half whose classes the other one has chosen, and both."""
    parts = [np.zeros(table.shape[1]) for table in measurements]
    for model in range(0, len(measurements[0]), 2):
        for role in (True, False):
            gained = np.zeros(classes + 1)
            for table, half, n in zip(measurements, halves, sizes, strict=True):
                before, after = table[model : model + 2, half == role]
                counts = np.bincount(after, minlength=classes + 1) - np.bincount(before, minlength=classes + 1)
                gained += counts / n
            # Rounding of the quotients is no gain, and neither is staying.
            signs = np.sign(np.round(gained, 12))
            signs[0] = 0
            for table, half, part in zip(measurements, halves, parts, strict=True):
                before, after = table[model : model + 2, half != role]
                # The control model's part is subtracted.
                part[half != role] += (1 if model == 0 else -1) * (signs[after] - signs[before]) / 2
    if len(parts[0]) and halves[0] is halves[1]:
        n, change = sizes[1], parts[1] - parts[0]
        return _Change(float(change.sum()) / n, _variance(change, n))
    means = [float(part.sum()) / n for part, n in zip(parts, sizes, strict=True)]
    return _Change(means[1] - means[0], sum(_variance(part, n) for part, n in zip(parts, sizes, strict=True)))


def _variance(parts: Floats, n: int) -> float:
    """Return the variance of a mean over n images, of which those that are not in `parts` add nothing."""
    return max(0.0, float(parts @ parts) - float(parts.sum()) ** 2 / n) / n**2
