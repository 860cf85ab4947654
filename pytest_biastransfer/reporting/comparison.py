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
    from pytest_biastransfer.baseline.entry import Entry
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
        If an entry of a report cannot be read.
    """
    from pytest_biastransfer.baseline.comparison import compared_together

    pairs = _pairs(old, new, paths)
    measured = [pair for pair in pairs if pair.measured is not None]
    records = [(pair.name, pair.record(new.alpha, paths)) for pair in measured]
    comparisons = dict(zip(map(id, measured), compared_together(records, new.alpha), strict=True))
    tests = [pair.compared(comparisons.get(id(pair))) for pair in pairs]
    return ReportComparison(old, new, _names(paths), tests)


@dataclass(frozen=True)
class _Measured:
    """The entry of a test in one report, and the images that flip; None where it has no such set."""

    entry: Entry
    flipped: frozenset[int] | None


@dataclass(frozen=True)
class _Pair:
    """A test in two reports, with what both measured; None unless it was measured in both."""

    before: Result | None
    now: Result | None
    measured: tuple[_Measured, _Measured] | None

    @property
    def name(self) -> str:
        test = self.now or self.before
        assert test is not None
        return test.name

    def record(self, alpha: float, paths: tuple[Path, Path]) -> BaselineRecord:
        """Return how the test changed; raises `ReportError` if its entries cannot be compared."""
        from pytest_biastransfer.baseline.comparison import BaselineRecord
        from pytest_biastransfer.baseline.near_ties import rounding_between, unchecked_text
        from pytest_biastransfer.baseline.regression import changes, comparable, maybe_worse
        from pytest_biastransfer.baseline.seeds import is_of_another_checkpoint, same_declaration

        assert self.now is not None
        assert self.now.key is not None
        assert self.measured is not None
        before, now = (measured.entry for measured in self.measured)
        try:
            problem = "" if same_declaration(before, now) else "it measures something else now"
            metrics = comparable(before, now, [] if problem else self.now.metrics)
            tolerances = self.now.max_regression, self.now.max_accuracy_regression
            metric_changes, between = changes(before, now, metrics, *tolerances), rounding_between(before, now)
        except ValueError as error:
            raise _damaged(f"{paths[0]} or {paths[1]}", self.name, error) from error
        doubt = ""
        if between and maybe_worse(metric_changes, alpha):
            doubt = unchecked_text(between, "a report does not have their outputs")
        return BaselineRecord(
            self.now.key,
            problem,
            changes=metric_changes,
            of_another_checkpoint=is_of_another_checkpoint(before, now),
            unchecked_rounding=doubt,
        )

    def compared(self, comparison: BaselineComparison | None) -> ComparedTest:
        """Return the test with what changed."""
        flips = None if comparison is None or comparison.record.problem else self._flips()
        return ComparedTest(self.name, self.before, self.now, comparison, flips)

    def _flips(self) -> tuple[FlipsOfOne, FlipsOfOne] | None:
        """Return the images that flip in one of the two only; None where they are not of the same images."""
        from pytest_biastransfer.baseline.seeds import same_images

        assert self.before is not None
        assert self.now is not None
        assert self.measured is not None
        earlier, later = self.measured
        if earlier.flipped is None or later.flipped is None or not same_images(earlier.entry, later.entry):
            return None
        return (
            _of_one(self.before, earlier.flipped - later.flipped),
            _of_one(self.now, later.flipped - earlier.flipped),
        )


def _pairs(old: Report, new: Report, paths: tuple[Path, Path]) -> list[_Pair]:
    """Return the tests of both reports: by their keys, which survive a new id, or else by their names."""
    by_key = {tuple(test.key): test for test in old.tests if test.key is not None}
    by_name = {(test.file, test.name): test for test in old.tests}
    pairs: list[_Pair] = []
    for test in new.tests:
        before = by_key.get(tuple(test.key)) if test.key is not None else None
        before = before or by_name.get((test.file, test.name))
        pairs.append(_Pair(before, test, _measured(before, test, paths)))
    paired = {id(pair.before) for pair in pairs}
    return [*pairs, *(_Pair(test, None, None) for test in old.tests if id(test) not in paired)]


def _measured(before: Result | None, now: Result, paths: tuple[Path, Path]) -> tuple[_Measured, _Measured] | None:
    """Return what both reports measured of a test; None unless both did."""
    if before is None or not (_is_measured(before) and _is_measured(now)):
        return None
    return _measured_of(before, paths[0]), _measured_of(now, paths[1])


def _is_measured(test: Result) -> bool:
    return test.key is not None and test.entry is not None


def _measured_of(test: Result, path: Path) -> _Measured:
    from pytest_biastransfer.baseline.entry import Entry

    try:
        entry = Entry.from_json(test.entry)
        return _Measured(entry, frozenset(entry.image_set(_FLIPPED)) if _FLIPPED in entry.evidence else None)
    except ValueError as error:
        raise _damaged(str(path), test.name, error) from error


def _damaged(files: str, name: str, error: ValueError) -> ReportError:
    return ReportError(f"{files}: the entry of {name} is damaged: {error}; write the report again")


def _fails(test: Result | None) -> bool:
    return test is not None and test.outcome in FAILED


def _of_one(test: Result, images: frozenset[int]) -> FlipsOfOne:
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
