"""Where a model looks, as the cells of a picture that are coloured by how much its prediction depends on them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Final

# From which loss of probability on a cell has the first, second, ... colour.
LEVELS: Final = (0.05, 0.15, 0.3, 0.5)


@dataclass(frozen=True)
class HeatMap:
    """A grid of cells in the colours of `LEVELS`.

    Attributes
    ----------
    paths
        For each level, an SVG path around its cells, in a box of `columns` x `rows`.
    columns, rows
        The number of cells in each direction.
    most
        The largest loss of probability, in percentage points.
    """

    paths: Sequence[str]
    columns: int
    rows: int
    most: str


def heat_map(grid: Sequence[Sequence[float]]) -> HeatMap:
    """Return the cells of a grid of losses; cells below the first level have no colour.

    >>> heat_map([[0.6, 0.6, 0.0], [0.0, 0.1, 0.0]])
    HeatMap(paths=['M1 1h1v1h-1z', '', '', 'M0 0h2v1h-2z'], columns=3, rows=2, most='60')
    """
    paths = [""] * len(LEVELS)
    for y, row in enumerate(grid):
        x = 0
        # Cells of one colour that lie side by side are one rectangle.
        for level, cells in groupby(bisect_right(LEVELS, loss) for loss in row):
            width = len(list(cells))
            if level:
                paths[level - 1] += f"M{x} {y}h{width}v1h-{width}z"
            x += width
    losses = [loss for row in grid for loss in row]
    return HeatMap(paths, max(map(len, grid), default=0), len(grid), f"{100 * max(losses, default=0.0):.0f}")


def level_names() -> Sequence[str]:
    """Return the range of each level in percentage points, for the legend.

    >>> level_names()
    ['5 to 15', '15 to 30', '30 to 50', 'more than 50']
    """
    ends = [f"{100 * level:g}" for level in LEVELS]
    return [*(f"{low} to {high}" for low, high in pairwise(ends)), f"more than {ends[-1]}"]
