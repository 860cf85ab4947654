"""Changes of metrics since the accepted measurement, and what they mean among all changes of a session."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_biastransfer.baseline.entry import Entry
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
        The probability of such a change, or a larger one, by chance.
    tolerance
        By how much it may become worse.
    newly, no_longer
        How many images count now and did not before, and the other way round; None where that is not what
        the change is judged by.
    same_images
        Whether both are of the same images.
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

    @property
    def is_accuracy(self) -> bool:
        """Whether it is of the accuracy without an intervention, which had better be high."""
        return self.metric == ACCURACY

    @property
    def is_worse(self) -> bool:
        """Whether it is a change for the worse, by however little."""
        return self._loss > 0

    @property
    def _loss(self) -> float:
        if self.is_of_size:
            return abs(self.now) - abs(self.before)
        change = self.now - self.before
        more_is_worse = metric_named(self.metric).more_is_worse if self.more_is_worse is None else self.more_is_worse
        return change if more_is_worse else -change

    def meaning(self, adjusted_p: float, alpha: float) -> Meaning:
        """Return what the change means, `adjusted_p` being its p-value among all of the session."""
        if adjusted_p > alpha or self.now == self.before:
            return "unchanged"
        if not self.is_worse:
            return "improvement" if self._loss < 0 and not self.is_accuracy else "unchanged"
        if not is_at_most(self._loss, self.tolerance):
            return "regression"
        return "tolerated" if self.is_accuracy else "unchanged"


def comparable(before: Entry, now: Entry, metrics: Collection[str]) -> list[str]:
    """Return those of the metrics that an accepted and a new measurement have both, and the accuracy if known."""
    return [metric for metric in (*metrics, ACCURACY) if _has(before, metric) and _has(now, metric)]


def changes(
    before: Entry, now: Entry, metrics: Sequence[str], tolerance: float, accuracy_tolerance: float = 0.0
) -> list[MetricChange]:
    """Return how metrics changed that both have; `accuracy_tolerance` is that of the accuracy.

    Raises ValueError where the evidence of `before` cannot be understood.
    """
    return [
        _accuracy_change(before, now, accuracy_tolerance)
        if metric == ACCURACY
        else _change(before, now, metric, tolerance)
        for metric in metrics
    ]


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
    the tests of the biases weaker. A change that several tests share, such as the accuracy of their model, counts once.

    The `unmade` comparisons of a session that was stopped count as if they had shown no change.
    """
    adjusted: dict[object, float] = {}
    names = [(change.identity, change.p) if change.identity else index for index, change in enumerate(metric_changes)]
    for of_accuracies in (False, True):
        adjusted |= _adjusted(
            {
                name: change
                for name, change in zip(names, metric_changes, strict=True)
                if change.is_accuracy == of_accuracies
            },
            alpha,
            unmade,
            correction,
        )
    return [change.meaning(adjusted[name], alpha) for name, change in zip(names, metric_changes, strict=True)]


def _adjusted(
    by_name: Mapping[object, MetricChange], alpha: float, unmade: int, correction: Correction
) -> dict[object, float]:
    from pytest_biastransfer.metrics.statistics.change_tests import corrected

    p_values = [change.p for change in by_name.values()] + [1.0] * unmade
    least = [change.least_p for change in by_name.values()] + [0.0] * unmade
    return dict(zip(by_name, corrected(p_values, least, alpha, correction), strict=False))


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
        (change.meaning(change.p, alpha), change.meaning(min(1.0, comparisons * change.p), alpha))
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
    paired = same_images(before, now)
    result = metric_named(metric).change.compare(metric, before, now, paired=paired)
    return MetricChange(
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
    )


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
