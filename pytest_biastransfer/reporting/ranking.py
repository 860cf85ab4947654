"""A ranking of interventions as a text table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.display.files import PLOTS, is_plot
from pytest_biastransfer.errors import ReportError
from pytest_biastransfer.optional_dependencies import need

if TYPE_CHECKING:
    from pytest_biastransfer.search.ranking import Ranked

_LEAST_BAR: Final = 10
_MOST_BAR: Final = 40


def ranking_lines(ranking: Sequence[Ranked], width: int) -> list[str]:
    """Return the table for a terminal of `width` columns, a bar at the end of each line.

    >>> from pytest_biastransfer.metrics.statistics.estimate import Estimate
    >>> from pytest_biastransfer.search.ranking import Ranked
    >>> def figure(value):
    ...     return Estimate(value, low=value - 0.01, high=value + 0.01)
    >>> square = Ranked("yellow-square", figure(0.377), figure(0.201), "truck +0.123")
    >>> blur = Ranked("blur", figure(0.1885), figure(0.05), "cat +0.04")
    >>> for line in ranking_lines([square, blur], width=74):
    ...     print(line)
    rank  intervention   asr                   skew   gained most
       1  yellow-square  0.377 [0.367, 0.387]  0.201  truck +0.123  ##########
       2  blur           0.189 [0.178, 0.199]  0.050  cat +0.04     #####
    """
    rows = [_headings(ranking), *(_cells(rank, ranked) for rank, ranked in enumerate(ranking, start=1))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    texts = ["  ".join(f"{cell:{column}}" for cell, column in zip(row, widths, strict=True)) for row in rows]
    room = min(max(width - len(texts[0]) - 2, _LEAST_BAR), _MOST_BAR)
    largest = max((ranked.figure for ranked in ranking), default=0.0)
    bars = ["", *(_bar(ranked.figure, largest, room) for ranked in ranking)]
    return [f"{text}  {bar}".rstrip() for text, bar in zip(texts, bars, strict=True)]


def _headings(ranking: Sequence[Ranked]) -> list[str]:
    controlled = ["control", "excess"] if any(ranked.excess is not None for ranked in ranking) else []
    return ["rank", "intervention", "asr", "skew", "gained most", *controlled]


def _cells(rank: int, ranked: Ranked) -> list[str]:
    cells = [f"{rank:4}", ranked.name, ranked.asr.text(), f"{ranked.skew:.3f}", ranked.gained]
    if ranked.control_asr is not None and ranked.excess is not None:
        cells += [f"{ranked.control_asr:.3f}", ranked.excess.text()]
    return cells


def _bar(value: float, largest: float, room: int) -> str:
    # In ASCII: an encoding without block characters would make printing fail, and the whole table would be lost.
    return "#" * math.floor(value / largest * room + 0.5) if value > 0 else ""


def require_plot(path: Path) -> None:
    """Raise before anything is measured if a plot could not be written to `path`.

    Raises
    ------
    ReportError
        If the suffix of the name is none of `PLOTS`, or the directory does not exist.
    SpecError
        If matplotlib is not installed.
    """
    if not is_plot(path):
        raise ReportError(f"--plot {path}: expected a name that ends in {', '.join(PLOTS)}")
    if not path.parent.is_dir():
        raise ReportError(f"--plot {path}: there is no directory {path.parent}; make it first")
    # Imported now, so that a missing library is reported before hours of measuring.
    need("matplotlib", "report", f"--plot {path}")
