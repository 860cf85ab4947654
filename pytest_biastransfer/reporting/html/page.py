"""The page of one report: what it shows of each test, and in which order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from pytest_biastransfer.reporting.figures import Interval, Limit
from pytest_biastransfer.reporting.html.axes import Axis
from pytest_biastransfer.reporting.html.charts import (
    IntervalPlot,
    MovesPlot,
    SharesPlot,
    groups_plot,
    limit_plot,
    moves_plot,
    shares_plots,
    small_axis,
    small_plot,
)
from pytest_biastransfer.reporting.html.templates import rendered
from pytest_biastransfer.reporting.html.tiles import SheetView, sheet_of
from pytest_biastransfer.reporting.html.wording import (
    OUTCOME_WORDS,
    TONES,
    command,
    measured_images,
)
from pytest_biastransfer.reporting.outcomes import SEVERITY, Outcome
from pytest_biastransfer.reporting.performance import title_of, titled
from pytest_biastransfer.reporting.report import Report, ReportedChange, Result, Shown
from pytest_biastransfer.reporting.wording import counted

# So many tests, and images of each, are shown at the top; the others are where all of them are.
ON_TOP: Final = 12
IMAGES_ON_TOP: Final = 3
# A command with more names than this is longer than what it saves.
_REPEATED: Final = 20
_STANDINGS: Final = ("regression", "not comparable", "improvement", "tolerated", "unchanged", "new")


@dataclass(frozen=True)
class MetricRow:
    """A metric of the transferred model, and the control's."""

    name: str
    found: Interval | None
    control: Interval | None


@dataclass(frozen=True)
class TestSection:
    """A test as the page shows it.

    Attributes
    ----------
    test
        What is known of it.
    number
        Its place in the report, from 1; its address on the page is made of it.
    leading
        The limit that stands for all of them in the table: the first that does not hold, or else the first.
    small
        Its picture in the table.
    sheet
        Its images.
    """

    # pytest would take the name for a class of tests.
    __test__ = False

    test: Result
    number: int
    leading: Limit | None
    small: IntervalPlot | None
    sheet: SheetView | None

    @property
    def tone(self) -> str:
        """What its outcome is coloured by."""
        return TONES[self.test.outcome]

    @property
    def worse(self) -> bool:
        """Whether it belongs to the top of the page."""
        return self.tone == "bad" or self.test.standing == "regression"

    @property
    def file(self) -> str:
        """The first part of its name."""
        file, colons, _ = self.test.name.partition("::")
        return file + colons if colons else ""

    @property
    def rest(self) -> str:
        """The other part."""
        return self.test.name.removeprefix(self.file)

    @property
    def images(self) -> str:
        """How many images were looked at."""
        return measured_images(self.test)

    @property
    def accepted(self) -> ReportedChange | None:
        """How the leading limit's metric changed; where it did not, the first change that means something."""
        changes = self.test.changes
        if self.leading is not None:
            changes = [*(one for one in changes if one.metric == self.leading.metric), *changes]
        ordered = sorted(changes, key=lambda one: _STANDINGS.index(one.meaning) if one.meaning in _STANDINGS else 9)
        return ordered[0] if ordered else None

    @property
    def broken(self) -> Sequence[Limit]:
        """The limits that do not hold."""
        return [limit for limit in self.test.limits if limit.holds is False]

    @property
    def first_line(self) -> str:
        """What pytest said, in a line, where neither limits nor regressions say it."""
        if self.broken or self.regressions:
            return ""
        return next(iter(self.test.message.strip().splitlines()), "")

    @property
    def regressions(self) -> Sequence[ReportedChange]:
        """The metrics that got worse since they were accepted."""
        return [change for change in self.test.changes if change.meaning == "regression"]

    @property
    def first_images(self) -> Sequence[Shown]:
        """The images at the top of the page."""
        return self.test.details.shown[:IMAGES_ON_TOP] if self.test.details is not None else ()

    @property
    def preview(self) -> Shown | None:
        """The image that shows what the intervention does: an example, or else the first that flips."""
        if self.test.details is None:
            return None
        examples = [self.test.details.example, *self.test.details.shown]
        return next((one for one in examples if one is not None and self.views(one)), None)

    def views(self, shown: Shown) -> Sequence[str]:
        """Return where the pictures of an image are in the sheet."""
        return self.sheet.views(shown) if self.sheet is not None else ()

    @property
    def limit_plots(self) -> Sequence[tuple[Limit, IntervalPlot]]:
        """The limits with their pictures."""
        return [(limit, limit_plot(limit, self.test)) for limit in self.test.limits]

    @property
    def shares_plots(self) -> Sequence[SharesPlot]:
        """The distributions of the predicted classes."""
        return shares_plots(self.test.details) if self.test.details is not None else ()

    @property
    def moves_plot(self) -> MovesPlot | None:
        """Where the flips went."""
        details = self.test.details
        return moves_plot(details.moves, details.flips) if details is not None and details.moves else None

    @property
    def groups_plot(self) -> IntervalPlot | None:
        """The figure of each group."""
        details = self.test.details
        return groups_plot(details.groups) if details is not None and details.groups else None

    @property
    def metric_rows(self) -> Sequence[MetricRow]:
        """All figures."""
        if self.test.details is None:
            return ()
        own, control = self.test.details.metrics, self.test.details.control_metrics
        return [MetricRow(name, own.get(name), control.get(name)) for name in dict.fromkeys([*own, *control])]

    @property
    def fixtures(self) -> str:
        """Where the model, the dataset and the control come from."""
        return ", ".join(self.test.details.fixtures) if self.test.details is not None else ""

    @property
    def repeat(self) -> str:
        """What to type to run it again."""
        return command([self.test.name])

    @property
    def accept(self) -> str:
        """What to type to accept what it measured, where that is worse than what was accepted, and no less accurate."""
        is_less_accurate = any(one.metric == "accuracy" for one in self.regressions)
        can_accept = self.test.standing == "regression" and not is_less_accurate
        return command([self.test.name], "--bias-update=all") if can_accept else ""


