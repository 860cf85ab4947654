"""How far the figures of groups lie apart, and how sure that is."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.metrics.statistics.draws import quantiles
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.metrics.statistics.intervals import basic_bootstrap

# Halvings of an interval of at most 1: to far less than what the draws can tell.
_HALVINGS: Final = 20

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class Spread(NamedTuple):
    """How far figures of groups lie apart, and how far they might.

    Attributes
    ----------
    value
        The difference of the largest one and the smallest one.
    resampled
        What it would be with other images, float64 of shape [draws].
    between
        By how much the true difference of the two groups that are now farthest apart differs from it, likewise.
    by_chance
        How often chance alone parts equal groups at least that far.
    errors
        By how much the figures differ from the true ones, float64 of shape [draws, groups].
    places
        Where the groups lie between the lowest one, 0, and the highest one, 1, float64 of shape [groups]; those that
        cannot be told from one of these lie there.
    """

    value: float
    resampled: Floats
    between: Floats
    by_chance: float
    errors: Floats
    places: Floats

    @classmethod
    def of(cls, figures: Floats, draws: Floats) -> Spread:
        """Compare figures [groups] with draws of what they may truly be [draws, groups]."""
        errors = draws - figures
        value = float(np.ptp(figures))
        least, most = _ends(figures, errors.std(axis=0))
        by_chance = float(np.mean(np.ptp(errors, axis=1) >= value))
        places = _places(figures, errors.std(axis=0), least, most)
        resampled = np.ptp(figures - errors, axis=1)
        return cls(value, resampled, errors[:, most] - errors[:, least], by_chance, errors, places)

    @property
    def error(self) -> float:
        """The standard error of the difference."""
        return float(max(self.resampled.std(), self.between.std()))

    def lowest(self, confidence: float) -> float:
        """Return how small the true difference may be.

        The more groups share the ends, the farther apart chance drives them. So each group that may lie at an end is
        taken to lie there, and the smallest true difference is that with which chance still reaches the observed one.
        """
        tail, low, high = (1 - confidence) / 2, 0.0, self.value
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            reached = np.ptp(middle * self.places + self.errors, axis=1)
            if quantiles(reached, [1 - tail])[0] < self.value:
                low = middle
            else:
                high = middle
        return low

    def highest(self, confidence: float) -> float:
        """Return how large the true difference may be."""
        tail = (1 - confidence) / 2
        by_groups = self.value + quantiles(self.between, [1 - tail])[0]
        return float(max(self.value, by_groups, 2 * self.value - quantiles(self.resampled, [tail])[0]))


def _places(figures: Floats, spread: Floats, least: int, most: int) -> Floats:
    """Return where groups lie between the lowest and the highest one, by figures and standard errors [groups]."""
    value = float(figures[most] - figures[least])
    places = (figures - figures[least]) / value if value else np.zeros(len(figures))
    # About 95 of 100 groups with the same true figure are nearer to each other.
    near_top, near_bottom = (abs(figures - figures[end]) < 2 * np.hypot(spread, spread[end]) for end in (most, least))
    nearer_to_top = places > 0.5
    return np.where(near_top & nearer_to_top, 1.0, np.where(near_bottom & ~nearer_to_top, 0.0, places))


def _ends(figures: Floats, spread: Floats) -> tuple[int, int]:
    """Return the groups with the smallest and the largest figure; of equals those that are the least sure."""
    most = int(np.lexsort((spread, figures))[-1])
    upwards = np.lexsort((-spread, figures))
    return int(upwards[1] if upwards[0] == most else upwards[0]), most


def spread_estimate(spread: Spread, smallest: int, n: int, confidence: float) -> Estimate:
    """Return the difference with its interval (see `rate_gaps`); it rests on `n` images, `smallest` in one group."""
    gap = basic_bootstrap(spread.value, spread.resampled, smallest, confidence, least=0.0)
    low = 0.0 if spread.by_chance > 1 - confidence else min(gap.low, spread.lowest(confidence))
    return _resting_on(n, gap, low, max(spread.value, gap.high, min(1.0, spread.highest(confidence))))


def spread_excess(figures: Floats, draws: Floats, sizes: Integers, n: int, confidence: float) -> Estimate:
    """Return by how much a model's difference exceeds the control's, with its interval (see `gap_excess`).

    Parameters
    ----------
    figures, draws
        Those of the model and of the control, float64 of shape [2, groups] and [draws, 2, groups].
    sizes
        The groups' numbers of images, of `n` in all.
    """
    if len(sizes) < 2:
        return Estimate(np.nan, low=-1, high=1, confidence=confidence, n=n, method="paired bootstrap")
    model, control = (Spread.of(figures[index], draws[:, index]) for index in (0, 1))
    value, tail = model.value - control.value, (1 - confidence) / 2
    # Models that rank all images alike have the same errors up to rounding.
    moved, between = (
        np.round(difference, 12)
        for difference in (model.resampled - control.resampled - value, model.between - control.between)
    )
    estimate = basic_bootstrap(value, value + moved, int(sizes.min()), confidence)
    low, high = value + quantiles(between, [tail, 1 - tail])
    none, control_none = (model_spread.by_chance > 1 - confidence for model_spread in (model, control))
    if control_none and not none:
        high = max(high, model.highest(confidence))
    if none and not control_none:
        low = min(low, -control.highest(confidence))
    return _resting_on(n, estimate, max(-1.0, min(estimate.low, low)), min(1.0, max(estimate.high, high)))


def signed_estimate(value: float, draws: Floats, n: int, confidence: float, *, most: float = 1.0) -> Estimate:
    """Return a signed difference on n images with its interval by draws of what it may truly be, float64 [draws].

    The interval has the quantiles of the draws as its ends. Unlike the largest of several differences, a difference of
    two groups that were named beforehand is not biased, so nothing has to be taken back.

    >>> signed_estimate(-0.1, np.linspace(-0.2, 0.0, 2001), n=100, confidence=0.95)
    -0.1 [-0.195, -0.005]
    """
    tail = (1 - confidence) / 2
    low, high = quantiles(draws, [tail, 1 - tail])
    low, high = min(value, max(-most, low)), max(value, min(most, high))
    return Estimate(value, low=low, high=high, confidence=confidence, n=n, method="paired bootstrap")


def unpaired_excess(model: Estimate, control: Estimate) -> Estimate:
    """Return by how much a model's gap exceeds the control's, with an interval as if they were of other images.

    The distances of the value from the ends of both intervals are squared and added (Zou and Donner 2008,
    "Construction of confidence limits about effect measures"). Errors that both models share do not cancel out, so that
    the interval is rather too wide.

    >>> from pytest_biastransfer.metrics.statistics.intervals import proportion
    >>> unpaired_excess(proportion(30, 100), proportion(10, 100))
    0.2 [0.0839, 0.312]
    """
    value = float(model) - float(control)
    low = value - np.hypot(model - model.low, control.high - control)
    high = value + np.hypot(model.high - model, control - control.low)
    n, confidence = model.n, model.confidence
    return Estimate(value, low=low, high=high, confidence=confidence, n=n, method="paired bootstrap")


def _resting_on(n: int, estimate: Estimate, low: float, high: float) -> Estimate:
    return Estimate(estimate, low=low, high=high, confidence=estimate.confidence, n=n, method=estimate.method)
