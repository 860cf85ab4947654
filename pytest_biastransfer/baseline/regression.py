"""Changes of metrics since the accepted measurement, and what they mean among all changes of a session."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_biastransfer.baseline.common_images import on_common_images
from pytest_biastransfer.baseline.entry import Entry
from pytest_biastransfer.baseline.strengths import at_strength, strengths_of
from pytest_biastransfer.metrics.catalogue import ACCURACY, metric_named
from pytest_biastransfer.metrics.change_rules import BETWEEN, WORST
from pytest_biastransfer.metrics.statistics.limits import is_at_most
from pytest_biastransfer.names import Correction

# A loss of accuracy may be tolerated, and nothing is better that is accompanied by one.
Meaning = Literal["regression", "not comparable", "improvement", "tolerated", "unchanged"]


@dataclass(frozen=True)
class MetricChange:
    """How a metric changed since it was accepted.

    Attributes
    ----------
    metric, before, now
        What changed, and from what to what.
    p
        The probability of such a change, or a larger one, by chance: of a change for the worse if it became worse by
        just the tolerance, and else if nothing changed.
    tolerance
        By how much it may become worse.
    newly, no_longer
        How many images count now and did not before, and the other way round; None where that is not what
        the change is judged by.
    same_images
        Whether both are of the same images.
    common_images
        How many images both have, where the test is of these because there are others; otherwise None.
    loss_on_common_images
        By how much it is worse on these.
    at
        Of a ladder, at which strength, in words, such as ``"sigma 0.02"``.
    subject
        Of a figure that several tests share, such as the accuracy of a model: what it is of, in words.
    identity
        What distinguishes the figure from that of another model or dataset, such as fingerprints.
    is_of_size
        Whether it is a signed figure that is the worse the farther it is from 0, on either side.
    more_is_worse
        Whether an increase is a change for the worse; None if the catalogue says so.
    least_p
        The smallest p that the comparison could have had; 0 where that is unknown.
    p_of_change
        The probability if nothing changed, where `p` is another one.
    """

    metric: str
    before: float
    now: float
    p: float
    tolerance: float
    newly: int | None
    no_longer: int | None
    same_images: bool
    subject: str = ""
    identity: str = ""
    is_of_size: bool = False
    more_is_worse: bool | None = None
    least_p: float = 0.0
    p_of_change: float | None = None
    common_images: int | None = None
    loss_on_common_images: float = 0.0
    at: str = ""

    @property
    def is_accuracy(self) -> bool:
        """Whether it is of the accuracy without an intervention, which had better be high."""
        return self.metric == ACCURACY

    @property
    def is_worse(self) -> bool:
        """Whether it is a change for the worse, by however little."""
        return self.loss > 0

    @property
    def tested_tolerance(self) -> float:
        """The tolerance, if `p` is of becoming worse by more than that; else 0."""
        return 0.0 if self.p_of_change is None else self.tolerance

    @property
    def p_of_any_change(self) -> float:
        """The probability of such a change, or a larger one, if nothing changed."""
        return self.p if self.p_of_change is None else self.p_of_change

    @property
    def loss(self) -> float:
        """By how much it is worse; below 0 if it is better."""
        if self.common_images is not None:
            return self.loss_on_common_images
        if self.is_of_size:
            return abs(self.now) - abs(self.before)
        change = self.now - self.before
        more_is_worse = metric_named(self.metric).more_is_worse if self.more_is_worse is None else self.more_is_worse
        return change if more_is_worse else -change

    def meaning(self, adjusted_p: float, alpha: float, adjusted_p_of_any_change: float | None = None) -> Meaning:
        """Return what the change means, given its p-values among all of the session; the second one if it differs."""
        if not self.is_worse:
            is_better = adjusted_p <= alpha and self.loss < 0 and not self.is_accuracy
            return "improvement" if is_better else "unchanged"
        if adjusted_p <= alpha and self.exceeds_tolerance:
            return "regression"
        p_of_any_change = adjusted_p if adjusted_p_of_any_change is None else adjusted_p_of_any_change
        return "tolerated" if self.is_accuracy and p_of_any_change <= alpha else "unchanged"

    @property
    def exceeds_tolerance(self) -> bool:
        """Whether it is observed to be worse by more than the tolerance."""
        return not is_at_most(self.loss, self.tolerance)


def comparable(before: Entry, now: Entry, metrics: Collection[str]) -> list[str]:
    """Return those of the metrics that an accepted and a new measurement have both, and the accuracy if known.

    Of a ladder, those that both have at all strengths.
    """
    entries = [at_strength(entry, strength) for strength in strengths_of(before, now) for entry in (before, now)]
    return [metric for metric in (*metrics, ACCURACY) if all(_has(entry, metric) for entry in entries)]


def comparisons_of(accepted: Entry, metrics: Collection[str]) -> int:
    """Return how many comparisons of metrics with an accepted measurement there are at most, not of the accuracy."""
    compared = [metric for metric in comparable(accepted, accepted, metrics) if metric != ACCURACY]
    return len(compared) * len(strengths_of(accepted))


def changes(
    before: Entry, now: Entry, metrics: Sequence[str], tolerance: float, accuracy_tolerance: float = 0.0
) -> list[MetricChange]:
    """Return how metrics changed that both have, at each strength of a ladder; `accuracy_tolerance` is the accuracy's.

    Raises ValueError where the evidence of `before` cannot be understood.
    """
    strengths = strengths_of(before, now)
    found = []
    for metric in metrics:
        if metric == ACCURACY:
            # It is the same at all strengths.
            of_one = at_strength(before, strengths[0]), at_strength(now, strengths[0])
            found.append(_accuracy_change(*of_one, accuracy_tolerance))
            continue
        for strength in strengths:
            change = _change(at_strength(before, strength), at_strength(now, strength), metric, tolerance)
            found.append(dataclasses.replace(change, at=strength))
    return found


def newly_flipped(before: Entry, now: Entry) -> list[int]:
    """Return the images that flip now and did not before, if both are of the same images."""
    if not same_images(before, now):
        return []
    earlier = set(before.image_set("flipped"))
    return [image for image in now.image_set("flipped") if image not in earlier]


def meanings(
    metric_changes: Sequence[MetricChange], alpha: float, unmade: int = 0, correction: Correction = "holm"
) -> list[Meaning]:
    """Return what each of a session's changes means; the p-values are corrected for their number, see `corrected`.

    The accuracies are corrected as a family of their own: they answer another question than the biases, and do not make
    the tests of the biases weaker. A change that several tests share, such as the accuracy of their model, counts once;
    with several tolerances it counts once for each.

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

    names = [
        (change.is_accuracy, change.identity and p, change.identity or index)
        for index, (change, p) in enumerate(zip(metric_changes, p_values, strict=True))
    ]
    adjusted: dict[object, float] = {}
    for of_accuracies in (False, True):
        family = {
            name: (p, change.least_p)
            for name, p, change in zip(names, p_values, metric_changes, strict=True)
            if name[0] == of_accuracies
        }
        # Of a comparison that was not made, nothing is known but that it showed no change.
        own = [*(p for p, _ in family.values()), *[1.0] * unmade]
        least = [*(least_p for _, least_p in family.values()), *[0.0] * unmade]
        adjusted |= zip(family, corrected(own, least, alpha, correction), strict=False)
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


