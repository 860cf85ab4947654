"""The page of one report: the sections of the tests, and their order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from pytest_biastransfer.reporting.curves import Curve
from pytest_biastransfer.reporting.figures import Interval, Limit
from pytest_biastransfer.reporting.findings import Finding
from pytest_biastransfer.reporting.html.axes import Axis
from pytest_biastransfer.reporting.html.charts import (
    IntervalPlot,
    curve_plot,
    finding_plot,
    groups_plot,
    limit_plot,
    shared_axis,
    small_axis,
    small_plot,
)
from pytest_biastransfer.reporting.html.class_charts import MovesPlot, SharesPlot, moves_plot, shares_plots
from pytest_biastransfer.reporting.html.galleries import Gallery, ImageView, galleries
from pytest_biastransfer.reporting.html.heat import level_names
from pytest_biastransfer.reporting.html.line_chart import LineChart, line_chart
from pytest_biastransfer.reporting.html.templates import rendered
from pytest_biastransfer.reporting.html.wording import (
    OUTCOME_LABELS,
    TONES,
    command,
    measured_images,
)
from pytest_biastransfer.reporting.outcomes import SEVERITY, Outcome
from pytest_biastransfer.reporting.performance import title_of, titled
from pytest_biastransfer.reporting.report import Report, ReportedChange, Result
from pytest_biastransfer.reporting.wording import counted

# The most tests at the top of the page, and the most images of each; the sections below have all of them.
ON_TOP: Final = 12
IMAGES_ON_TOP: Final = 3
# With more failed tests than this, the page shows the command that runs all bias tests.
_MOST_REPEATED: Final = 20
_STANDINGS: Final = ("regression", "not comparable", "improvement", "tolerated", "unchanged", "new")


@dataclass(frozen=True)
class MetricRow:
    """A metric of the transferred model, and of the control model."""

    name: str
    observed: Interval | None
    control: Interval | None


@dataclass(frozen=True)
class TestSection:
    """A test as the page shows it.

    Attributes
    ----------
    test
        Its result.
    number
        Its position in the report, from 1; links on the page use it.
    leading
        The limit that the table shows: the first that does not hold, or else the first.
    small
        The chart of that limit in the table.
    gallery
        Its images.
    """

    # pytest would take the name for a class of tests.
    __test__ = False

    test: Result
    number: int
    leading: Limit | None
    small: IntervalPlot | None
    gallery: Gallery

    @property
    def tone(self) -> str:
        """The style sheet's class for its outcome."""
        return TONES[self.test.outcome]

    @property
    def worse(self) -> bool:
        """Whether it belongs to the top of the page."""
        return self.tone == "bad" or self.test.standing == "regression"

    @property
    def file(self) -> str:
        """The file in its name, with the colons behind it; empty if there is none."""
        file, colons, _ = self.test.name.partition("::")
        return file + colons if colons else ""

    @property
    def rest(self) -> str:
        """Its name without the file."""
        return self.test.name.removeprefix(self.file)

    @property
    def images(self) -> str:
        """The number of evaluated images."""
        return measured_images(self.test)

    @property
    def accepted(self) -> ReportedChange | None:
        """The change of the leading limit's metric, or a more serious one; None if the test has no changes."""
        changes = self.test.changes
        if self.leading is not None:
            changes = [*(change for change in changes if change.metric == self.leading.metric), *changes]
        # The sort is stable: among equally serious changes, that of the leading metric comes first.
        ordered = sorted(changes, key=_seriousness)
        return ordered[0] if ordered else None

    @property
    def broken(self) -> Sequence[Limit]:
        """The limits that do not hold."""
        return [limit for limit in self.test.limits if limit.holds is False]

    @property
    def first_line(self) -> str:
        """The first line of pytest's message; empty if a broken limit or a regression explains the failure."""
        if self.broken or self.regressions:
            return ""
        return next(iter(self.test.message.strip().splitlines()), "")

    @property
    def regressions(self) -> Sequence[ReportedChange]:
        """The metrics that got worse since they were accepted."""
        return [change for change in self.test.changes if change.meaning == "regression"]

    @property
    def first_images(self) -> Sequence[ImageView]:
        """The images at the top of the page."""
        return self.gallery.images[:IMAGES_ON_TOP]

    @property
    def limit_plots(self) -> Sequence[tuple[Limit, IntervalPlot]]:
        """The limits with their charts."""
        axis = shared_axis(self.test)
        return [(limit, limit_plot(limit, self.test, axis)) for limit in self.test.limits]

    @property
    def curve_plots(self) -> Sequence[tuple[Curve, str, IntervalPlot, LineChart | None]]:
        """The curves of a ladder with what is to be said of each, and their charts."""
        curves, axis = self.test.curves, shared_axis(self.test)
        if curves is None:
            return ()
        return [
            (
                curve,
                curves.breaking_text(curve),
                curve_plot(curve, curves, self.test, axis),
                line_chart(curve, curves, self.test, axis),
            )
            for curve in curves.curves
        ]

    @property
    def finding_plots(self) -> Sequence[tuple[Finding, IntervalPlot]]:
        """What the test found out besides its verdict, with its charts."""
        axis = shared_axis(self.test)
        return [(finding, finding_plot(finding, axis)) for finding in self.test.findings]

    @property
    def shares_plots(self) -> Sequence[SharesPlot]:
        """The distributions of the predicted classes."""
        return shares_plots(self.test.details) if self.test.details is not None else ()

    @property
    def moves_plot(self) -> MovesPlot | None:
        """The most frequent moves of predictions; None if nothing flips."""
        details = self.test.details
        return moves_plot(details) if details is not None and details.moves else None

    @property
    def groups_plot(self) -> IntervalPlot | None:
        """The metric of each group; None if the test is not of a gap."""
        details = self.test.details
        return groups_plot(details.groups, shared_axis(self.test)) if details is not None and details.groups else None

    @property
    def metric_rows(self) -> Sequence[MetricRow]:
        """All metrics, of the model under test and of the control model."""
        if self.test.details is None:
            return ()
        own, control = self.test.details.metrics, self.test.details.control_metrics
        return [MetricRow(name, own.get(name), control.get(name)) for name in dict.fromkeys([*own, *control])]

    @property
    def fixtures(self) -> str:
        """The names of the fixtures of the model, the dataset and the control."""
        return ", ".join(self.test.details.fixtures) if self.test.details is not None else ""

    @property
    def repeat(self) -> str:
        """The command that runs the test again."""
        return command([self.test.name])

    @property
    def accept(self) -> str:
        """The command that accepts a regression; empty if there is none.

        A lower accuracy is not accepted like that: the failure message names the marker's keyword for it.
        """
        is_less_accurate = any(change.metric == "accuracy" for change in self.regressions)
        can_accept = self.test.standing == "regression" and not is_less_accurate
        return command([self.test.name], "--bias-update=all") if can_accept else ""


