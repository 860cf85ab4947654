"""The page of several runs: each metric of each test, drawn over the runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from pytest_biastransfer.display.axes import Axis, Tick, axis_over
from pytest_biastransfer.reporting.figures import Interval
from pytest_biastransfer.reporting.html.anchors import anchors
from pytest_biastransfer.reporting.html.glossary import glossary
from pytest_biastransfer.reporting.html.headline import subjects
from pytest_biastransfer.reporting.html.states import outcome_rank
from pytest_biastransfer.reporting.html.templates import rendered
from pytest_biastransfer.reporting.html.wording import TONES, figure, moment, spread
from pytest_biastransfer.reporting.outcomes import Outcome
from pytest_biastransfer.reporting.report import Report, Result
from pytest_biastransfer.reporting.wording import counted, shortened

# Space at the left and the right, so that the dots of the first and the last run are not cut in half.
_MARGIN: Final = 4.0


@dataclass(frozen=True)
class Run:
    """A run: its number from 1, its start, its commit, its file and job, and its models; empty where not known."""

    number: int
    started: str
    commit: str = ""
    label: str = ""
    models: str = ""

    @property
    def title(self) -> str:
        """What it is of, in a line.

        >>> Run(1, "2025-05-04 03:02", "9a15309c0c", models="MobileNetV2").title
        '2025-05-04 03:02, commit 9a15309c0c, MobileNetV2'
        """
        commit = f"commit {self.commit}" if self.commit else ""
        return ", ".join(filter(None, (self.started, commit, self.models)))


@dataclass(frozen=True)
class TrendPoint:
    """A metric in a run: its texts, and its position in per cent from the left and from the top."""

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
    limit, limit_y
        The latest limit as text, and its position; empty and None if there is none.
    points
        A point per run; without a position if the metric was not measured in that run.
    line, band
        SVG paths through the points and around their intervals, in a box of 100 by 100; interrupted at runs without a
        point.
    ticks
        The labelled values of the vertical axis, with positions from the top.
    label
        A description of the chart for screen readers.
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
    """A test over the runs: its name and address, its outcomes, the metrics that it limits, and all others."""

    # pytest would take the name for a class of tests.
    __test__ = False

    name: str
    anchor: str
    outcomes: Sequence[Outcome | None]
    limited: Sequence[MetricTrend]
    others: Sequence[MetricTrend]

    @property
    def metrics(self) -> Sequence[MetricTrend]:
        """All metrics, those with a limit first."""
        return [*self.limited, *self.others]

    @property
    def steady(self) -> bool:
        """Whether it had the same outcome in all runs."""
        return len(set(self.outcomes)) == 1

    @property
    def last(self) -> Outcome | None:
        """Its outcome in the last run; None if it did not run there."""
        return self.outcomes[-1]


def trend(reports: Sequence[Report]) -> str:
    """Return the page."""
    ordered = sorted(reports, key=_started)
    runs = [_run(number, report) for number, report in enumerate(ordered, 1)]
    names = dict.fromkeys((test.file, test.name) for report in ordered for test in report.tests)
    # Two files may have tests of the same name.
    by_name = [{(test.file, test.name): test for test in report.tests} for report in ordered]
    addresses = anchors([name for _, name in names])
    tests = [
        _test_trend(name, address, [results.get((file, name)) for results in by_name], runs)
        for (file, name), address in zip(names, addresses, strict=True)
    ]
    return rendered(
        "trend.html.j2",
        glossary([test for report in ordered for test in report.tests]),
        title=f"Bias trend: {counted(len(tests), 'test')}, {counted(len(runs), 'run')}",
        runs=runs,
        tests=sorted(tests, key=_severity),
        failing=sum(test.last is not None and TONES[test.last] == "bad" for test in tests),
    )


def _run(number: int, report: Report) -> Run:
    facts = {fact.name: fact.text for fact in subjects(report)}
    labels = dict.fromkeys(session.label for session in report.sessions)
    return Run(
        number,
        moment(_started(report)),
        commit=facts.get("commit", ""),
        label="; ".join(filter(None, labels)),
        models=facts.get("model", ""),
    )


def _started(report: Report) -> str:
    return min((session.started for session in report.sessions), default="")


def _severity(test: TestTrend) -> tuple[bool, int]:
    """Return a sort key: the worst outcome of the last run comes first, and tests that did not run there come last."""
    return (True, 0) if test.last is None else (False, outcome_rank(test.last))


def _test_trend(name: str, address: str, results: Sequence[Result | None], runs: Sequence[Run]) -> TestTrend:
    # A test may be of one of a run's models.
    runs = [_of_model(run, result) for run, result in zip(runs, results, strict=True)]
    intervals = [{} if result is None else result.intervals for result in results]
    # A later run replaces the limit of an earlier one.
    limits: dict[str, float] = {limit.metric: limit.limit for result in results if result for limit in result.limits}
    metrics = dict.fromkeys([*limits, *(metric for by_metric in intervals for metric in by_metric)])
    trends = [
        _metric_trend(metric, [by_metric.get(metric) for by_metric in intervals], limits.get(metric), runs)
        for metric in metrics
    ]
    outcomes = [None if result is None else result.outcome for result in results]
    return TestTrend(name, address, outcomes, trends[: len(limits)], trends[len(limits) :])


def _of_model(run: Run, result: Result | None) -> Run:
    if result is None or result.details is None:
        return run
    return replace(run, models=shortened(result.details.model, 80))


def _metric_trend(
    metric: str, intervals: Sequence[Interval | None], limit: float | None, runs: Sequence[Run]
) -> MetricTrend:
    measured = [interval for interval in intervals if interval is not None]
    values = (value for interval in measured for value in (interval.value, interval.low, interval.high))
    axis = axis_over([limit, *values])
    points = [_point(interval, run, len(runs), axis) for interval, run in zip(intervals, runs, strict=True)]
    limit_text = "" if limit is None else f"{limit:g}"
    texts = ", ".join(point.value or "not measured" for point in points)
    return MetricTrend(
        metric=shortened(metric, 60),
        limit=limit_text,
        limit_y=None if limit is None else axis.from_top(limit),
        points=points,
        line=_line(points),
        band=_band(points, intervals, axis),
        ticks=axis.ticks_from_top,
        label=f"{shortened(metric, 60)} over the runs: {texts}{f'; limit {limit_text}' if limit_text else ''}",
    )


def _point(interval: Interval | None, run: Run, runs: int, axis: Axis) -> TrendPoint:
    if interval is None:
        return TrendPoint(run, "", "", None, None)
    if interval.value is None:
        return TrendPoint(run, figure(None), "", None, None)
    x, y = _from_left(run, runs), axis.from_top(interval.value)
    return TrendPoint(run, figure(interval.value), spread(interval), x, y)


def _from_left(run: Run, runs: int) -> float:
    """Return the position of a run; a single run is in the middle."""
    share = (run.number - 1) / (runs - 1) if runs > 1 else 0.5
    return round(_MARGIN + (100 - 2 * _MARGIN) * share, 1)


def _line(points: Sequence[TrendPoint]) -> str:
    path, drawing = "", False
    for point in points:
        if point.x is not None and point.y is not None:
            path += f"{'L' if drawing else 'M'}{point.x:g} {point.y:g}"
        drawing = point.x is not None
    return path


def _band(points: Sequence[TrendPoint], intervals: Sequence[Interval | None], axis: Axis) -> str:
    """Return the outline of the intervals: to the right along the upper ends, and back along the lower ends."""
    path = ""
    stretch: list[tuple[float, float, float]] = []
    # The pair of Nones at the end closes the last stretch.
    for point, interval in zip([*points, None], [*intervals, None], strict=True):
        if point is not None and point.x is not None and interval is not None:
            low, high = interval.low, interval.high
            if low is not None and high is not None:
                stretch.append((point.x, axis.from_top(high), axis.from_top(low)))
                continue
        corners = [f"{x:g} {high:g}" for x, high, _ in stretch] + [f"{x:g} {low:g}" for x, _, low in reversed(stretch)]
        path += f"M{'L'.join(corners)}z" if corners else ""
        stretch = []
    return path
