"""Changes of metrics since the accepted measurement, and what they mean among all changes of a session."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Sequence

from pytest_biastransfer.baseline.common_images import on_common_images
from pytest_biastransfer.baseline.entry import Entry
from pytest_biastransfer.baseline.metric_change import Meaning, MetricChange
from pytest_biastransfer.baseline.near_ties import NearTies, restored
from pytest_biastransfer.baseline.seed_comparison import beside_seeds
from pytest_biastransfer.baseline.seeds import accepted_seeds, compared_seeds, has_metric, same_images, seeds_with
from pytest_biastransfer.baseline.strengths import at_strength, strengths_of
from pytest_biastransfer.metrics.catalogue import metric_named
from pytest_biastransfer.metrics.class_metrics import ACCURACY
from pytest_biastransfer.metrics.gap_change_rules import BETWEEN, WORST
from pytest_biastransfer.names import Correction


def comparable(before: Entry, now: Entry, metrics: Collection[str]) -> list[str]:
    """Return those of the metrics that an accepted and a new measurement have both, and the accuracy if known.

    Of a ladder, those that both have at all strengths.
    """
    seeds = compared_seeds(before, now)
    strengths = strengths_of(*seeds, now)
    *of_seeds, of_now = [[at_strength(entry, strength) for strength in strengths] for entry in (*seeds, now)]

    def is_known(entries: Sequence[Entry], metric: str) -> bool:
        return all(has_metric(entry, metric) for entry in entries)

    return [
        metric
        for metric in (*metrics, ACCURACY)
        if any(is_known(of_seed, metric) for of_seed in of_seeds) and is_known(of_now, metric)
    ]


def comparisons_of(accepted: Entry, metrics: Collection[str]) -> int:
    """Return how many comparisons of metrics with an accepted measurement there are at most, not of the accuracy."""
    seeds = accepted_seeds(accepted)
    compared = {metric for seed in seeds for metric in comparable(seed, seed, metrics)} - {ACCURACY}
    return len(compared) * len(strengths_of(*seeds))


def changes(
    before: Entry,
    now: Entry,
    metrics: Sequence[str],
    tolerance: float,
    accuracy_tolerance: float = 0.0,
    near_ties: NearTies | None = None,
) -> list[MetricChange]:
    """Return how metrics changed that both have, at each strength of a ladder; `accuracy_tolerance` is the accuracy's.

    Images whose change is explained by `near_ties` count as unchanged in the tests, and are stated beside them.
    Raises ValueError where the evidence of `before` cannot be understood.
    """
    pairs = {one: (at_strength(before, one), at_strength(now, one)) for one in strengths_of(before, now)}
    found = []
    for metric in metrics:
        if metric == ACCURACY:
            # It is the same at all strengths.
            of_one = next(iter(pairs.values()))
            found.append(_accuracy_change(*of_one, accuracy_tolerance, near_ties))
            continue
        for strength, pair in pairs.items():
            change = _change(*pair, metric, tolerance, near_ties)
            found.append(dataclasses.replace(change, at=strength))
    return found


def maybe_worse(metric_changes: Sequence[MetricChange], alpha: float) -> list[str]:
    """Return the metrics that are significantly worse, or are if the correction for other comparisons allows."""
    # Corrected, no p-value is smaller.
    return [
        change.metric
        for change in metric_changes
        if change.meaning(change.p, alpha, change.p_of_any_change) in ("regression", "tolerated")
    ]


def newly_flipped(before: Entry, now: Entry, images: str = "flipped") -> list[int]:
    """Return the images that flip now and of no accepted seed, if all are of the same images.

    `images` is the name of another set of images of the evidence, such as ``"hits"`` for those that hit the target.
    """
    if not same_images(before, now):
        return []
    earlier: set[int] = set()
    for seed in accepted_seeds(before):
        earlier.update(seed.image_set(images))
    return [image for image in now.image_set(images) if image not in earlier]


def meanings(
    metric_changes: Sequence[MetricChange], alpha: float, unmade: int = 0, correction: Correction = "holm"
) -> list[Meaning]:
    """Return what each of a session's changes means; the p-values are corrected for their number, see `corrected`.

    The accuracies are corrected as a family of their own: they answer another question than the biases, and do not make
    the tests of the biases weaker. So are changes that are judged over time, which have another level. A change that
    several tests share, such as the accuracy of their model, counts once; with several tolerances it counts once for
    each.

    The `unmade` comparisons of a session that was stopped count as if they had shown no change.
    """
    p_values = [change.p for change in metric_changes]
    of_any_change = [change.p_of_any_change for change in metric_changes]
    adjusted, adjusted_of_any_change = (
        _adjusted(metric_changes, own, alpha, unmade, correction) for own in (p_values, of_any_change)
    )
    return [
        change.meaning(p, alpha, p_of_any_change)
        for change, p, p_of_any_change in zip(metric_changes, adjusted, adjusted_of_any_change, strict=True)
    ]


def _adjusted(
    metric_changes: Sequence[MetricChange],
    p_values: Sequence[float],
    alpha: float,
    unmade: int,
    correction: Correction,
) -> list[float]:
    """Return the p-values of the changes adjusted for their number."""
    from pytest_biastransfer.metrics.statistics.change_tests import corrected

    families = [(change.is_accuracy, change.over_time is None, change.level(alpha)) for change in metric_changes]
    names = [
        (families[index], change.identity and p, change.identity or index)
        for index, (change, p) in enumerate(zip(metric_changes, p_values, strict=True))
    ]
    adjusted: dict[object, float] = {}
    for kind in dict.fromkeys(families):
        family = {
            name: (p, change.least_p)
            for name, p, change in zip(names, p_values, metric_changes, strict=True)
            if name[0] == kind
        }
        # Of a comparison that was not made, nothing is known but that it showed no change.
        own = [*(p for p, _ in family.values()), *[1.0] * unmade]
        least = [*(least_p for _, least_p in family.values()), *[0.0] * unmade]
        adjusted |= zip(family, corrected(own, least, kind[-1], correction), strict=False)
    return [adjusted[name] for name in names]


def beside_accuracy(metric_changes: Sequence[MetricChange], meant: Sequence[Meaning | None]) -> list[Meaning | None]:
    """Return what the changes of one test mean, given the change of the model's accuracy.

    A model that is less sensitive to a square because it recognizes less of anything is no better.
    """
    is_lower = any(
        change.is_accuracy and meaning in ("regression", "tolerated")
        for change, meaning in zip(metric_changes, meant, strict=True)
    )
    return ["not comparable" if is_lower and meaning == "improvement" else meaning for meaning in meant]


def settled_meanings(metric_changes: Sequence[MetricChange], alpha: float, comparisons: int) -> list[Meaning | None]:
    """Return what changes mean before the session's other comparisons are made; None where that depends on them.

    There are at most so many `comparisons`. `meanings` multiplies a p-value by 1 at least, and by their number at most.
    """
    bounds = [
        [
            change.meaning(min(1.0, factor * change.p), alpha, min(1.0, factor * change.p_of_any_change))
            for factor in (1, comparisons)
        ]
        for change in metric_changes
    ]
    return [at_least if at_least == at_most else None for at_least, at_most in bounds]


def _change(
    before: Entry, now: Entry, metric: str, tolerance: float, near_ties: NearTies | None = None
) -> MetricChange:
    seeds = seeds_with(before, now, metric)
    if len(seeds) == 1:
        return _change_since(seeds[0], now, metric, tolerance, near_ties)
    return beside_seeds([_change_since_seed(seed, now, metric, tolerance, near_ties) for seed in seeds], now)


def _change_since_seed(
    seed: Entry, now: Entry, metric: str, tolerance: float, near_ties: NearTies | None
) -> MetricChange:
    try:
        return _change_since(seed, now, metric, tolerance, near_ties)
    except ValueError as error:
        raise ValueError(f"the seed {seed.model['name']} ({seed.model['fingerprint']}): {error}") from error


def _change_since(before: Entry, now: Entry, metric: str, tolerance: float, near_ties: NearTies | None) -> MetricChange:
    test, paired = metric_named(metric).change, same_images(before, now)
    common = None if paired or not test.is_by_image(before, now) else on_common_images(before, now)
    compared = common or (before, now)
    by_image = paired or common is not None
    result = test.compare(metric, *compared, paired=by_image)
    change = MetricChange(
        metric=metric,
        before=before.value(metric),
        now=now.value(metric),
        p=result.p,
        tolerance=tolerance,
        newly=result.newly,
        no_longer=result.no_longer,
        same_images=paired,
        is_of_size=BETWEEN in now.evidence and metric in ("gap", "gap_excess"),
        more_is_worse=now.evidence.get(WORST) == "highest" if metric == "worst" else None,
        least_p=result.least,
        common_images=None if common is None else common[0].images,
        loss_by_image=None if common is None else result.loss,
    )
    if by_image and near_ties is not None:
        change, compared = _apart(change, compared, near_ties)
    if not (tolerance and change.is_worse):
        return change
    p = max(change.p, _p_beyond_tolerance(*compared, change)) if change.exceeds_tolerance else 1.0
    return dataclasses.replace(change, p=p, p_of_change=change.p)


def _apart(
    change: MetricChange, compared: tuple[Entry, Entry], near_ties: NearTies
) -> tuple[MetricChange, tuple[Entry, Entry]]:
    """Return a change as it is without the images that are nearly tied, and what is compared then."""
    before, now = compared
    images, within = near_ties.explained(before, now, change.metric)
    if not images:
        return change, compared
    others = before, restored(before, now, images, change.metric)
    result = metric_named(change.metric).change.compare(change.metric, *others, paired=True)
    # The test of a gap does not tell how large it is.
    gaps = [abs(entry.value(change.metric)) for entry in others] if change.metric == "gap" else [0.0, result.loss]
    own = dataclasses.replace(
        change, p=result.p, least_p=result.least, loss_by_image=gaps[1] - gaps[0], within_rounding=within
    )
    return own, others


def _p_beyond_tolerance(before: Entry, now: Entry, change: MetricChange) -> float:
    """Return the p-value of becoming worse by more than the tolerance, twice that of one side."""
    # Of the images that are compared.
    own = dataclasses.replace(change, before=before.value(change.metric), now=now.value(change.metric))
    # The gaps of two sides are added, so that what images have in common makes the sum more uncertain, not less.
    paired = change.is_by_image and not own.changed_side
    # What is tested by image is the worse the larger it is; only a gap may have a sign.
    is_worse_if_larger = change.loss_by_image is not None and not change.is_of_size
    margin = math.copysign(own.tolerated_change, 1.0 if is_worse_if_larger else own.now - own.before)
    return metric_named(change.metric).change.compare(change.metric, before, now, paired=paired, margin=margin).p


def _accuracy_change(before: Entry, now: Entry, tolerance: float, near_ties: NearTies | None = None) -> MetricChange:
    parts = [
        now.model["name"],
        now.model["fingerprint"],
        now.dataset["fingerprint"],
        now.images,
        *(seed.model["fingerprint"] for seed in compared_seeds(before, now)),
        before.dataset["fingerprint"],
    ]
    change = _change(before, now, ACCURACY, tolerance, near_ties)
    subject = f"{now.model['name']} on {now.dataset['name']}"
    return dataclasses.replace(change, subject=subject, identity=" ".join(map(str, parts)))
