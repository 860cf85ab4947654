"""A metric beside those of several accepted seeds: worse than their spread, and worse by image than most of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from statistics import fmean

from pytest_biastransfer.baseline.entry import Entry, Figure
from pytest_biastransfer.baseline.metric_change import MetricChange
from pytest_biastransfer.metrics.catalogue import metric_named
from pytest_biastransfer.metrics.statistics.seed_change_test import Scale, beside_most, beyond_seeds, root_scale


def beside_seeds(pairs: Sequence[MetricChange], now: Entry) -> MetricChange:
    """Return how a metric changed since several seeds were accepted, of its changes since each of them.

    Two hypotheses have to be rejected, so that the larger p-value is that of both (Berger 1982): that the model is one
    more draw of the same training, and that its predictions differ from none of the seeds' by more than chance among
    images explains.

    Parameters
    ----------
    pairs
        The changes since two seeds or more, of the same metric and measurement.
    now
        That measurement.
    """
    first, is_by_image = pairs[0], any(pair.loss_by_image is not None for pair in pairs)
    change = dataclasses.replace(
        first,
        before=fmean(pair.before for pair in pairs),
        newly=None,
        no_longer=None,
        # How many images change depends on how far a model is from the seeds, so that their number is no bound here.
        least_p=float(beside_most([pair.least_p for pair in pairs]) == 1),
        loss_by_image=fmean(pair.loss for pair in pairs) if is_by_image else None,
        p_of_change=None,
        within_rounding=None,
        seeds=tuple(pair.before for pair in pairs),
    )
    p_of_change = max(
        _p_beyond_seeds(change, pairs, now, 0.0),
        beside_most([pair.p_of_any_change if _same_direction(pair, change) else 1.0 for pair in pairs]),
    )
    if not (change.tolerance and change.is_worse):
        return dataclasses.replace(change, p=p_of_change)
    p = 1.0
    if change.exceeds_tolerance:
        p = max(
            p_of_change,
            _p_beyond_seeds(change, pairs, now, change.tolerated_change),
            beside_most([pair.p if pair.is_worse else 1.0 for pair in pairs]),
        )
    return dataclasses.replace(change, p=p, p_of_change=p_of_change)


def _same_direction(pair: MetricChange, change: MetricChange) -> bool:
    return pair.loss * change.loss > 0


def _p_beyond_seeds(change: MetricChange, pairs: Sequence[MetricChange], now: Entry, margin: float) -> float:
    seeds = [_compared_figure(pair) for pair in pairs]
    return beyond_seeds(
        change.now,
        seeds,
        resolution=_resolution(change, now),
        scale=_scale(change, [change.now, *seeds], now.figures[change.metric]),
        margin=margin,
        image_p_values=None if change.is_by_image else [pair.p_of_any_change for pair in pairs],
    )


def _compared_figure(pair: MetricChange) -> float:
    """Return the seed's figure, on the images that both have where these are compared."""
    if pair.common_images is None:
        return pair.before
    return pair.now - pair.loss if pair.increases_are_losses else pair.now + pair.loss


def _resolution(change: MetricChange, now: Entry) -> float:
    """Return the step between two values of the metric: an image of all, or of the smallest group of a gap."""
    images = now.figures[change.metric].images
    if now.has_group_hits and not metric_named(change.metric).change.image_sets:
        images = min(size for size, _ in now.group_hits())
    return 1 / max(1, images)


def _scale(change: MetricChange, figures: Sequence[float], figure: Figure) -> Scale:
    has_sign = change.is_of_size or metric_named(change.metric).is_signed or min(figures) < 0 or max(figures) > 1
    return float if has_sign else root_scale(None if figure.count is None else figure.images)
