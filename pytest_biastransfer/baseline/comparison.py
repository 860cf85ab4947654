"""Bias tests beside their accepted measurements: what each change means among all changes of a session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pytest_biastransfer.baseline.metric_change import Meaning, MetricChange
from pytest_biastransfer.baseline.regression import beside_accuracy, meanings, settled_meanings
from pytest_biastransfer.names import Correction

# The most important one first: it is the meaning of a test whose changes have several.
_BY_IMPORTANCE: Final[Sequence[Meaning]] = ("regression", "not comparable", "improvement", "tolerated", "unchanged")


@dataclass(frozen=True)
class BaselineRecord:
    """A measurement beside the accepted one, as plain data.

    Attributes
    ----------
    key
        The key of the entry: test and case.
    problem
        Why the measurement was not compared, if it was not.
    missing
        The limited metrics that the accepted measurement lacks.
    changes
        How the other metrics changed.
    highlights, newly_flipped
        If a metric is worse, what stands out, and the first images that flip now and did not before, in words.
    unchecked_rounding
        Why it is not known which changed images are nearly tied, in a sentence, where another device computed them.
    entry
        The measurement as an entry, if it may be written.
    image_keys
        The keys of the images that it is of; a process states them once for each dataset, as they are long.
    night
        The line of the entry's history, if the run may be counted there.
    is_further_seed
        Whether the entry is written as one more seed of the accepted measurement, so that it is no regression.
    not_added
        Why it is not written as one, where that was asked for.
    of_another_checkpoint
        Whether one model was accepted, and it is of another one.
    has_seeds
        Whether several models were accepted.
    """

    key: Sequence[str]
    problem: str = ""
    missing: Sequence[str] = ()
    changes: Sequence[MetricChange] = ()
    highlights: str = ""
    newly_flipped: Sequence[str] = ()
    unchecked_rounding: str = ""
    entry: Mapping[str, Any] | None = None
    image_keys: str = ""
    night: str = ""
    is_further_seed: bool = False
    not_added: str = ""
    of_another_checkpoint: bool = False
    has_seeds: bool = False


@dataclass(frozen=True)
class BaselineComparison:
    """One bias test beside its accepted measurement, with the meaning of each change.

    Attributes
    ----------
    test
        The name of the test.
    record
        Its changes.
    meanings
        What each change means; None for a change that depends on comparisons which are not made yet.
    """

    test: str
    record: BaselineRecord
    meanings: Sequence[Meaning | None]

    @property
    def meaning(self) -> Meaning:
        """The most important of the meanings."""
        return next((meaning for meaning in _BY_IMPORTANCE if meaning in self.meanings), "unchanged")

    @property
    def is_unsettled(self) -> bool:
        """Whether the test is no regression yet and may become one."""
        return self.meaning != "regression" and any(change.is_worse for change in self.changes(None))

    @property
    def has_metrics(self) -> bool:
        """Whether a metric that the marker limits was compared, and not the accuracy alone."""
        return any(not change.is_accuracy for change in self.record.changes)

    @property
    def lost_accuracy(self) -> MetricChange | None:
        """The change of the accuracy without an intervention, where that is lower than chance and the marker allow."""
        return next((change for change in self.changes("regression") if change.is_accuracy), None)

    @property
    def lower_accuracy(self) -> MetricChange | None:
        """The change of the accuracy where that is lower than chance allows, whatever the marker allows."""
        return self.lost_accuracy or next(iter(self.changes("tolerated")), None)

    def changes(self, meaning: Meaning | None) -> list[MetricChange]:
        """Return the changes of one meaning."""
        pairs = zip(self.record.changes, self.meanings, strict=True)
        return [change for change, own_meaning in pairs if own_meaning == meaning]


def compared_alone(test: str, record: BaselineRecord, alpha: float, comparisons: int) -> BaselineComparison:
    """Return the comparison of one test before the session's others are known.

    A meaning is stated only where it holds whatever the results of at most `comparisons` comparisons are.
    """
    settled = settled_meanings(record.changes, alpha, comparisons)
    return BaselineComparison(test, record, beside_accuracy(record.changes, settled))


def compared_together(
    records: Sequence[tuple[str, BaselineRecord]],
    alpha: float,
    comparisons: int = 0,
    correction: Correction = "holm",
) -> list[BaselineComparison]:
    """Return the comparisons of all tests of a session, given as name and record.

    The p-values are corrected for their number. `comparisons` is the number that the session would have made:
    a session that was stopped made fewer of them.
    """
    changes = [change for _, record in records for change in record.changes]
    of_metrics = sum(not change.is_accuracy for change in changes)
    remaining = iter(meanings(changes, alpha, max(0, comparisons - of_metrics), correction))
    return [
        BaselineComparison(test, record, beside_accuracy(record.changes, [next(remaining) for _ in record.changes]))
        for test, record in records
    ]
