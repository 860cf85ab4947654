"""Is a measurement worse than the accepted one? Changes, and what they mean among all changes of a session."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pytest_biastransfer.baseline.encoding import decode_classes, decode_groups, decode_images, decode_numbers
from pytest_biastransfer.baseline.entry import ACCURACY, EVIDENCE, Entry

if TYPE_CHECKING:
    from pytest_biastransfer.metrics.statistics.transitions import Transitions

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
        And what tells it from the same figure of something else, such as fingerprints.
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
        return self.before - self.now if self.is_accuracy else self.now - self.before

    def meaning(self, adjusted_p: float, alpha: float) -> Meaning:
        """Return what the change means, `adjusted_p` being its p-value among all of the session."""
        if adjusted_p > alpha or self.now == self.before:
            return "unchanged"
        if not self.is_worse:
            return "unchanged" if self.is_accuracy else "improvement"
        # Not a hair's breadth more than asked for: 0.3 - 0.2 is above 0.1.
        if self._loss > self.tolerance + 1e-12:
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
    earlier = set(decode_images(before.evidence["flipped"]))
    return [image for image in decode_images(now.evidence["flipped"]) if image not in earlier]


def meanings(found: Sequence[MetricChange], alpha: float, unmade: int = 0) -> list[Meaning]:
    """Return what each of a session's changes means: the more there are, the less each of them tells (Holm 1979).

    The accuracies are a family of their own: they answer another question than the biases do, which are not to be less
    sure for it. What several tests share, as the accuracy of their model on their images, is one change.

    `unmade` comparisons count too, as if they had shown nothing: those that a session did not come to that was stopped.
    """
    adjusted: dict[object, float] = {}
    names = [(change.identity, change.p) if change.identity else place for place, change in enumerate(found)]
    for of_accuracies in (False, True):
        adjusted |= _adjusted(
            {name: change.p for name, change in zip(names, found, strict=True) if change.is_accuracy == of_accuracies},
            unmade,
        )
    return [change.meaning(adjusted[name], alpha) for name, change in zip(names, found, strict=True)]


def _adjusted(p_values: Mapping[object, float], unmade: int) -> dict[object, float]:
    from pytest_biastransfer.metrics.statistics.change_tests import holm

    return dict(zip(p_values, holm([*p_values.values()] + [1.0] * unmade), strict=False))


def beside_accuracy(found: Sequence[MetricChange], meant: Sequence[Meaning | None]) -> list[Meaning | None]:
    """Return what the changes of one test mean beside that of its model's accuracy.

    A model that is less sensitive to a square because it tells less of anything is no better.
    """
    is_lower = any(
        change.is_accuracy and meaning in ("regression", "tolerated")
        for change, meaning in zip(found, meant, strict=True)
    )
    return ["not comparable" if is_lower and meaning == "improvement" else meaning for meaning in meant]


def settled_meanings(found: Sequence[MetricChange], alpha: float, comparisons: int) -> list[Meaning | None]:
    """Return what changes mean before the session's other comparisons are made; None where that depends on them.

    There are at most so many `comparisons`. `meanings` multiplies a p-value by 1 at least, and by their number at most.
    """
    bounds = [
        (change.meaning(change.p, alpha), change.meaning(min(1.0, comparisons * change.p), alpha)) for change in found
    ]
    return [at_least if at_least == at_most else None for at_least, at_most in bounds]


def _has(entry: Entry, metric: str) -> bool:
    figure = entry.figures.get(metric)
    if metric == ACCURACY:
        # Without the images, as older files have it, it is compared as of two samples.
        return figure is not None and figure.value is not None and figure.count is not None
    return figure is not None and figure.value is not None and entry.evidence.keys() >= set(EVIDENCE[metric])


def same_images(before: Entry, now: Entry) -> bool:
    """Whether an accepted and a new measurement are of the same images."""
    return before.dataset["fingerprint"] == now.dataset["fingerprint"] and before.images == now.images


def same_declaration(before: Entry, now: Entry) -> bool:
    """Whether an accepted and a new measurement are of the same intervention or gap, whatever name it has."""
    return _declaration(before.intervention) == _declaration(now.intervention)


def _declaration(words: str) -> str:
    """Return an intervention in words without the names that it has.

    >>> _declaration("yellow-square = Square(size=0.25)")
    'Square(size=0.25)'
    """
    names, bracket, fields = words.partition("(")
    return names.rpartition(" = ")[2] + bracket + fields


def _change(before: Entry, now: Entry, metric: str, tolerance: float) -> MetricChange:
    same = same_images(before, now)
    judged = _judged_accuracy if metric == ACCURACY else _judged
    values = [entry.figures[metric].value for entry in (before, now)]
    assert values[0] is not None
    assert values[1] is not None
    p, newly, no_longer = judged(before, now, metric, same)
    return MetricChange(metric, values[0], values[1], p, tolerance, newly, no_longer, same)


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


def _judged(before: Entry, now: Entry, metric: str, same: bool) -> tuple[float, int | None, int | None]:
    """Return the p-value of a change, and how many images count newly and no longer."""
    evidence = EVIDENCE[metric]
    if same and evidence and _same_evidence(before, now, evidence):
        # Nothing to decode, nothing to import: most sessions change nothing.
        return 1.0, 0, 0
    if metric in ("gap", "gap_excess"):
        return _gap_p(before, now, metric, same), None, None
    if metric in ("skew", "skew_excess"):
        return _skew_p(before, now, metric, same), None, None
    if metric in ("accuracy_drop", "asr_excess"):
        return _mean_p(before, now, evidence, same), None, None
    if same and evidence:
        return _mcnemar(before, now, evidence[0])
    return _two_proportions(before, now, metric), None, None


def _judged_accuracy(before: Entry, now: Entry, metric: str, same: bool) -> tuple[float, int | None, int | None]:
    (name,) = EVIDENCE[metric]
    if not (same and name in before.evidence and name in now.evidence):
        return _two_proportions(before, now, metric), None, None
    return (1.0, 0, 0) if before.evidence[name] == now.evidence[name] else _mcnemar(before, now, name)


def _same_evidence(before: Entry, now: Entry, names: Sequence[str]) -> bool:
    # Of a rate's gap the hits are needed too, which an area under the ROC curve has not.
    return all(before.evidence.get(name) == now.evidence.get(name) for name in (*names, "hits"))


def _gap_p(before: Entry, now: Entry, metric: str, same: bool) -> float:
    """Return the p-value of a change of a gap: by image where its groups are the same and it is of a rate."""
    from pytest_biastransfer.metrics.statistics.gap_change_test import SizedGap, paired_gap_change, unpaired_gap_change

    same_groups = same and before.evidence["groups"] == now.evidence["groups"]
    if metric == "gap" and same_groups and before.evidence.keys() & now.evidence.keys() >= {"hits"}:
        earlier, later, codes = _outcomes(*(decode_groups(entry.evidence["hits"]) for entry in (before, now)))
        groups, every = int(codes.max()) + 1, codes >= 0
        return paired_gap_change(earlier, later, every, codes, groups, min_group_size=1)
    sized = []
    for entry in (before, now):
        value = entry.figures[metric].value
        assert value is not None
        if metric == "gap":
            sized.append(SizedGap(value, *decode_numbers(entry.evidence["chance"], 3)))
        else:
            (error,) = decode_numbers(entry.evidence["excess_error"], 1)
            sized.append(SizedGap(value, inflation=0.0, error=error, by_chance=0.0))
    return unpaired_gap_change(*sized)


def _outcomes(
    before: Sequence[tuple[int, Sequence[int]]], now: Sequence[tuple[int, Sequence[int]]]
) -> tuple[Any, Any, Any]:
    """Return which images count before and now, and the groups of all of them: the others of a group come last."""
    import numpy as np

    if [size for size, _ in before] != [size for size, _ in now]:
        raise ValueError("its groups have other sizes than their hash says")
    parts: list[list[list[bool]]] = []
    for (size, earlier), (_, later) in zip(before, now, strict=True):
        either = sorted({*earlier, *later})
        others = [False] * (size - len(either))
        sets = [set(earlier), set(later)]
        parts.append([[one in places for one in either] + others for places in sets])
    codes = np.repeat(np.arange(len(before)), [size for size, _ in before])
    first, second = (np.array([one for part in parts for one in part[place]], dtype=bool) for place in (0, 1))
    return first, second, codes


def _mcnemar(before: Entry, now: Entry, name: str) -> tuple[float, int, int]:
    from pytest_biastransfer.metrics.statistics.change_tests import mcnemar

    earlier, later = (set(decode_images(entry.evidence[name])) for entry in (before, now))
    newly, no_longer = len(later - earlier), len(earlier - later)
    return mcnemar(newly, no_longer), newly, no_longer


def _two_proportions(before: Entry, now: Entry, metric: str) -> float:
    first, second = before.figures[metric], now.figures[metric]
    if (first.count, first.images) == (second.count, second.images):
        return 1.0
    from pytest_biastransfer.metrics.statistics.change_tests import two_proportions

    return two_proportions(second.count or 0, second.images, first.count or 0, first.images)


def _mean_p(before: Entry, now: Entry, names: Sequence[str], same: bool) -> float:
    import numpy as np

    from pytest_biastransfer.metrics.statistics.change_tests import mean_change

    (first_plus, first_minus), (second_plus, second_minus) = (
        [np.array(decode_images(entry.evidence[name]), dtype=np.int64) for name in names] for entry in (before, now)
    )
    return mean_change((first_plus, first_minus), (second_plus, second_minus), before.images, now.images, paired=same)


def _skew_p(before: Entry, now: Entry, metric: str, same: bool) -> float:
    from pytest_biastransfer.metrics.statistics.change_tests import skew_change

    prefixes = ("", "control_") if metric == "skew_excess" else ("",)
    first, second = ([_moves(entry.evidence, prefix) for prefix in prefixes] for entry in (before, now))
    return skew_change(first, second, before.images, now.images, paired=same)


def _moves(evidence: Mapping[str, str], prefix: str) -> Transitions:
    import numpy as np

    from pytest_biastransfer.metrics.statistics.transitions import Transitions

    images = decode_images(evidence[f"{prefix}flipped"])
    classes = [decode_classes(evidence[f"{prefix}{name}"], len(images)) for name in ("from", "to")]
    return Transitions(*(np.array(part, dtype=np.int64) for part in (images, *classes)))
