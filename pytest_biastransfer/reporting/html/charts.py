"""The pictures of a test beside the rows of tables: each row has its words and figures, the picture is for the eye."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_biastransfer.metrics.catalogue import base_of
from pytest_biastransfer.reporting.figures import Interval, Limit
from pytest_biastransfer.reporting.html.axes import Axis, Tick, axis_over
from pytest_biastransfer.reporting.html.wording import figure, percentage, spread
from pytest_biastransfer.reporting.report import Details, Group, Move, Result, Shares
from pytest_biastransfer.reporting.wording import counted, shortened

# Of names beside pictures.
NAME = 60
MOVES = 10

# What a row is marked by: a filled dot, a hollow one, a tick, or a line through all rows.
Mark = Literal["observed", "control", "baseline", "limit"]


@dataclass(frozen=True)
class Point:
    """A row of an interval plot: its words, and where its dot, and the ends of its interval, are."""

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
    """Figures with their intervals on one axis.

    Attributes
    ----------
    points
        The rows.
    limit
        Where the line is that they must not cross; None if there is none.
    ticks
        Of the axis.
    zero
        Where 0 is, where that is not the axis' left end.
    """

    points: Sequence[Point]
    limit: float | None
    ticks: Sequence[Tick]
    zero: float | None


@dataclass(frozen=True)
class Bar:
    """A class' row: its shares before and after as texts, and whether it gained most."""

    name: str
    before: str
    after: str
    most: bool


@dataclass(frozen=True)
class SharesPlot:
    """A model's predicted classes before and after: one bar above the other in each row.

    `before` and `after` are paths with a stroke for each bar, in a box that is 100 wide and 1 high for each class.
    """

    title: str
    bars: Sequence[Bar]
    before: str
    after: str


@dataclass(frozen=True)
class MovesPlot:
    """The most frequent moves; `path` has a stroke for each bar, as in `SharesPlot`."""

    moves: Sequence[Move]
    path: str
    caption: str


@dataclass(frozen=True)
class _Row:
    label: str
    mark: Mark
    found: Interval
    size: int | None = None
    judged: bool = True


def limit_plot(limit: Limit, test: Result) -> IntervalPlot:
    """Return what was observed, the limit, the control and the baseline on one axis."""
    base = base_of(limit.metric)
    rows = [_Row("observed", "observed", limit.observed), _Row("limit", "limit", _value(limit.limit))]
    own = test.details.metrics.get(base) if test.details is not None else None
    if base != limit.metric and own is not None:
        # An excess is a difference: beside it are the two figures that it is the difference of.
        rows.append(_Row(f"{base}, here", "control", own))
    if limit.control is not None:
        rows.append(_Row("control" if base == limit.metric else f"{base}, control", "control", limit.control))
    rows += [_Row("baseline", "baseline", _value(one.before)) for one in test.changes if one.metric == limit.metric]
    return _interval_plot(rows, limit.limit)


def groups_plot(groups: Sequence[Group]) -> IntervalPlot:
    """Return the figure of each group on one axis, each above that of the control model where there is one."""
    rows = []
    for one in groups:
        rows.append(_Row(shortened(one.group, NAME), "observed", one.observed, one.size, one.judged))
        rows += [_Row("control", "control", one.control)] if one.control is not None else []
    return _interval_plot(rows, None)


def small_axis(limits: Sequence[Limit]) -> Axis:
    """Return the axis that the rows of the table of all tests share."""
    return axis_over(value for one in limits for value in (one.limit, *_ends(one.observed)))


def small_plot(limit: Limit, axis: Axis) -> IntervalPlot:
    """Return the picture of a limit in the table of all tests: without words, on an axis that all rows share."""
    return IntervalPlot([_point(_Row("", "observed", limit.observed), axis, 50.0)], axis.at(limit.limit), (), None)


def shares_plots(details: Details) -> Sequence[SharesPlot]:
    """Return the distributions of the predicted classes of the source, the transferred and the control model."""
    axis = axis_over(value for one in details.shares for value in (*one.before, *one.after))
    return [_shares_plot(one, axis) for one in details.shares]


def moves_plot(moves: Sequence[Move], flips: int) -> MovesPlot:
    """Return the moves with a bar for each."""
    shown = moves[:MOVES]
    axis = axis_over(float(move.images) for move in shown)
    named = [Move(shortened(one.before, NAME), shortened(one.after, NAME), one.images) for one in shown]
    path = _bars([axis.at(move.images) for move in shown], 0.5)
    which = "all" if len(shown) == len(moves) and sum(one.images for one in shown) == flips else "the most frequent"
    return MovesPlot(named, path, f"{which} of {counted(flips, 'flip')}")


def _interval_plot(rows: Sequence[_Row], limit: float | None) -> IntervalPlot:
    axis = axis_over(value for row in rows for value in _ends(row.found))
    points = [_point(row, axis, round(100 * (place + 0.5) / len(rows), 1)) for place, row in enumerate(rows)]
    zero = axis.at(0.0)
    return IntervalPlot(points, None if limit is None else axis.at(limit), axis.ticks, zero if zero > 0 else None)


def _point(row: _Row, axis: Axis, y: float) -> Point:
    at, low, high = (None if value is None else axis.at(value) for value in _ends(row.found))
    value = f"{row.found.value:g}" if row.mark == "limit" else figure(row.found.value)
    size = "" if row.size is None else f"n = {row.size:,}"
    return Point(
        label=row.label,
        mark=row.mark,
        value=value if row.judged else f"{value}, too few",
        spread=", ".join(filter(None, (spread(row.found), size))),
        at=at,
        low=low,
        high=high,
        y=y,
    )


def _ends(found: Interval) -> tuple[float | None, float | None, float | None]:
    return found.value, found.low, found.high


def _value(value: float) -> Interval:
    return Interval(value, None, None, None, 0)


_ROLES: Mapping[str, str] = {
    "source": "Source",
    "transferred": "Transferred",
    "control": "Control",
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
        # All other classes have none: where they are many, theirs would dwarf those that tell something.
        before=_bars([axis.at(share) for share in shares.before], 0.3),
        after=_bars([axis.at(share) for share in shares.after], 0.7),
    )


def _with_others(shares: Shares) -> list[tuple[str, float, float]]:
    rows = list(zip(shares.classes, shares.before, shares.after, strict=True))
    if shares.others is not None:
        rows.append(("all other classes", shares.others[0], shares.others[1]))
    return rows


def _bars(widths: Sequence[float], y: float) -> str:
    """Return one path with a stroke in each row, which are 1 high: many times shorter than an element for each."""
    rows = [(row, width) for row, width in enumerate(widths) if width > 0]
    return "".join(f"M0 {_brief(row + y)}h{_brief(width)}" for row, width in rows)


def _brief(number: float) -> str:
    return f"{number:g}".removeprefix("0") or "0"
