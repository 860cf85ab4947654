"""Metrics with their intervals as dots and lines. They are drawn beside rows that have the same figures as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pytest_biastransfer.display.axes import Axis, Tick, axis_over
from pytest_biastransfer.metrics.catalogue import base_of
from pytest_biastransfer.metrics.ladder_measurement import strength_name
from pytest_biastransfer.reporting.curves import Curve, Curves
from pytest_biastransfer.reporting.figures import Interval, Limit
from pytest_biastransfer.reporting.findings import Finding
from pytest_biastransfer.reporting.html.wording import figure, spread
from pytest_biastransfer.reporting.report import Group, Result
from pytest_biastransfer.reporting.wording import shortened

# The most characters of a name beside a chart.
NAME: Final = 60

# The mark of a row: a filled dot, a hollow dot, a small dot, or a line through all rows; and those of two reports.
Mark = Literal["observed", "control", "baseline", "limit", "earlier", "later"]


@dataclass(frozen=True)
class Point:
    """A row of an interval plot: its texts, and the positions of its dot and of the ends of its interval."""

    label: str
    mark: Mark
    value: str
    spread: str
    at: float | None
    low: float | None
    high: float | None
    y: float


@dataclass(frozen=True)
class IntervalPlot:
    """Metrics with their intervals on one axis.

    Attributes
    ----------
    points
        The rows.
    limit
        The position of the limit's line; None if there is no limit.
    ticks
        The labelled values of the axis.
    zero
        The position of 0; None if it is the left end of the axis.
    """

    points: Sequence[Point]
    limit: float | None
    ticks: Sequence[Tick]
    zero: float | None


@dataclass(frozen=True)
class _Row:
    label: str
    mark: Mark
    interval: Interval
    size: int | None = None
    judged: bool = True


def shared_axis(test: Result) -> Axis:
    """Return the axis that all plots of a test share: its metrics are shares, and differences of shares."""
    rows = [row for limit in test.limits for row in _limit_rows(limit, test)]
    rows += _group_rows(test.details.groups) if test.details is not None else []
    rows += [row for finding in test.findings for row in _finding_rows(finding)]
    curves = test.curves
    rows += [row for curve in curves.curves for row in _curve_rows(curve, curves, test)] if curves is not None else []
    return axis_over(value for row in rows for value in _positions(row.interval))


def limit_plot(limit: Limit, test: Result, axis: Axis) -> IntervalPlot:
    """Return the observed metric, the limit, the control and the baseline on one axis."""
    return _interval_plot(_limit_rows(limit, test), limit.limit, axis)


def groups_plot(groups: Sequence[Group], axis: Axis) -> IntervalPlot:
    """Return the metric of each group on one axis, each above the control model's if there is one."""
    return _interval_plot(_group_rows(groups), None, axis)


def curve_plot(curve: Curve, curves: Curves, test: Result, axis: Axis) -> IntervalPlot:
    """Return a metric at the strengths of a ladder on one axis, with its limit, each above the baseline's."""
    return _interval_plot(_curve_rows(curve, curves, test), curve.limit, axis)


def finding_plot(finding: Finding, axis: Axis) -> IntervalPlot:
    """Return a figure in several cases on one axis, with its limit."""
    return _interval_plot(_finding_rows(finding), finding.limit, axis)


def _finding_rows(finding: Finding) -> list[_Row]:
    rows = [_Row(shortened(name, NAME), "observed", interval) for name, interval in finding.cases.items()]
    return rows + ([_Row("limit", "limit", _value(finding.limit))] if finding.limit is not None else [])


def _limit_rows(limit: Limit, test: Result) -> list[_Row]:
    base = base_of(limit.metric)
    rows = [_Row("observed", "observed", limit.observed), _Row("limit", "limit", _value(limit.limit))]
    own = test.details.metrics.get(base) if test.details is not None else None
    if base != limit.metric and own is not None:
        # An excess is a difference. The plot shows both of its terms too.
        rows.append(_Row(f"{base}, here", "control", own))
    if limit.control is not None:
        rows.append(_Row("control" if base == limit.metric else f"{base}, control", "control", limit.control))
    changes = [change for change in test.changes if change.metric == limit.metric and change.at == limit.at]
    rows += [_Row("baseline", "baseline", _value(change.before)) for change in changes]
    return rows


def _group_rows(groups: Sequence[Group]) -> list[_Row]:
    rows = []
    for group in groups:
        rows.append(_Row(shortened(group.group, NAME), "observed", group.observed, group.size, group.judged))
        rows += [_Row("control", "control", group.control)] if group.control is not None else []
    return rows


def _curve_rows(curve: Curve, curves: Curves, test: Result) -> list[_Row]:
    rows = []
    accepted = accepted_values(curve, test)
    for strength, observed in zip(curves.strengths, curve.observed, strict=True):
        if observed is None:
            continue
        rows.append(_Row(strength_name(curves.field, strength), "observed", observed))
        before = accepted.get(rows[-1].label)
        rows += [_Row("baseline", "baseline", _value(before))] if before is not None else []
    rows += [_Row("limit", "limit", _value(curve.limit))] if curve.limit is not None else []
    return rows


def accepted_values(curve: Curve, test: Result) -> dict[str, float]:
    """Return the baseline's values of a curve by the name of the strength."""
    return {change.at: change.before for change in test.changes if change.metric == curve.metric}


def small_axis(limits: Sequence[Limit]) -> Axis:
    """Return the axis that the rows of the table of all tests share."""
    return axis_over(value for limit in limits for value in (limit.limit, *_positions(limit.observed)))


def small_plot(limit: Limit, axis: Axis) -> IntervalPlot:
    """Return the chart of a limit in the table of all tests: without texts, on an axis that all rows share."""
    return IntervalPlot([_point(_Row("", "observed", limit.observed), axis, 50.0)], axis.at(limit.limit), (), None)


def points_of_pair(before: Interval | None, now: Interval | None, axis: Axis) -> Sequence[Point]:
    """Return a metric of two reports, the earlier one above the later one, as far as they measured it."""
    rows: Sequence[tuple[Mark, Interval | None, float]] = (("earlier", before, 30.0), ("later", now, 70.0))
    return [_point(_Row("", mark, interval), axis, y) for mark, interval, y in rows if interval is not None]


def _interval_plot(rows: Sequence[_Row], limit: float | None, axis: Axis) -> IntervalPlot:
    points = [_point(row, axis, round(100 * (number + 0.5) / len(rows), 1)) for number, row in enumerate(rows)]
    zero = axis.at(0.0)
    return IntervalPlot(points, None if limit is None else axis.at(limit), axis.ticks, zero if zero > 0 else None)


def _point(row: _Row, axis: Axis, y: float) -> Point:
    at, low, high = (None if value is None else axis.at(value) for value in _positions(row.interval))
    # A limit is shown as the marker has it; measured figures have three decimals.
    value = f"{row.interval.value:g}" if row.mark == "limit" else figure(row.interval.value)
    size = "" if row.size is None else f"n = {row.size:,}"
    return Point(
        label=row.label,
        mark=row.mark,
        value=value if row.judged else f"{value}, too few",
        spread=", ".join(filter(None, (spread(row.interval), size))),
        at=at,
        low=low,
        high=high,
        y=y,
    )


def _positions(interval: Interval) -> tuple[float | None, float | None, float | None]:
    return interval.value, interval.low, interval.high


def _value(value: float) -> Interval:
    """Return a value without an interval."""
    return Interval(value, None, None, None, 0)
