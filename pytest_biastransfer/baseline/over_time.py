"""Changes on new images judged over the whole history of such runs, at one level for all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

from pytest_biastransfer.baseline.common_images import have_common_images
from pytest_biastransfer.baseline.entry import Entry
from pytest_biastransfer.baseline.history import Night, OverTime, nights_of, short_hash
from pytest_biastransfer.baseline.metric_change import MetricChange
from pytest_biastransfer.baseline.seeds import same_images, seeds_with
from pytest_biastransfer.metrics.catalogue import metric_named
from pytest_biastransfer.metrics.statistics.tally import Tally, total


def has_new_images(before: Entry, now: Entry) -> bool:
    """Whether a measurement is of other images than the accepted one, as far as the keys of the images tell.

    Raises ValueError for keys that cannot be decoded.
    """
    return not same_images(before, now) and not have_common_images(before, now)


def night_of(now: Entry, metrics: Collection[str]) -> Night:
    """Return a measurement as a run of the history, with those of the metrics that have counts.

    Raises ValueError for evidence that cannot be decoded.
    """
    # The figures of a ladder are named by strength.
    known = [metric for metric in metrics if metric in now.figures]
    tallies = {metric: metric_named(metric).change.tally(metric, now) for metric in known}
    counted = {metric: tally for metric, tally in tallies.items() if tally is not None}
    return Night(short_hash(now.dataset["fingerprint"]), counted)


def with_night(entry: Entry, night: Night) -> Entry:
    """Return an entry with one more run in its history; as it is, if it has a run on this dataset."""
    if any(known.dataset == night.dataset for known in nights_of(entry.history)):
        return entry
    return dataclasses.replace(entry, history=(*entry.history, night.to_line()))


def over_time(
    changes: Sequence[MetricChange], before: Entry, now: Entry, night: Night, alpha: float
) -> list[MetricChange]:
    """Return changes on new images with p-values that hold at any time, whatever the number of runs.

    A run on a dataset that the history has is that run. A metric with counts is `now` that of all runs together. Only
    what is worse is tested. Raises ValueError for a history or evidence that cannot be understood.

    Parameters
    ----------
    changes
        Of one test, each run alone.
    before
        The accepted measurement, with its history.
    now, night
        This run, as a measurement and as a line of the history.
    alpha
        The level, over all runs.
    """
    nights = nights_of(before.history)
    number = next((place for place, known in enumerate(nights) if known.dataset == night.dataset), len(nights))
    judged = []
    for change in changes:
        # Seeds vary by more than their images do, which counts of images do not tell; a ladder has too many counts.
        seeds = [] if change.at else seeds_with(before, now, change.metric)
        is_of_one = len(seeds) == 1
        baseline = metric_named(change.metric).change.tally(change.metric, seeds[0]) if is_of_one else None
        if baseline is None:
            judged.append(_of_one_run(change, number + 1, alpha))
        else:
            judged.append(_of_all_runs(change, baseline, _tallies(change.metric, nights, night), alpha))
    return judged


def _tallies(metric: str, nights: Sequence[Night], now: Night) -> list[Tally]:
    """Return the counted images of all runs that have the metric."""
    tallies = [night.tallies[metric] for night in nights if metric in night.tallies]
    is_counted = any(night.dataset == now.dataset and metric in night.tallies for night in nights)
    return tallies if is_counted else [*tallies, now.tallies[metric]]


def _of_all_runs(change: MetricChange, baseline: Tally, tallies: Sequence[Tally], alpha: float) -> MetricChange:
    if any((tally.minus is None) != (baseline.minus is None) for tally in tallies):
        raise ValueError(f"history: {change.metric} has counts of another form than the metric")
    together = total(tallies)
    change = dataclasses.replace(
        change, now=together.mean, p=1.0, p_of_change=None, over_time=OverTime(len(tallies), together.images, alpha)
    )
    if not change.is_worse:
        return change
    from pytest_biastransfer.metrics.statistics.e_process import p_over_time

    if not change.increases_are_losses:
        baseline, tallies = baseline.opposite, [tally.opposite for tally in tallies]
    p = p_over_time(baseline, tallies)
    if not change.tolerance:
        return dataclasses.replace(change, p=p)
    beyond = p_over_time(baseline, tallies, change.tolerance) if change.exceeds_tolerance else 1.0
    return dataclasses.replace(change, p=max(p, beyond), p_of_change=p)


def _of_one_run(change: MetricChange, number: int, alpha: float) -> MetricChange:
    """Return a change that has no counts: each run spends a share of the level."""
    over_time = OverTime(number, None, alpha)
    if not change.is_worse:
        return dataclasses.replace(change, p=1.0, p_of_change=None, least_p=0.0, over_time=over_time)
    spent = spending_weight(number)
    p_of_change = None if change.p_of_change is None else min(1.0, change.p_of_change / spent)
    return dataclasses.replace(
        change, p=min(1.0, change.p / spent), p_of_change=p_of_change, least_p=0.0, over_time=over_time
    )


def spending_weight(run: int) -> float:
    """Return the share of the level that a run may spend, counted from 1; those of all runs sum to 1.

    With p-values divided by the weights of their runs, any false alarm has a probability of at most the level, however
    the runs depend on each other (Bonferroni).

    >>> [round(spending_weight(run), 3) for run in (1, 2, 9)]
    [0.5, 0.167, 0.011]
    """
    return 1 / (run * (run + 1))
