"""What experiments show: the charts of a figure and of the performances over one setting, and the rows of a table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.display.content import PlottedCurve, PlottedCurves
from pytest_biastransfer.display.displayed import interval_columns

if TYPE_CHECKING:
    from pytest_biastransfer.display.content import Chart
    from pytest_biastransfer.display.displayed import Row
    from pytest_biastransfer.metrics.statistics.estimate import Estimate
    from pytest_biastransfer.names import Bound
    from pytest_biastransfer.transfer.seed_repeats import Repeated


def charts_over(
    setting: str,
    question: str,
    curves: Mapping[str, Mapping[Any, Repeated]],
    *,
    bound: Bound = "at most",
    limit: float | None = None,
) -> dict[str, Chart]:
    """Return the charts ``"figure"`` and ``"performance"`` over one setting.

    Parameters
    ----------
    setting
        The name of what is on the horizontal axis.
    question
        The name of the figure, which is on the vertical axis.
    curves
        What was found, by the name of the curve and by the value of the setting.
    bound, limit
        What is limited, and the limit, which is drawn as a line.
    """
    measures = list(next(iter(next(iter(curves.values())).values())).performances)
    limits = () if limit is None else (limit, -limit) if bound == "size at most" else (limit,)
    figures = [
        PlottedCurve(name, {value: repeated.figure for value, repeated in curve.items()}, color=number)
        for number, (name, curve) in enumerate(curves.items())
    ]
    performances = [
        PlottedCurve("" if style else name, _means(curve, measure), number, style)
        for number, (name, curve) in enumerate(curves.items())
        for style, measure in enumerate(measures)
    ]
    return {
        "figure": PlottedCurves(setting, axis_name(question), figures, limits, floor=_floor(curves, bound)),
        "performance": PlottedCurves(setting, " and ".join(measures), performances, styles=measures[1:] and measures),
    }


def axis_name(question: str) -> str:
    """Return a question without the arguments of its intervention, which are in the title of a chart.

    >>> axis_name("asr of Square(size=0.25, anchor='top-left')"), axis_name("accuracy by light")
    ('asr of Square', 'accuracy by light')
    """
    return question.partition("(")[0]


def _means(curve: Mapping[Any, Repeated], measure: str) -> dict[object, Estimate]:
    return {value: repeated.performances[measure].mean for value, repeated in curve.items()}


def _floor(curves: Mapping[str, Mapping[Any, Repeated]], bound: Bound) -> float:
    """Return the lower end of the axis: 0, unless a signed figure or its interval is below."""
    if bound != "size at most":
        return 0.0
    figures = [repeated.figure for curve in curves.values() for repeated in curve.values()]
    ends = [end for figure in figures for end in (float(figure), figure.low)]
    return min(0.0, *(end for end in ends if not math.isnan(end)))


def figure_rows(settings: Mapping[str, Any], repeated: Repeated) -> list[Row]:
    """Return the rows of what was found with some settings: the means over the seeds, with their intervals."""
    measures = {"figure": repeated.bias, **repeated.performances}
    return [
        {**settings, "measure": measure, **interval_columns(over.mean), "seeds": len(over.values)}
        for measure, over in measures.items()
    ]