@dataclass(frozen=True)
class OutcomeCount:
    """The number of tests with an outcome."""

    outcome: Outcome
    label: str
    tone: str
    tests: int


def page(report: Report) -> str:
    """Return the page."""
    pictures, views = galleries(report.tests)
    sections = _sections(report.tests, views)
    worst = sorted(sections, key=_severity)
    worse = [section for section in worst if section.worse]
    counts = _counts(report.tests)
    failing = [section.test.name for section in worst if section.tone == "bad"]
    named = failing if len(failing) <= _MOST_REPEATED else []
    return rendered(
        "page.html.j2",
        title=_title(report, counts),
        report=report,
        counts=counts,
        regressions=sum(section.test.standing == "regression" for section in sections),
        performances=list(titled(report.performances)),
        sections=sections,
        pictures_of_page=pictures,
        heat_levels=level_names(),
        worst=worst,
        worse=worse[:ON_TOP],
        more_worse=len(worse[ON_TOP:]),
        compared=any(section.test.standing not in ("", "new") for section in sections),
        over_time=_alpha_over_time(report.tests),
        named=named,
        # Names of many tests would make a command longer than shells accept.
        repeat=command(named) if named else command([], "--bias-only"),
    )


def _alpha_over_time(tests: Sequence[Result]) -> float | None:
    """Return the level of the changes that are judged over all runs; the strictest, as that of a report."""
    levels = [change.over_time.alpha for test in tests for change in test.changes if change.over_time is not None]
    return min(levels, default=None)


def _sections(tests: Sequence[Result], views: Sequence[Gallery]) -> Sequence[TestSection]:
    leading = [_leading(test) for test in tests]
    # All rows of the table share one axis, so that their charts can be compared.
    draw = partial(_small, axis=small_axis([limit for limit in leading if limit is not None]))
    return [
        TestSection(test, number, limit, draw(limit), gallery)
        for number, (test, limit, gallery) in enumerate(zip(tests, leading, views, strict=True), 1)
    ]


def _small(limit: Limit | None, axis: Axis) -> IntervalPlot | None:
    return None if limit is None else small_plot(limit, axis)


def _leading(test: Result) -> Limit | None:
    broken = [limit for limit in test.limits if limit.holds is False]
    return next(iter([*broken, *test.limits]), None)


def _seriousness(change: ReportedChange) -> int:
    """Return a sort key: regressions come first, unknown standings last."""
    return _STANDINGS.index(change.meaning) if change.meaning in _STANDINGS else len(_STANDINGS)


def _severity(section: TestSection) -> tuple[int, bool, float, int]:
    """Return a sort key, the worst first: by outcome, then regressions, then by the distance above the limit."""
    excess = 0.0
    if section.leading is not None and section.leading.observed.value is not None:
        excess = section.leading.exceeded_by
    return SEVERITY.index(section.test.outcome), section.test.standing != "regression", -excess, section.number


def _counts(tests: Sequence[Result]) -> Sequence[OutcomeCount]:
    counts = Counter(test.outcome for test in tests)
    return [
        OutcomeCount(outcome, label, TONES[outcome], counts[outcome])
        for outcome, label in OUTCOME_LABELS.items()
        if counts[outcome]
    ]


def _title(report: Report, counts: Sequence[OutcomeCount]) -> str:
    if not report.tests:
        return "Bias report: no tests"
    outcomes = ", ".join(f"{count.tests} {count.label}" for count in counts)
    accuracy = title_of(report.performances)
    return f"Bias report: {outcomes} of {counted(len(report.tests), 'test')}{f'; {accuracy}' if accuracy else ''}"
