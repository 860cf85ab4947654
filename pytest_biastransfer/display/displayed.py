"""The base of all results: a result says once what it has, and is a card, a plot, a data frame or plain data."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.display.files import is_plot, require_ending, write_json
from pytest_biastransfer.errors import ReportError, nearest
from pytest_biastransfer.optional_dependencies import need

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from pytest_biastransfer.display.content import Content, WithInterval

# A row of a table: its cells by column.
Row = Mapping[str, Any]


class Displayed(ABC):
    """A result that notebooks show.

    A class says in `_facts`, `_rows` and `_content` what it has; what users call is derived from them.
    """

    @abstractmethod
    def _facts(self) -> Row:
        """Return what all rows have in common, such as the model."""

    @abstractmethod
    def _rows(self) -> Sequence[Row]:
        """Return the figures, one a row."""

    @abstractmethod
    def _content(self) -> Content:
        """Return what cards and plots show."""

    def __repr__(self) -> str:
        content = self._content()
        return f"<{content.heading}: {' '.join(filter(None, content.sentences))}>"

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data for JSON, None for NaN."""
        return {**plain(self._facts()), "figures": [plain(row) for row in self._rows()]}

    def to_frame(self) -> pd.DataFrame:
        """Return the figures as a data frame of pandas, one a row; those of several results can be concatenated.

        Raises
        ------
        SpecError
            If pandas is not installed.
        """
        pandas = need("pandas", "notebook", f"{type(self).__name__}.to_frame()")
        facts = self._facts()
        frame: pd.DataFrame = pandas.DataFrame([{**facts, **row} for row in self._rows()])
        return frame

    def plot(self, chart: str | None = None, *, axes: Axes | None = None) -> Axes:
        """Draw a chart, and return its axes of matplotlib.

        Parameters
        ----------
        chart
            The name of the chart; default: the first one. An error lists the names.
        axes
            Where to draw it; default: a new figure, which notebooks show.

        Raises
        ------
        ReportError
            If there is no such chart, or if `axes` are none of matplotlib.
        SpecError
            If matplotlib is not installed.
        """
        from pytest_biastransfer.display.plots import draw, new_axes, require_axes

        content = self._content()
        name = next(iter(content.charts)) if chart is None else chart
        if name not in content.charts:
            raise ReportError(f"{type(self).__name__}.plot(chart={chart!r:.60}); {nearest(str(chart), content.charts)}")
        require_axes(axes, type(self).__name__)
        if axes is None:
            axes = new_axes(content.charts[name])
            axes.set_title(content.heading, fontsize="medium", wrap=True)
        draw(content.charts[name], axes)
        return axes

    def save(self, path: Path | str) -> None:
        """Write the result as JSON, or for ``.svg``, ``.png`` and ``.pdf`` as a plot, which needs matplotlib.

        Raises
        ------
        ReportError
            For another ending, and if the file cannot be written.
        SpecError
            If matplotlib is needed, and not installed.
        """
        path = Path(path)
        require_ending(path)
        try:
            self._write(path)
        except OSError as error:
            raise ReportError(f"{path}: cannot be written ({error.strerror})") from error

    def _write(self, path: Path) -> None:
        # Only what is asked for: charts of stored predictions read all of them.
        if not is_plot(path):
            write_json(self.to_dict(), path)
            return
        from pytest_biastransfer.display.plots import save_plot

        save_plot(self._content(), path)

    def _repr_html_(self) -> str:
        """Return the card that a notebook shows."""
        from pytest_biastransfer.display.card import card

        return card(self._content())


def interval_columns(figure: WithInterval) -> dict[str, float]:
    """Return the columns of a figure.

    >>> class Half(float):
    ...     low, high = 0.4, 0.6
    >>> interval_columns(Half(0.5))
    {'value': 0.5, 'low': 0.4, 'high': 0.6}
    """
    return {"value": float(figure), "low": figure.low, "high": figure.high}


def plain(row: Row) -> dict[str, Any]:
    """Return a row for JSON, which has neither NaN nor infinity."""
    return {column: plain_number(cell) if isinstance(cell, float) else cell for column, cell in row.items()}


def plain_number(number: float) -> float | None:
    """Return a number for JSON, None for NaN and infinity.

    >>> plain_number(0.5), plain_number(math.inf)
    (0.5, None)
    """
    return number if math.isfinite(number) else None
