"""The charts of a test. Each is drawn beside the rows of a table, and the rows have the same figures as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_biastransfer.display.axes import Axis, Tick, axis_over
from pytest_biastransfer.metrics.catalogue import base_of
from pytest_biastransfer.metrics.ladder_measurement import strength_name
from pytest_biastransfer.reporting.curves import Curve, Curves
from pytest_biastransfer.reporting.figures import Interval, Limit
from pytest_biastransfer.reporting.html.wording import figure, percentage, spread
from pytest_biastransfer.reporting.report import Details, Group, Move, Result, Shares
from pytest_biastransfer.reporting.wording import counted, shortened

# The most characters of a name beside a chart, and the most moves of a chart.
NAME = 60
MOVES = 10

# The mark of a row: a filled dot, a hollow dot, a tick, or a line through all rows.
Mark = Literal["observed", "control", "baseline", "limit"]


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
class Bar:
    """The row of a class: its shares before and after as texts, and whether its share grew most."""

    name: str
    before: str
    after: str
    most: bool


@dataclass(frozen=True)
class SharesPlot:
    """The shares of a model's predicted classes before and after: two bars, one above the other, in each row.

    `before` and `after` are SVG paths with a stroke per bar, in a box that is 100 wide and has a height of 1 per class.
    """

    title: str
    bars: Sequence[Bar]
    before: str
    after: str


@dataclass(frozen=True)
class MovesPlot:
    """The most frequent moves; `path` has a stroke per bar, as in `SharesPlot`."""

    moves: Sequence[Move]
    path: str
    caption: str


@dataclass(frozen=True)
class _Row:
    label: str
    mark: Mark
    interval: Interval
    size: int | None = None
    judged: bool = True


def limit_plot(limit: Limit, test: Result) -> IntervalPlot:
    """Return the observed metric, the limit, the control and the baseline on one axis."""
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
    return _interval_plot(rows, limit.limit)


def groups_plot(groups: Sequence[Group]) -> IntervalPlot:
    """Return the metric of each group on one axis, each above the control model's if there is one."""
    rows = []
    for group in groups:
        rows.append(_Row(shortened(group.group, NAME), "observed", group.observed, group.size, group.judged))
        rows += [_Row("control", "control", group.control)] if group.control is not None else []
    return _interval_plot(rows, None)


def curve_plot(curve: Curve, curves: Curves, test: Result) -> IntervalPlot:
    """Return a metric at the strengths of a ladder on one axis, with its limit, each above the baseline's."""
    rows = []
    accepted = {change.at: change.before for change in test.changes if change.metric == curve.metric}
    for strength, observed in zip(curves.strengths, curve.observed, strict=True):
        if observed is None:
            continue
        rows.append(_Row(strength_name(curves.field, strength), "observed", observed))
        before = accepted.get(rows[-1].label)
        rows += [_Row("baseline", "baseline", _value(before))] if before is not None else []
    rows += [_Row("limit", "limit", _value(curve.limit))] if curve.limit is not None else []
    return _interval_plot(rows, curve.limit)


def small_axis(limits: Sequence[Limit]) -> Axis:
    """Return the axis that the rows of the table of all tests share."""
    return axis_over(value for limit in limits for value in (limit.limit, *_positions(limit.observed)))


def small_plot(limit: Limit, axis: Axis) -> IntervalPlot:
    """Return the chart of a limit in the table of all tests: without texts, on an axis that all rows share."""
    return IntervalPlot([_point(_Row("", "observed", limit.observed), axis, 50.0)], axis.at(limit.limit), (), None)


def shares_plots(details: Details) -> Sequence[SharesPlot]:
    """Return the distributions of the predicted classes of the source, the transferred and the control model."""
    axis = axis_over(share for shares in details.shares for share in (*shares.before, *shares.after))
    return [_shares_plot(shares, axis) for shares in details.shares]


def moves_plot(moves: Sequence[Move], flips: int) -> MovesPlot:
    """Return the most frequent moves with a bar each; `flips` is the number of all flipped images."""
    shown = moves[:MOVES]
    axis = axis_over(float(move.images) for move in shown)
    rows = [Move(shortened(move.before, NAME), shortened(move.after, NAME), move.images) for move in shown]
    path = _bars([axis.at(move.images) for move in shown], 0.5)
    is_complete = len(shown) == len(moves) and sum(move.images for move in shown) == flips
    extent = "all" if is_complete else "the most frequent"
    return MovesPlot(rows, path, f"{extent} of {counted(flips, 'flip')}")


def _interval_plot(rows: Sequence[_Row], limit: float | None) -> IntervalPlot:
    axis = axis_over(value for row in rows for value in _positions(row.interval))
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


_ROLES: Mapping[str, str] = {
    "source": "Source",
    "transferred": "Transferred",
    "control": "Control",
    "model": "Model",
}


def _shares_plot(shares: Shares, axis: Axis) -> SharesPlot:
    rows = _with_others(shares)
    most = max((after - before for _, before, after in rows), default=0.0)
    bars = [
        Bar(shortened(name, NAME), percentage(before), percentage(after), after - before == most > 0)
        for name, before, after in rows
    ]
    return SharesPlot(
        title=f"{_ROLES[shares.role]}: {shortened(shares.model, NAME)}",
        bars=bars,
        # The row of all other classes has no bar: if they are many, it would dwarf the bars of the single classes.
        before=_bars([axis.at(share) for share in shares.before], 0.3),
        after=_bars([axis.at(share) for share in shares.after], 0.7),
    )


def _with_others(shares: Shares) -> list[tuple[str, float, float]]:
    rows = list(zip(shares.classes, shares.before, shares.after, strict=True))
    if shares.others is not None:
        rows.append(("all other classes", shares.others[0], shares.others[1]))
    return rows


def _bars(widths: Sequence[float], y: float) -> str:
    """Return one path with a stroke per row, each row 1 high: many times shorter than an SVG element per bar."""
    rows = [(row, width) for row, width in enumerate(widths) if width > 0]
    return "".join(f"M0 {_brief(row + y)}h{_brief(width)}" for row, width in rows)


def _brief(number: float) -> str:
    # SVG accepts a number without its leading zero. A page has thousands of them.
    return f"{number:g}".removeprefix("0") or "0"
