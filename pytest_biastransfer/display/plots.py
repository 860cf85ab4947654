"""Charts as plots of matplotlib, which is imported when one is drawn."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.display.content import Bars, Chart, PlottedCurve, PlottedCurves
from pytest_biastransfer.display.positions import Positions, positions_of, value_text
from pytest_biastransfer.errors import ReportError
from pytest_biastransfer.optional_dependencies import need

if TYPE_CHECKING:
    from pytest_biastransfer.display.content import Content

EXTRA: Final = "report"
# Paul Tol's muted scheme, which people with colour-blindness can tell apart.
COLORS: Final = ("#4477aa", "#cc6677", "#228833", "#aa7711", "#aa4499", "#337799", "#999933", "#b05577")
STYLES: Final = ("-", "--", ":")
# Characters of a line of the title.
_TITLE: Final = 70
_INCHES_A_BAR: Final = 0.3
_WIDTH: Final = 7.0
_POINTS_APART: Final = 3.0


def draw(chart: Chart, axes: Any) -> None:
    """Draw a chart into axes of matplotlib."""
    if isinstance(chart, Bars):
        _draw_bars(chart, axes)
    else:
        _draw_curves(chart, axes)


def require_axes(axes: object, result: str) -> None:
    """Raise `ReportError` for what is neither axes of matplotlib nor None."""
    if axes is not None and not isinstance(axes, need("matplotlib.axes", EXTRA, "plot()").Axes):
        raise ReportError(f"{result}.plot(axes={axes!r:.60}), expected axes of matplotlib, such as plt.gca()")


def new_axes(chart: Chart) -> Any:
    """Return axes in a new figure of pyplot, which notebooks show."""
    size = (_WIDTH, _height(chart))
    return need("matplotlib.pyplot", EXTRA, "plot()").subplots(figsize=size, layout="constrained")[1]


def save_plot(content: Content, path: Path) -> None:
    """Write the charts of a result, one below the other, as ``.png``, ``.svg`` or ``.pdf``.

    The same result gives the same bytes, so that a committed plot has no empty diffs.

    Raises
    ------
    SpecError
        If matplotlib is not installed.
    """
    charts = list(content.charts.values())
    # Not one of pyplot, which would keep it and may need a screen.
    figure = need("matplotlib.figure", EXTRA, str(path)).Figure(
        figsize=(_WIDTH, sum(map(_height, charts))), layout="constrained"
    )
    shares = len({chart.setting for chart in charts if isinstance(chart, PlottedCurves)}) == 1
    shares = shares and all(isinstance(chart, PlottedCurves) for chart in charts)
    ratios = {"height_ratios": list(map(_height, charts))}
    panels = figure.subplots(len(charts), sharex=shares, squeeze=False, gridspec_kw=ratios)[:, 0]
    for chart, axes in zip(charts, panels, strict=True):
        draw(chart, axes)
        if shares and axes is not panels[-1]:
            axes.set_xlabel("")
    figure.suptitle("\n".join(textwrap.wrap(content.heading, _TITLE)), fontsize="medium")
    with need("matplotlib", EXTRA, str(path)).rc_context({"svg.hashsalt": "pytest-biastransfer"}):
        figure.savefig(path, metadata=_undated(path))


def _height(chart: Chart) -> float:
    return 1.2 + _INCHES_A_BAR * len(chart.bars) if isinstance(chart, Bars) else 3.0


def _undated(path: Path) -> Mapping[str, None]:
    """Return metadata that leaves out the date, under the name that the format has for it."""
    return {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower(), {})


def _draw_bars(chart: Bars, axes: Any) -> None:
    rows, values = range(len(chart.bars)), [bar.value for bar in chart.bars]
    # A bootstrap interval need not contain the observed value, and matplotlib rejects negative lengths.
    below = [max(bar.value - bar.low, 0.0) for bar in chart.bars]
    above = [max(bar.high - bar.value, 0.0) for bar in chart.bars]
    axes.barh(rows, values, color=COLORS[0])
    axes.errorbar(values, rows, xerr=(below, above), fmt="none", ecolor="#222222", capsize=2)
    axes.set_yticks(rows, [bar.name for bar in chart.bars])
    axes.invert_yaxis()
    axes.axvline(0, color="#222222", linewidth=0.8)
    axes.set_xlabel(chart.axis)
    if not chart.bars:
        axes.set_xticks([])
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", va="center")


def _draw_curves(chart: PlottedCurves, axes: Any) -> None:
    positions = positions_of(chart.values)
    _scale(positions, axes)
    for number, curve in enumerate(chart.curves):
        # Curves of the same values would hide each other's intervals.
        _draw_curve(curve, positions, axes, shift=_POINTS_APART * (number - (len(chart.curves) - 1) / 2))
    for name, style in zip(chart.styles, STYLES, strict=False):
        axes.plot([], [], color="gray", linestyle=style, label=name)
    for limit in chart.limits:
        axes.axhline(limit, linestyle="--", color="gray", label=f"limit {limit:g}")
    axes.set(xlabel=chart.setting, ylabel=chart.axis)
    if chart.floor is not None:
        axes.set_ylim(chart.floor - 0.02, None)
        if chart.floor < 0:
            axes.axhline(0.0, color="gray", linewidth=0.8)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()


def _draw_curve(curve: PlottedCurve, positions: Positions, axes: Any, shift: float) -> None:
    transforms = need("matplotlib.transforms", EXTRA, "plot()")
    shifted = transforms.ScaledTranslation(shift / 72, 0, axes.get_figure().dpi_scale_trans)
    figures = list(curve.points.values())
    reach = [
        [max(float(figure) - figure.low, 0.0) for figure in figures],
        [max(figure.high - float(figure), 0.0) for figure in figures],
    ]
    axes.errorbar(
        [positions.coordinates[value] for value in curve.points],
        list(map(float, figures)),
        reach,
        capsize=3,
        marker="o",
        label=curve.name or None,
        color=COLORS[curve.color % len(COLORS)],
        linestyle=STYLES[curve.style % len(STYLES)],
        transform=axes.transData + shifted,
    )
    # Lines that are shifted do not extend the axes.
    ends = [
        (positions.coordinates[value], end)
        for value, figure in curve.points.items()
        for end in (float(figure), figure.low, figure.high)
        if math.isfinite(end)
    ]
    if ends:
        axes.update_datalim(ends)
        axes.autoscale_view()


def _scale(positions: Positions, axes: Any) -> None:
    """Give the horizontal axis its scale and its ticks."""
    if positions.scale == "words":
        ticks: Sequence[float] = list(positions.coordinates.values())
        axes.set_xticks(ticks, [value_text(value) for value in positions.coordinates])
    elif positions.scale == "log":
        axes.set_xscale("log")
    elif positions.scale == "symlog":
        axes.set_xscale("symlog", linthresh=positions.threshold)
