"""Two reports side by side: what changed, by the tests of a baseline comparison, and what flips in one only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.errors import ReportError
from pytest_biastransfer.reporting.outcomes import FAILED
from pytest_biastransfer.reporting.regression_text import changes_of, standing

if TYPE_CHECKING:
    from pytest_biastransfer.baseline.comparison import BaselineComparison, BaselineRecord
    from pytest_biastransfer.baseline.metric_change import MetricChange
    from pytest_biastransfer.reporting.report import Report, ReportedChange, Result, Shown

_FLIPPED: Final = "flipped"


@dataclass(frozen=True)
class FlipsOfOne:
    """The images that flip in one of two reports only.

    Attributes
    ----------
    images
        Their indices in the dataset, ascending.
    shown
        Those that the report shows, with their classes.
    """

    images: Sequence[int]
    shown: Sequence[Shown]


@dataclass(frozen=True)
class ComparedTest:
    """A test in two reports.

    Attributes
    ----------
    name
        Its name, in the later report if it is there.
    before, now
        Its results; None where it is not in the report.
    comparison
        What changed; None if it was not measured in both.
    flips
        The images that flip in the earlier and in the later report only; None if the reports do not tell: the datasets
        differ, or the test has no predictions before and after one intervention.
    """

    name: str
    before: Result | None
    now: Result | None
    comparison: BaselineComparison | None
    flips: tuple[FlipsOfOne, FlipsOfOne] | None

    @property
    def changes(self) -> Sequence[ReportedChange]:
        """How its metrics changed; empty if it was not compared."""
        return changes_of(self.comparison) if self.comparison is not None else ()

    @property
    def standing(self) -> str:
        """The standing of the later result beside the earlier one, as in a report; empty if it was not compared."""
        return standing(self.comparison) if self.comparison is not None else ""

    @property
    def is_worse(self) -> bool:
        """Whether a metric that the marker limits is significantly worse, and not the model's accuracy alone."""
        return self.comparison is not None and any(
            not change.is_accuracy for change in self.comparison.changes("regression")
        )

    @property
    def lost_accuracy(self) -> MetricChange | None:
        """The change of the model's accuracy, where that is lower than chance and the marker allow."""
        return self.comparison.lost_accuracy if self.comparison is not None else None

    @property
    def newly_fails(self) -> bool:
        """Whether it fails, has an error or is lost, and did not before."""
        return _fails(self.now) and not _fails(self.before)

    @property
    def no_longer_fails(self) -> bool:
        """Whether it failed, had an error or was lost, and does not now."""
        return self.now is not None and _fails(self.before) and not _fails(self.now)

    @property
    def differs(self) -> bool:
        """Whether a reader of both reports should look at it."""
        return (
            self.before is None
            or self.now is None
            or self.newly_fails
            or self.no_longer_fails
            or self.is_worse
            or self.standing in ("improvement", "not comparable")
        )


@dataclass(frozen=True)
class ReportComparison:
    """Two reports side by side.

    Attributes
    ----------
    old, new
        The earlier and the later report.
    names
        Short names of both, which differ.
    tests
        The tests of both, in the order of the later report; tests of the earlier one alone follow.
    """

    old: Report
    new: Report
    names: tuple[str, str]
    tests: Sequence[ComparedTest]

    @property
    def comparisons(self) -> Sequence[BaselineComparison]:
        """The comparisons of the tests that were measured in both."""
        return [test.comparison for test in self.tests if test.comparison is not None]

    @property
    def is_worse(self) -> bool:
        """Whether a metric or an accuracy is significantly worse, or a test newly fails."""
        return any(test.is_worse or test.newly_fails or test.lost_accuracy is not None for test in self.tests)

    @property
    def lost_accuracies(self) -> Sequence[MetricChange]:
        """The accuracies that are lower, once for each model and dataset."""
        changes = [test.lost_accuracy for test in self.tests if test.lost_accuracy is not None]
        return [*{change.identity: change for change in changes}.values()]


def compare_reports(old: Report, new: Report, paths: tuple[Path, Path]) -> ReportComparison:
    """Return two reports side by side, by the tests of a baseline comparison at the level of the later report.

    All metrics that both reports limit are judged together. Images are compared one by one if the images are the same.

    Parameters
    ----------
    old, new
        The reports, of one run each.
    paths
        Their files, for messages and short names.

    Raises
    ------
    ReportError
        If an entry of the earlier report cannot be read.
    """
    from pytest_biastransfer.baseline.comparison import compared_together

    pairs = _pairs(old, new)
    measured = [(before, now) for before, now in pairs if _is_measured(before) and _is_measured(now)]
    records = [(now.name, _record(before, now, paths[0], new.alpha)) for before, now in measured if before and now]
    comparisons = dict(zip(map(_identity, measured), compared_together(records, new.alpha), strict=True))
    tests = [_compared(before, now, comparisons.get(_identity((before, now)))) for before, now in pairs]
    return ReportComparison(old, new, _names(paths), tests)


