"""Charts of cards, as HTML with drawings: beside each bar, and below each curve, are the figures as text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

from pytest_biastransfer.display.axes import Axis, axis_over
from pytest_biastransfer.display.content import Bar, Bars, PlottedCurve, PlottedCurves, WithInterval
from pytest_biastransfer.display.drawings import drawing
from pytest_biastransfer.display.plots import COLORS
from pytest_biastransfer.display.positions import Positions, positions_of, value_text

Escape = Callable[[str], str]

# The box of curves, in units of SVG, with room for the labels of the axes.
_WIDTH, _HEIGHT = 460, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 10, 24
_DASHES: Final = ("none", "6 4", "2 3")
# The size of a bar where its image is shown: the drawing has the width of the column.
_BAR_WIDTH, _BAR_HEIGHT = 160, 16
# Lines of axes are pale, and those of intervals and limits have the colour of the text.
_PALE: Final = 'stroke="currentColor" stroke-opacity=".35"'
_INK: Final = 'stroke="currentColor" stroke-width="1.5"'
_TEXT: Final = 'fill="currentColor" font-size="11"'


def bars_table(chart: Bars, escape: Escape) -> str:
    """Return bars as the rows of a table: the name, the bar, the value and its interval."""
    if not chart.bars:
        return f'<div class="bt-chart"><div class="bt-sub">{escape(chart.axis)}: none</div></div>'
    axis = axis_over(number for bar in chart.bars for number in (bar.value, bar.low, bar.high))
    rows = "".join(_bar_row(bar, axis, chart.signed, escape) for bar in chart.bars)
    others = f'<div class="bt-sub">and {chart.left_out:,} more</div>' if chart.left_out else ""
    return (
        f'<div class="bt-chart"><div class="bt-sub">{escape(chart.axis)}, axis from {axis.low:g} to {axis.high:g}</div>'
        f"<table>{rows}</table>{others}</div>"
    )


def _bar_row(bar: Bar, axis: Axis, signed: bool, escape: Escape) -> str:
    note = f' <span class="bt-sub">{escape(bar.note)}</span>' if bar.note else ""
    return (
        f'<tr><th scope="row" title="{escape(bar.name)}">{escape(bar.name)}{note}</th>'
        f'<td class="bt-plot">{_bar(bar, axis)}</td>'
        f'<td class="bt-number">{number_text(bar.value, signed)}</td>'
        f'<td class="bt-number bt-sub">{interval_text(bar, signed)}</td></tr>'
    )


def _bar(bar: Bar, axis: Axis) -> str:
    zero = axis.at(0.0)
    marks = [f'<line {_PALE} x1="{zero}%" x2="{zero}%" y1="0" y2="16"/>']
    if math.isfinite(bar.value):
        at = axis.at(bar.value)
        left, width = min(zero, at), round(abs(at - zero), 1)
        marks.append(f'<rect x="{left}%" width="{width}%" y="4" height="8" fill="{COLORS[0]}"/>')
    if math.isfinite(bar.low) and math.isfinite(bar.high):
        low, high = axis.at(bar.low), axis.at(bar.high)
        marks.append(f'<line {_INK} x1="{low}%" x2="{high}%" y1="8" y2="8"/>')
        marks += [f'<line {_INK} x1="{end}%" x2="{end}%" y1="4" y2="12"/>' for end in (low, high)]
    return drawing("".join(marks), _BAR_WIDTH, _BAR_HEIGHT)


def number_text(value: float, signed: bool = False) -> str:
    """Return a value with three decimals.

    >>> number_text(0.25), number_text(0.25, signed=True), number_text(math.nan)
    ('0.250', '+0.250', 'undefined')
    """
    if math.isnan(value):
        return "undefined"
    return f"{value:+.3f}" if signed else f"{value:.3f}"


def interval_text(figure: WithInterval, signed: bool = False) -> str:
    """Return the interval of a figure in brackets; empty if it has none."""
    if math.isnan(figure.low) or math.isnan(figure.high):
        return ""
    return f"[{number_text(figure.low, signed)}, {number_text(figure.high, signed)}]"


def curves_figure(chart: PlottedCurves, escape: Escape) -> str:
    """Return curves as a chart with axes and a legend, and their figures as a table to unfold."""
    positions = positions_of(chart.values)
    figures = [figure for curve in chart.curves for figure in curve.points.values()]
    ends = [end for figure in figures for end in (float(figure), figure.low, figure.high)]
    axis = axis_over([*ends, *chart.limits])
    marks = [*_frame(axis, positions, escape), *_limits(chart.limits, axis)]
    for number, curve in enumerate(chart.curves):
        # Curves of the same values would hide each other's intervals.
        shift = 3.0 * (number - (len(chart.curves) - 1) / 2)
        marks += _curve(curve, positions, axis, shift)
    label = escape(f"{chart.axis} by {chart.setting}")
    return (
        f'<figure class="bt-chart"><div class="bt-sub">{label}</div>{_legend(chart, escape)}'
        f"{drawing(''.join(marks), _WIDTH, _HEIGHT, label=label, scales=True)}"
        f"<details><summary>figures</summary><table>{_figure_rows(chart, escape)}</table></details></figure>"
    )


def _x(share: float) -> float:
    return round(_LEFT + 14 + share * (_WIDTH - _LEFT - _RIGHT - 28), 1)


def _y(axis: Axis, value: float) -> float:
    return round(_HEIGHT - _BOTTOM - axis.at(value) / 100 * (_HEIGHT - _TOP - _BOTTOM), 1)


def _frame(axis: Axis, positions: Positions, escape: Escape) -> list[str]:
    marks = []
    for tick in axis.ticks:
        y = round(_HEIGHT - _BOTTOM - tick.at / 100 * (_HEIGHT - _TOP - _BOTTOM), 1)
        marks.append(f'<line {_PALE} x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        marks.append(f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end" {_TEXT}>{tick.text}</text>')
    occupied = -math.inf
    for value in sorted(positions.coordinates, key=positions.share):
        name, x = value_text(value), _x(positions.share(value))
        # Approximately: the width of a character is 6. A label that would touch the one before it is left out.
        half = 3 * len(name) + 4
        if x - half >= occupied:
            marks.append(f'<text x="{x}" y="{_HEIGHT - 6}" text-anchor="middle" {_TEXT}>{escape(name)}</text>')
            occupied = x + half
    return marks


def _limits(limits: Sequence[float], axis: Axis) -> list[str]:
    return [
        f'<line {_INK} stroke-dasharray="6 4" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
        for y in (_y(axis, limit) for limit in limits)
    ]


def _curve(curve: PlottedCurve, positions: Positions, axis: Axis, shift: float) -> list[str]:
    color, marks, line = COLORS[curve.color % len(COLORS)], [], []
    for value in sorted(curve.points, key=positions.share):
        figure = curve.points[value]
        if math.isnan(float(figure)):
            continue
        x, y = round(_x(positions.share(value)) + shift, 1), _y(axis, float(figure))
        line.append(f"{x},{y}")
        if math.isfinite(figure.low) and math.isfinite(figure.high):
            ends = f'y1="{_y(axis, figure.low)}" y2="{_y(axis, figure.high)}"'
            marks.append(f'<line x1="{x}" x2="{x}" {ends} stroke="{color}" stroke-width="1.5"/>')
        marks.append(f'<circle cx="{x}" cy="{y}" r="3.5" fill="{color}"/>')
    dashes = _DASHES[curve.style % len(_DASHES)]
    path = f'fill="none" stroke="{color}" stroke-width="2" stroke-dasharray="{dashes}"'
    return [f'<polyline points="{" ".join(line)}" {path}/>', *marks]


def _legend(chart: PlottedCurves, escape: Escape) -> str:
    keys = [(curve.name, COLORS[curve.color % len(COLORS)], 0) for curve in chart.curves if curve.name]
    keys += [(name, "currentColor", style) for style, name in enumerate(chart.styles)]
    keys += [(f"limit {limit:g}", "currentColor", 1) for limit in chart.limits]
    entries = " ".join(f"<span>{_key(color, style)}{escape(name)}</span>" for name, color, style in keys)
    return f'<div class="bt-legend">{entries}</div>' if entries else ""


def _key(color: str, style: int) -> str:
    """Return the line of a legend."""
    dashes = _DASHES[style % len(_DASHES)]
    line = f'<line x1="0" x2="26" y1="4" y2="4" stroke="{color}" stroke-width="2" stroke-dasharray="{dashes}"/>'
    return drawing(line, 26, 8, scales=True)


def _figure_rows(chart: PlottedCurves, escape: Escape) -> str:
    rows = []
    for curve in chart.curves:
        style = chart.styles[curve.style] if chart.styles else ""
        for value, figure in curve.points.items():
            name = ", ".join(filter(None, (curve.name, style, f"{chart.setting} {value_text(value)}")))
            rows.append(
                f'<tr><th scope="row">{escape(name)}</th><td class="bt-number">{number_text(float(figure))}</td>'
                f'<td class="bt-number bt-sub">{interval_text(figure)}</td></tr>'
            )
    return "".join(rows)
