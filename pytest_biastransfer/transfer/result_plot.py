"""Plots of what experiments found: the figure above, the performances below, one colour for each curve."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.errors import TransferError
from pytest_biastransfer.optional_dependencies import need

if TYPE_CHECKING:
    from pytest_biastransfer.names import Bound
    from pytest_biastransfer.transfer.seed_repeats import OverSeeds, Repeated

# The endings of plots.
PLOTS: Final = (".png", ".svg", ".pdf")
# Numbers that reach from one to so many times as much are drawn on a logarithmic axis.
_WIDE = 50
# Characters of a line of the title.
_TITLE = 70
_LINE_STYLES = ("-", "--", ":")


def save_plot(
    path: Path,
    question: str,
    setting: str,
    curves: Mapping[str, Mapping[Any, Repeated]],
    *,
    bound: Bound = "at most",
    limit: float | None = None,
) -> None:
    """Draw curves over one setting, with their intervals, as ``.png``, ``.svg`` or ``.pdf``.

    Parameters
    ----------
    question
        The name of the figure.
    setting
        The name of what is on the horizontal axis. It has an axis of numbers if all its values are numbers.
    curves
        What was found, by the name of the curve and by the value of the setting.
    bound, limit
        What is limited, and the limit, which is drawn as a line.

    Raises
    ------
    TransferError
        For another ending.
    SpecError
        If matplotlib is not installed.
    """
    require_ending(path)
    figure = need("matplotlib.figure", "report", str(path)).Figure(figsize=(6, 6), layout="constrained")
    above, below = figure.subplots(2, sharex=True)
    values = list(dict.fromkeys(value for curve in curves.values() for value in curve))
    places = _places(above, values)
    measures = list(next(iter(next(iter(curves.values())).values())).performances)
    for number, (name, curve) in enumerate(curves.items()):
        where, color = [places[value] for value in curve], f"C{number % 10}"
        _draw(above, where, [found.bias for found in curve.values()], color=color, label=name or None)
        for measure, style in zip(measures, _LINE_STYLES, strict=False):
            performances = [found.performances[measure] for found in curve.values()]
            _draw(below, where, performances, color=color, linestyle=style, label=None)
    for measure, style in zip(measures, _LINE_STYLES, strict=False):
        below.plot([], [], color="gray", linestyle=style, label=measure)
    figure.suptitle("\n".join(textwrap.wrap(question, _TITLE)), fontsize="medium")
    above.set(ylabel="figure", ylim=(_least(curves, bound) - 0.02, None))
    below.set(xlabel=setting, ylabel="performance")
    if bound == "size at most":
        above.axhline(0.0, color="gray", linewidth=0.8)
    for line in () if limit is None else (limit, -limit) if bound == "size at most" else (limit,):
        above.axhline(line, linestyle="--", color="gray", label=f"limit {limit:g}" if line == limit else None)
    for axes in (above, below):
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    figure.savefig(path)


def require_ending(path: Path) -> None:
    """Raise `TransferError` for a file that is neither a plot nor JSON."""
    if path.suffix not in (*PLOTS, ".json"):
        raise TransferError(f"{path}: expected a file with the ending {', '.join(PLOTS)} or .json")


def _draw(axes: Any, where: Sequence[float], figures: Sequence[OverSeeds], **style: Any) -> None:
    means = [figure.mean for figure in figures]
    reach = [[mean - mean.low for mean in means], [mean.high - mean for mean in means]]
    axes.errorbar(where, list(map(float, means)), reach, capsize=3, marker="o", **style)


def _places(axes: Any, values: Sequence[Any]) -> Mapping[Any, float]:
    """Return where each value is on the horizontal axis, and give the axis its scale and ticks."""
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        axes.set_xticks(range(len(values)), [str(value) for value in values])
        return {value: float(place) for place, value in enumerate(values)}
    above_zero = [value for value in values if value > 0]
    if above_zero and min(values) >= 0 and max(above_zero) / min(above_zero) >= _WIDE:
        # Linear from 0 to the smallest number, where a logarithm has no place for 0.
        axes.set_xscale(*(("log",) if min(values) > 0 else ("symlog",)), **_linear_below(min(values), above_zero))
    return {value: float(value) for value in values}


def _linear_below(least: float, above_zero: Sequence[float]) -> dict[str, float]:
    return {} if least > 0 else {"linthresh": min(above_zero)}


def _least(curves: Mapping[str, Mapping[Any, Repeated]], bound: Bound) -> float:
    """Return the lower end of the axis: 0, unless a signed figure or its interval is below."""
    if bound != "size at most":
        return 0.0
    figures = [found.figure for curve in curves.values() for found in curve.values()]
    ends = [end for figure in figures for end in (float(figure), figure.low)]
    return min(0.0, *(end for end in ends if not math.isnan(end)))