def _pairs(old: Report, new: Report) -> list[tuple[Result | None, Result | None]]:
    """Return the tests of both reports: by their keys, which survive a new id, or else by their names."""
    by_key = {tuple(test.key): test for test in old.tests if test.key is not None}
    by_name = {(test.file, test.name): test for test in old.tests}
    pairs: list[tuple[Result | None, Result | None]] = []
    for test in new.tests:
        before = by_key.get(tuple(test.key)) if test.key is not None else None
        pairs.append((before or by_name.get((test.file, test.name)), test))
    paired = {id(before) for before, _ in pairs}
    return [*pairs, *((test, None) for test in old.tests if id(test) not in paired)]


def _identity(pair: tuple[Result | None, Result | None]) -> tuple[int, int]:
    # Two files may have tests of one name.
    return id(pair[0]), id(pair[1])


def _is_measured(test: Result | None) -> bool:
    return test is not None and test.key is not None and test.entry is not None


def _fails(test: Result | None) -> bool:
    return test is not None and test.outcome in FAILED


def _record(old: Result, new: Result, old_path: Path, alpha: float) -> BaselineRecord:
    from pytest_biastransfer.baseline.comparison import BaselineRecord
    from pytest_biastransfer.baseline.entry import Entry
    from pytest_biastransfer.baseline.near_ties import rounding_between, unchecked_text
    from pytest_biastransfer.baseline.regression import changes, comparable, maybe_worse
    from pytest_biastransfer.baseline.seeds import is_of_another_checkpoint, same_declaration

    assert new.key is not None
    try:
        before, now = Entry.from_json(old.entry), Entry.from_json(new.entry)
        problem = "" if same_declaration(before, now) else "it measures something else now"
        metrics = comparable(before, now, [] if problem else new.metrics)
        tolerances = new.max_regression, new.max_accuracy_regression
        found, between = changes(before, now, metrics, *tolerances), rounding_between(before, now)
        doubt = (
            between and maybe_worse(found, alpha) and unchecked_text(between, "a report does not have their outputs")
        )
        return BaselineRecord(
            new.key,
            problem,
            changes=found,
            of_another_checkpoint=is_of_another_checkpoint(before, now),
            unchecked_rounding=doubt or "",
        )
    except ValueError as error:
        raise ReportError(f"{old_path}: the entry of {new.name} is damaged: {error}; write the report again") from error


def _compared(before: Result | None, now: Result | None, comparison: BaselineComparison | None) -> ComparedTest:
    one = now or before
    assert one is not None
    flips = None
    if before is not None and now is not None and comparison is not None and not comparison.record.problem:
        flips = _flips(before, now)
    return ComparedTest(one.name, before, now, comparison, flips)


def _flips(before: Result, now: Result) -> tuple[FlipsOfOne, FlipsOfOne] | None:
    """Return the images that flip in one of two results only; None where they are not of the same images."""
    from pytest_biastransfer.baseline.entry import Entry
    from pytest_biastransfer.baseline.seeds import same_images

    entries = Entry.from_json(before.entry), Entry.from_json(now.entry)
    if not same_images(*entries) or any(_FLIPPED not in entry.evidence for entry in entries):
        return None
    earlier, later = (set(entry.image_set(_FLIPPED)) for entry in entries)
    return _of_one(before, earlier - later), _of_one(now, later - earlier)


def _of_one(test: Result, images: set[int]) -> FlipsOfOne:
    shown = [] if test.details is None else [image for image in test.details.shown if image.index in images]
    return FlipsOfOne(sorted(images), shown)


def _names(paths: tuple[Path, Path]) -> tuple[str, str]:
    """Return short names of two files: their stems, or what else tells them apart.

    >>> _names((Path("runs/main.json"), Path("runs/branch.json")))
    ('main', 'branch')
    >>> _names((Path("main/bias.json"), Path("branch/bias.json")))
    ('main/bias.json', 'branch/bias.json')
    >>> _names((Path("bias.json"), Path("bias.json")))
    ('bias.json (first)', 'bias.json (second)')
    """
    old, new = paths
    if old.stem != new.stem:
        return old.stem, new.stem
    if old.as_posix() != new.as_posix():
        return old.as_posix(), new.as_posix()
    return f"{old.as_posix()} (first)", f"{new.as_posix()} (second)"
