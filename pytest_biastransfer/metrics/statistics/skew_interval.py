"""Intervals of a skew, and of its excess over a control model's: below and above what chance adds to the distance."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

import numpy as np

from pytest_biastransfer.metrics.statistics.class_flows import (
    ImageSum,
    Integers,
    classes_of,
    corrected_distance,
    distance,
    held_out_distance,
)
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.metrics.statistics.intervals import proportion
from pytest_biastransfer.metrics.statistics.transitions import Transitions

METHOD: Final = "held-out classes"


def skew_estimate(moves: Transitions, n: int, confidence: float = 0.95) -> Estimate:
    """Return the skew of n images with its interval.

    The observed skew is larger on average than the true one, the more so the more classes there are. So the lower end
    starts from a distance that on average is at most the true one (`held_out_distance`), and the upper end from the
    observed one; their standard errors are the jackknife's (Efron and Stein 1981). The upper end has Wilson's (1927)
    correction for few images, as the lower one has near 1, and is at most that of the attack success rate, which the
    skew cannot exceed.

    Parameters
    ----------
    moves
        The images that move.
    n
        The number of images, those that do not move included.

    Examples
    --------
    >>> moves = Transitions(np.arange(9), before=np.zeros(9, dtype=np.int64), after=np.ones(9, dtype=np.int64))
    >>> skew_estimate(moves, 100)
    0.09 [0.032, 0.164]
    """
    z, classes = _z(confidence), classes_of([moves])
    observed, held_out = distance(moves, classes), held_out_distance(moves, classes)
    at_most = proportion(len(moves.images), n, confidence).high
    low, high = _lower(held_out, n, z), min(at_most, _upper(observed, n, z))
    value = observed.total / n
    return Estimate(value, low=max(0.0, low), high=max(value, high), confidence=confidence, n=n, method=METHOD)


def skew_excess_estimate(model: Transitions, control: Transitions, n: int, confidence: float = 0.95) -> Estimate:
    """Return by how much the skew of a model exceeds that of a control model on the same n images.

    Each end takes for one model the distance that is too small on average, and for the other one that which is too
    large. What an image adds to both counts together.
    """
    z, classes = _z(confidence), classes_of([model, control])
    observed = distance(model, classes), distance(control, classes)
    held_out = held_out_distance(model, classes), held_out_distance(control, classes)
    limits = [proportion(len(moves.images), n, confidence).high for moves in (model, control)]
    images = np.concatenate([model.images, control.images])
    low, high = (
        _difference(first, second, images) for first, second in ((held_out[0], observed[1]), (observed[0], held_out[1]))
    )
    value = (observed[0].total - observed[1].total) / n
    ends = max(-limits[1], -_upper(_negative(low), n, z)), min(limits[0], _upper(high, n, z))
    return Estimate(value, low=min(value, ends[0]), high=max(value, ends[1]), confidence=confidence, n=n, method=METHOD)


def corrected_skew_estimate(moves: Transitions, n: int, confidence: float = 0.95) -> Estimate:
    """Return the skew of n images less what chance adds to it, with the interval of the skew.

    >>> one_way = Transitions(np.arange(9), before=np.zeros(9, dtype=np.int64), after=np.ones(9, dtype=np.int64))
    >>> corrected_skew_estimate(one_way, 100)
    0.09 [0.032, 0.164]
    """
    observed = skew_estimate(moves, n, confidence)
    value = corrected_distance(moves, classes_of([moves])) / n
    return Estimate(value, low=min(value, observed.low), high=observed.high, confidence=confidence, n=n, method=METHOD)


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _lower(share: ImageSum, n: int, z: float) -> float:
    # Few images that do not move would be needed for a skew below 1, as few that move for one above 0.
    return min(
        share.total / n - z * math.sqrt(_variance(share, n)) / n,
        (share.total + z**2 / 2 - z * math.sqrt(_variance(share, n) + z**2 / 4)) / (n + z**2),
    )


def _upper(share: ImageSum, n: int, z: float) -> float:
    return (share.total + z**2 / 2 + z * math.sqrt(_variance(share, n) + z**2 / 4)) / n


def _variance(share: ImageSum, n: int) -> float:
    """Return the variance of a sum over n images, of which those that do not move add nothing."""
    # Sorted, so that the order of the images does not matter to the last bit.
    parts = np.sort(share.parts)
    return max(0.0, float(parts @ parts) - float(parts.sum()) ** 2 / n)


def _difference(first: ImageSum, second: ImageSum, images: Integers) -> ImageSum:
    """Return the difference of two sums over the same images, which are given one after the other."""
    places = np.unique(images, return_inverse=True)[1]
    parts = np.bincount(places, np.concatenate([first.parts, -second.parts]))
    return ImageSum(first.total - second.total, parts.astype(np.float64))


def _negative(share: ImageSum) -> ImageSum:
    return ImageSum(-share.total, -share.parts)
