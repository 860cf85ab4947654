"""The curve of a ladder: a metric over the strengths of an intervention, with its intervals, limit and baseline."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pytest_biastransfer.display.axes import Axis, Tick
from pytest_biastransfer.metrics.ladder_measurement import strength_name
from pytest_biastransfer.reporting.curves import Curve, Curves
from pytest_biastransfer.reporting.html.charts import accepted_values
from pytest_biastransfer.reporting.html.wording import figure, spread
from pytest_biastransfer.reporting.report import Result

# Strengths that are nearer to each other than this, in per cent of the axis, would have labels on top of each other.
_LEAST_DISTANCE: Final = 9.0


@dataclass(frozen=True)
class CurvePoint:
    """A measured strength: its position in per cent, from the left and from the top, and what a tooltip says of it."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class LineChart:
    """A curve in a box of 100 x 100.

    Attributes
    ----------
    points
        The measured strengths.
    line, band, baseline
        SVG paths: through the points, around their intervals, and through the accepted values.
    limit
        The distance of the limit from the top; None if there is no limit at each strength.
    strengths, ticks
        The labelled values of the horizontal and of the vertical axis; the latter are at distances from the top.
    is_to_scale
        Whether distances between strengths are those between their labels.
    """

    points: Sequence[CurvePoint]
    line: str
    band: str
    baseline: str
    limit: float | None
    strengths: Sequence[Tick]
    ticks: Sequence[Tick]
    is_to_scale: bool


def line_chart(curve: Curve, curves: Curves, test: Result, axis: Axis) -> LineChart | None:
    """Return the chart of a curve; None where fewer than two strengths have a value."""
    at, is_to_scale = _positions(curves.strengths)
    names = [strength_name(curves.field, strength) for strength in curves.strengths]
    rows = [
        (x, name, interval)
        for x, name, interval in zip(at, names, curve.observed, strict=True)
        if interval is not None and interval.value is not None
    ]
    if len(rows) < 2:
        return None
    points = [
        CurvePoint(x, axis.from_top(interval.value or 0.0), f"{name}: {figure(interval.value)} ({spread(interval)})")
        for x, name, interval in rows
    ]
    ends = [(x, interval.low, interval.high) for x, _, interval in rows]
    intervals = [(x, low, high) for x, low, high in ends if low is not None and high is not None]
    outline = [(x, axis.from_top(high)) for x, _, high in intervals]
    outline += [(x, axis.from_top(low)) for x, low, _ in reversed(intervals)]
    accepted = accepted_values(curve, test)
    before = [(x, axis.from_top(accepted[name])) for x, name in zip(at, names, strict=True) if name in accepted]
    return LineChart(
        points=points,
        line=_path([(point.x, point.y) for point in points]),
        band=f"{_path(outline)}z" if len(intervals) > 1 else "",
        baseline=_path(before),
        limit=None if curve.limit is None else axis.from_top(curve.limit),
        strengths=[Tick(x, f"{strength:g}") for x, strength in zip(at, curves.strengths, strict=True)],
        ticks=axis.ticks_from_top,
        is_to_scale=is_to_scale,
    )


def _positions(strengths: Sequence[float]) -> tuple[Sequence[float], bool]:
    """Return the position of each strength, from 0 to 100, and whether their distances are to scale.

    Where labels would be on top of each other, all distances are equal.
    """
    least, most = min(strengths), max(strengths)
    if most > least:
        positions = [round(100 * (strength - least) / (most - least), 1) for strength in strengths]
        ordered = sorted(positions)
        if min(after - before for before, after in itertools.pairwise(ordered)) >= _LEAST_DISTANCE:
            return positions, True
    last = max(len(strengths) - 1, 1)
    return [round(100 * number / last, 1) for number in range(len(strengths))], False


def _path(corners: Sequence[tuple[float, float]]) -> str:
    return "".join(f"{'L' if number else 'M'}{x:g} {y:g}" for number, (x, y) in enumerate(corners))
