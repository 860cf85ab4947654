"""The page of several runs: each metric of each test over the runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pytest_biastransfer.reporting.figures import Interval
from pytest_biastransfer.reporting.html.axes import Axis, Tick, axis_over
from pytest_biastransfer.reporting.html.templates import rendered
from pytest_biastransfer.reporting.html.wording import TONES, figure, moment, spread
from pytest_biastransfer.reporting.outcomes import SEVERITY, Outcome
from pytest_biastransfer.reporting.report import Report, Result
from pytest_biastransfer.reporting.wording import counted, shortened

_MARGIN: Final = 4.0


@dataclass(frozen=True)
class Run:
    """A run: its number, and when it started."""

    number: int
    started: str


@dataclass(frozen=True)
class TrendPoint:
    """A metric in a run: as text, and where it is, from the left and from the top."""

    run: Run
    value: str
    spread: str
    x: float | None
    y: float | None


@dataclass(frozen=True)
class MetricTrend:
    """A metric over the runs.

    Attributes
    ----------
    metric
        Its name.
    limit
        The latest limit as text, empty if there is none, and `limit_y` where it is.
    points
        One for each run; where it was not measured, without a place.
    line, band
        Paths through the points and around their intervals, in a box of 100 by 100; interrupted where there are none.
    ticks
        Of the vertical axis, counted from the top.
    label
        The picture in words.
    """

    metric: str
    limit: str
    limit_y: float | None
    points: Sequence[TrendPoint]
    line: str
    band: str
    ticks: Sequence[Tick]
    label: str


@dataclass(frozen=True)
class TestTrend:
    """A test over the runs: those metrics that it limits, and all others."""

    # pytest would take the name for a class of tests.
    __test__ = False

    name: str
    outcomes: Sequence[Outcome | None]
    limited: Sequence[MetricTrend]
    others: Sequence[MetricTrend]

    @property
    def metrics(self) -> Sequence[MetricTrend]:
        """All of them."""
        return [*self.limited, *self.others]

    @property
    def steady(self) -> bool:
        """Whether it had the same outcome in all runs."""
        return len(set(self.outcomes)) == 1

    @property
    def last(self) -> Outcome | None:
        """What became of it in the last run."""
        return self.outcomes[-1]


def trend(reports: Sequence[Report]) -> str:
    """Return the page."""
    ordered = sorted(reports, key=_started)
    runs = [Run(number, moment(_started(report))) for number, report in enumerate(ordered, 1)]
    names = dict.fromkeys((test.file, test.name) for report in ordered for test in report.tests)
    by_name = [{(test.file, test.name): test for test in report.tests} for report in ordered]
    tests = [_test_trend(name, [found.get((file, name)) for found in by_name], runs) for file, name in names]
    return rendered(
        "trend.html.j2",
        title=f"Bias trend: {counted(len(tests), 'test')}, {counted(len(runs), 'run')}",
        runs=runs,
        tests=sorted(tests, key=_severity),
        failing=sum(test.last is not None and TONES[test.last] == "bad" for test in tests),
    )


def _started(report: Report) -> str:
    return min((session.started for session in report.sessions), default="")


def _severity(test: TestTrend) -> int:
    """Return what sorts the worst of the last run first, and last what did not run in it."""
    return len(SEVERITY) if test.last is None else SEVERITY.index(test.last)


def _test_trend(name: str, found: Sequence[Result | None], runs: Sequence[Run]) -> TestTrend:
    figures = [{} if test is None else _figures(test) for test in found]
    limits: dict[str, float] = {limit.metric: limit.limit for test in found if test for limit in test.limits}
    metrics = dict.fromkeys([*limits, *(metric for one in figures for metric in one)])
    trends = [
        _metric_trend(metric, [one.get(metric) for one in figures], limits.get(metric), runs) for metric in metrics
    ]
    outcomes = [None if test is None else test.outcome for test in found]
    return TestTrend(name, outcomes, trends[: len(limits)], trends[len(limits) :])


def _figures(test: Result) -> Mapping[str, Interval]:
    details = {} if test.details is None else test.details.metrics
    return {**details, **{limit.metric: limit.observed for limit in test.limits}}


def _metric_trend(
    metric: str, found: Sequence[Interval | None], limit: float | None, runs: Sequence[Run]
) -> MetricTrend:
    known = [one for one in found if one is not None]
    axis = axis_over([limit, *(value for one in known for value in (one.value, one.low, one.high))])
    points = [_point(one, run, len(runs), axis) for one, run in zip(found, runs, strict=True)]
    limit_text = "" if limit is None else f"{limit:g}"
    values = ", ".join(one.value or "not measured" for one in points)
    return MetricTrend(
        metric=shortened(metric, 60),
        limit=limit_text,
        limit_y=None if limit is None else _from_top(axis, limit),
        points=points,
        line=_line(points),
        band=_band(points, found, axis),
        ticks=[Tick(round(100 - tick.at, 1), tick.text) for tick in axis.ticks],
        label=f"{shortened(metric, 60)} over the runs: {values}{f'; limit {limit_text}' if limit_text else ''}",
    )


def _point(found: Interval | None, run: Run, runs: int, axis: Axis) -> TrendPoint:
    if found is None:
        return TrendPoint(run, "", "", None, None)
    if found.value is None:
        return TrendPoint(run, figure(None), "", None, None)
    return TrendPoint(run, figure(found.value), spread(found), _across(run, runs), _from_top(axis, found.value))


def _across(run: Run, runs: int) -> float:
    """Return where a run is; a single one is in the middle."""
    share = (run.number - 1) / (runs - 1) if runs > 1 else 0.5
    return round(_MARGIN + (100 - 2 * _MARGIN) * share, 1)


def _from_top(axis: Axis, value: float) -> float:
    return round(100 - axis.at(value), 1)


def _line(points: Sequence[TrendPoint]) -> str:
    path, drawing = "", False
    for one in points:
        if one.x is not None and one.y is not None:
            path += f"{'L' if drawing else 'M'}{one.x:g} {one.y:g}"
        drawing = one.x is not None
    return path


def _band(points: Sequence[TrendPoint], found: Sequence[Interval | None], axis: Axis) -> str:
    """Return the outline of the intervals: forth along the upper ends, and back along the lower ones."""
    path = ""
    stretch: list[tuple[float, float, float]] = []
    for point, one in zip([*points, None], [*found, None], strict=True):
        if point is not None and point.x is not None and one is not None and None not in (one.low, one.high):
            assert one.low is not None
            assert one.high is not None
            stretch.append((point.x, _from_top(axis, one.high), _from_top(axis, one.low)))
            continue
        corners = [f"{x:g} {high:g}" for x, high, _ in stretch] + [f"{x:g} {low:g}" for x, _, low in reversed(stretch)]
        path += f"M{'L'.join(corners)}z" if corners else ""
        stretch = []
    return path
