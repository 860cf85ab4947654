"""Charts of predicted classes: their distribution before and after an intervention, and the moves between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pytest_biastransfer.display.axes import Axis, Tick, axis_over
from pytest_biastransfer.reporting.html.charts import NAME
from pytest_biastransfer.reporting.html.states import shares_of_model
from pytest_biastransfer.reporting.html.wording import percentage
from pytest_biastransfer.reporting.report import Details, Move, Shares
from pytest_biastransfer.reporting.wording import counted, shortened

# The most classes and moves of a chart.
CLASSES: Final = 10
MOVES: Final = 10
# Names of at most so many characters are short.
_BRIEF: Final = 8


@dataclass(frozen=True)
class ShareBar:
    """The row of a class: its shares before and after and their difference as texts, and whether it gained most."""

    name: str
    before: str
    after: str
    change: str
    most: bool


@dataclass(frozen=True)
class SharesPlot:
    """The shares of a model's predicted classes before and after: two bars, one above the other, in each row.

    `before` and `after` are SVG paths with a stroke per bar, in a box that is 100 wide and has a height of 1 per class.
    `ticks` are the labelled values of the axis, in per cent of the predictions.
    """

    title: str
    bars: Sequence[ShareBar]
    before: str
    after: str
    ticks: Sequence[Tick]

    @property
    def is_brief(self) -> bool:
        """Whether the names of its rows are short."""
        return all(len(bar.name) <= _BRIEF for bar in self.bars)


@dataclass(frozen=True)
class MovesPlot:
    """The most frequent moves; `path` has a stroke per bar, as in `SharesPlot`, and `ticks` are numbers of images.

    `rest` says which flows are not among the rows; it is empty if all are.
    """

    moves: Sequence[Move]
    path: str
    caption: str
    ticks: Sequence[Tick]
    rest: str

    @property
    def is_brief(self) -> bool:
        """Whether the names of its rows are short."""
        return all(len(move.before) + len(move.after) <= _BRIEF for move in self.moves)


def shares_plots(details: Details) -> Sequence[SharesPlot]:
    """Return the distributions of the predicted classes of the source, the transferred and the control model.

    All have one axis. The class whose share changes most comes first; models of the same classes have one order, that
    of the model under test.
    """
    axis = axis_over(100 * share for shares in details.shares for share in (*shares.before, *shares.after))
    leading = shares_of_model(details)
    plots = []
    for shares in details.shares:
        is_comparable = leading is not None and list(shares.classes) == list(leading.classes)
        order = _order(leading) if is_comparable and leading is not None else _order(shares)
        plots.append(_shares_plot(shares, order[:CLASSES], axis))
    return plots


def moves_plot(details: Details) -> MovesPlot:
    """Return the most frequent moves with a bar each."""
    moves, flips = details.moves, details.flips
    shown = moves[:MOVES]
    axis = axis_over(float(move.images) for move in shown)
    rows = [Move(shortened(move.before, NAME), shortened(move.after, NAME), move.images) for move in shown]
    path = _bars([axis.at(move.images) for move in shown], 0.5)
    others = flips - sum(move.images for move in shown) - details.rare_moves
    rest = [f"{counted(others, 'image')} in less frequent flows"] if others > 0 else []
    rest += [f"{counted(details.rare_moves, 'flow')} of one image each"] if details.rare_moves else []
    extent = "the most frequent of" if rest else "all"
    return MovesPlot(rows, path, f"{extent} {counted(flips, 'flip')}", axis.ticks, " and ".join(rest))


_ROLES: Mapping[str, str] = {
    "source": "Source",
    "transferred": "Transferred",
    "control": "Control",
    "model": "Model",
}


def _order(shares: Shares) -> Sequence[int]:
    """Return the positions of the classes, those whose share changes most first; gains before losses of one size."""
    changes = [after - before for before, after in zip(shares.before, shares.after, strict=True)]
    return sorted(range(len(changes)), key=lambda position: (-abs(changes[position]), -changes[position]))


def _shares_plot(shares: Shares, order: Sequence[int], axis: Axis) -> SharesPlot:
    rows = [(shares.classes[position], shares.before[position], shares.after[position]) for position in order]
    most = max((after - before for before, after in zip(shares.before, shares.after, strict=True)), default=0.0)
    bars = [_bar(name, before, after, is_most=after - before == most > 0) for name, before, after in rows]
    left_out = set(range(len(shares.classes))) - set(order)
    if shares.others is not None or left_out:
        others = shares.others or (0.0, 0.0)
        before = others[0] + sum(shares.before[position] for position in left_out)
        after = others[1] + sum(shares.after[position] for position in left_out)
        bars.append(_bar("all other classes", before, after, is_most=False))
    return SharesPlot(
        title=f"{_ROLES[shares.role]}: {shortened(shares.model, NAME)}",
        bars=bars,
        # The row of all other classes has no bar: if they are many, it would dwarf the bars of the single classes.
        before=_bars([axis.at(100 * before) for _, before, _ in rows], 0.3),
        after=_bars([axis.at(100 * after) for _, _, after in rows], 0.7),
        ticks=axis.ticks,
    )


def _bar(name: str, before: float, after: float, *, is_most: bool) -> ShareBar:
    points = round(100 * (after - before), 1) + 0.0
    change = f"{points:+.1f}".replace("-", "\N{MINUS SIGN}") if points else "0.0"
    return ShareBar(shortened(name, NAME), percentage(before), percentage(after), change, is_most)


def _bars(widths: Sequence[float], y: float) -> str:
    """Return one path with a stroke per row, each row 1 high: many times shorter than an SVG element per bar."""
    rows = [(row, width) for row, width in enumerate(widths) if width > 0]
    return "".join(f"M0 {_brief(row + y)}h{_brief(width)}" for row, width in rows)


def _brief(number: float) -> str:
    # SVG accepts a number without its leading zero. A page has thousands of them.
    return f"{number:g}".removeprefix("0") or "0"
