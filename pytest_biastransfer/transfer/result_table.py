"""Tables of what experiments found: one row for each setting, with the figure and the performances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_biastransfer.names import Bound
    from pytest_biastransfer.transfer.seed_repeats import Repeated


def result_table(names: Sequence[str], rows: Sequence[tuple[Sequence[str], Repeated]], bound: Bound) -> list[str]:
    """Return aligned lines, the first with the headings.

    Parameters
    ----------
    names
        The names of the settings.
    rows
        The settings of each row in words, in the order of `names`, and what was found with them.
    bound
        What a limit of the figure is. That of a size belongs to a signed figure.
    """
    sign = "+" if bound == "size at most" else ""
    measures = list(rows[0][1].performances)
    cells = [[*names, "figure", *measures]]
    for settings, found in rows:
        performances = [found.performances[measure].mean.text() for measure in measures]
        cells.append([*settings, found.figure.text(sign), *performances])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) for row in cells]
    return [line.rstrip() for line in lines]