@dataclass(frozen=True)
class OutcomeCount:
    """How many tests had an outcome."""

    outcome: Outcome
    words: str
    tone: str
    tests: int


def page(report: Report) -> str:
    """Return the page."""
    sections = _sections(report.tests)
    worst = sorted(sections, key=_severity)
    worse = [one for one in worst if one.worse]
    counts = _counts(report.tests)
    failing = [one.test.name for one in worst if one.tone == "bad"]
    named = failing if len(failing) <= _REPEATED else []
    return rendered(
        "page.html.j2",
        title=_title(report, counts),
        report=report,
        counts=counts,
        regressions=sum(one.test.standing == "regression" for one in sections),
        performances=list(titled(report.performances)),
        sections=sections,
        worst=worst,
        worse=worse[:ON_TOP],
        more_worse=len(worse[ON_TOP:]),
        compared=any(one.test.standing not in ("", "new") for one in sections),
        named=named,
        repeat=command(named) if named else command([], "--bias-only"),
    )


def _sections(tests: Sequence[Result]) -> Sequence[TestSection]:
    leading = [_leading(test) for test in tests]
    draw = partial(_small, axis=small_axis([limit for limit in leading if limit is not None]))
    return [
        TestSection(test, number, limit, draw(limit), sheet_of(test.details.pictures if test.details else None))
        for number, (test, limit) in enumerate(zip(tests, leading, strict=True), 1)
    ]


def _small(limit: Limit | None, axis: Axis) -> IntervalPlot | None:
    return None if limit is None else small_plot(limit, axis)


def _leading(test: Result) -> Limit | None:
    broken = [limit for limit in test.limits if limit.holds is False]
    return next(iter([*broken, *test.limits]), None)


def _severity(one: TestSection) -> tuple[int, bool, float, int]:
    """Return what sorts the worst first: the outcome, what got worse, and how far it is above its limit."""
    beyond = 0.0
    if one.leading is not None and one.leading.observed.value is not None:
        beyond = one.leading.observed.value - one.leading.limit
    return SEVERITY.index(one.test.outcome), one.test.standing != "regression", -beyond, one.number


def _counts(tests: Sequence[Result]) -> Sequence[OutcomeCount]:
    found = Counter(test.outcome for test in tests)
    return [
        OutcomeCount(outcome, words, TONES[outcome], found[outcome])
        for outcome, words in OUTCOME_WORDS.items()
        if found[outcome]
    ]


def _title(report: Report, counts: Sequence[OutcomeCount]) -> str:
    if not report.tests:
        return "Bias report: no tests"
    outcomes = ", ".join(f"{one.tests} {one.words}" for one in counts)
    accuracy = title_of(report.performances)
    return f"Bias report: {outcomes} of {counted(len(report.tests), 'test')}{f'; {accuracy}' if accuracy else ''}"
