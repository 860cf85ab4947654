"""The sections of a page, one for each test: what is said and drawn of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pytest_biastransfer.display.axes import Axis
from pytest_biastransfer.reporting.curves import Curve
from pytest_biastransfer.reporting.figures import Interval, Limit
from pytest_biastransfer.reporting.findings import Finding
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
from pytest_biastransfer.reporting.html.filters import Filters
from pytest_biastransfer.reporting.html.galleries import Gallery, ImageView
from pytest_biastransfer.reporting.html.line_chart import LineChart, line_chart
from pytest_biastransfer.reporting.html.states import (
    has_failed,
    is_worse,
    leading_limit,
    most_serious,
    only_just,
    regressions,
)
from pytest_biastransfer.reporting.html.wording import TONES, command, measured_images
from pytest_biastransfer.reporting.report import Report, ReportedChange, Result

# The most images of a test at the top of the page; its section has all of them.
IMAGES_ON_TOP: Final = 3
# The most regressions of a test at the top of the page.
REGRESSIONS_ON_TOP: Final = 2


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
        Its position in the report, from 1; parts of the page that belong together have it.
    anchor
        The id of its section, made of its name.
    session
        The file and the job of its session, in a report that was joined from several; otherwise empty.
    filter_values
        The numbers of the filters' values that it has.
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
    anchor: str
    session: str
    filter_values: Sequence[int]
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
        return has_failed(self.test) or is_worse(self.test)

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
        return most_serious(self.test, self.leading)

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
        return regressions(self.test)

    @property
    def clearest_regressions(self) -> Sequence[ReportedChange]:
        """The regressions at the top of the page, the least likely by chance first; a ladder may have dozens."""
        return sorted(self.regressions, key=lambda change: change.p)[:REGRESSIONS_ON_TOP]

    @property
    def further_regressions(self) -> int:
        """The number of all others."""
        return max(len(self.regressions) - REGRESSIONS_ON_TOP, 0)

    @property
    def only_just(self) -> Sequence[Limit]:
        """The limits that hold, and might not on other images."""
        return only_just(self.test)

    @property
    def first_images(self) -> Sequence[ImageView]:
        """The images at the top of the page."""
        return self.gallery.images[:IMAGES_ON_TOP]

    @property
    def countable(self) -> int:
        """The number of images that could be shown as flipped ones."""
        details = self.test.details
        return 0 if details is None else details.flips if details.counted == "flipped" else details.counted_flips

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


def sections_of(
    report: Report, addresses: Sequence[str], all_filters: Filters, views: Sequence[Gallery]
) -> Sequence[TestSection]:
    """Return the sections of the tests, in the order of the report.

    Parameters
    ----------
    addresses, views
        The anchor and the gallery of each test.
    all_filters
        The values of the filters that each test has.
    """
    tests = report.tests
    leading = [leading_limit(test) for test in tests]
    # All rows of the table share one axis, so that their charts can be compared.
    axis = small_axis([limit for limit in leading if limit is not None])
    return [
        TestSection(
            test=test,
            number=number,
            anchor=address,
            session=_session_label(report, test),
            filter_values=values,
            leading=limit,
            small=_small(limit, axis),
            gallery=gallery,
        )
        for number, (test, address, values, limit, gallery) in enumerate(
            zip(tests, addresses, all_filters.values, leading, views, strict=True), 1
        )
    ]


def _session_label(report: Report, test: Result) -> str:
    if len(report.sessions) < 2 or test.session >= len(report.sessions):
        return ""
    return report.sessions[test.session].label or f"session {test.session + 1}"


def _small(limit: Limit | None, axis: Axis) -> IntervalPlot | None:
    return None if limit is None else small_plot(limit, axis)