def _has(entry: Entry, metric: str) -> bool:
    figure = entry.figures.get(metric)
    if figure is None or figure.value is None:
        return False
    # Without the images the accuracy is compared as a share of different images, which takes the counts.
    return metric_named(metric).change.is_possible(entry) and (metric != ACCURACY or figure.count is not None)


def same_images(before: Entry, now: Entry) -> bool:
    """Whether an accepted and a new measurement are of the same images."""
    return before.dataset["fingerprint"] == now.dataset["fingerprint"] and before.images == now.images


def same_declaration(before: Entry, now: Entry) -> bool:
    """Whether an accepted and a new measurement are of the same intervention or gap, whatever name it has."""
    return _declaration(before.intervention) == _declaration(now.intervention)


def _declaration(declaration: str) -> str:
    """Return an intervention in words without the names that it has.

    >>> _declaration("yellow-square = Square(size=0.25)")
    'Square(size=0.25)'
    """
    names, bracket, fields = declaration.partition("(")
    return names.rpartition(" = ")[2] + bracket + fields


def _change(before: Entry, now: Entry, metric: str, tolerance: float) -> MetricChange:
    test, paired = metric_named(metric).change, same_images(before, now)
    common = None if paired or not test.is_by_image(before, now) else on_common_images(before, now)
    compared = common or (before, now)
    result = test.compare(metric, *compared, paired=paired or common is not None)
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
        loss_on_common_images=result.loss,
    )
    if not (tolerance and change.is_worse):
        return change
    p = max(result.p, _p_beyond_tolerance(*compared, change)) if change.exceeds_tolerance else 1.0
    return dataclasses.replace(change, p=p, p_of_change=result.p)


def _p_beyond_tolerance(before: Entry, now: Entry, change: MetricChange) -> float:
    """Return the p-value of becoming worse by more than the tolerance, twice that of one side."""
    # A signed gap that changed its side is worse by more only if it also exceeds the size of the other side.
    changed_side = change.is_of_size and change.before * change.now < 0
    margin = change.tolerance + (2 * abs(change.before) if changed_side else 0.0)
    test = metric_named(change.metric).change
    # The gaps of two sides are added, so that what images have in common makes the sum more uncertain, not less.
    paired = (change.same_images or change.common_images is not None) and not changed_side
    # What is tested by image is the worse the larger it is.
    margin = math.copysign(margin, 1.0 if change.common_images is not None else change.now - change.before)
    return test.compare(change.metric, before, now, paired=paired, margin=margin).p


def _accuracy_change(before: Entry, now: Entry, tolerance: float) -> MetricChange:
    parts = [
        now.model["name"],
        now.model["fingerprint"],
        now.dataset["fingerprint"],
        now.images,
        before.model["fingerprint"],
        before.dataset["fingerprint"],
    ]
    change = _change(before, now, ACCURACY, tolerance)
    subject = f"{now.model['name']} on {now.dataset['name']}"
    return dataclasses.replace(change, subject=subject, identity=" ".join(map(str, parts)))
