"""The table of the summary: a block for each test function, and in it a line for each case and limit.

rich breaks the cells at words and knows how many columns a character takes. It takes 0.04 s to import, so this module
is imported only where there are tests to show. pytest's own terminal writes the lines, with the colours that it is set
to.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from pytest_biastransfer.plain_text import in_one_line
from pytest_biastransfer.reporting.figures import Limit
from pytest_biastransfer.reporting.interval_bar import WIDTH as WIDEST_BAR
from pytest_biastransfer.reporting.interval_bar import Scale
from pytest_biastransfer.reporting.limit_words import additions, demand, verdict_words
from pytest_biastransfer.reporting.record import Record
from pytest_biastransfer.reporting.summary_table import OUTCOMES, Line, Row, wrapped
from pytest_biastransfer.reporting.wording import shortened

_GAP: Final = 2
_INDENT: Final = 2
_NARROWEST_BAR: Final = 10
# The verdict's words are broken into lines of at least so many columns, and preferably not at all.
_FEWEST_WORDS: Final = 24
_WORDS: Final = len("above limit (not significant)")
# Longer names of cases have lines of their own: beside their limits, they would leave a gap in all other lines.
_LONGEST_NAME: Final = 40
# The fewest columns of a case's name that is shortened.
_SHORTEST_NAME: Final = 24


@dataclass(frozen=True)
class LimitCells:
    """A line of a case: a limit, or the figures of a test without a judged limit."""

    metric: str
    value: str
    interval: str
    limit: Limit | None
    verdict: str

    @property
    def demand(self) -> str:
        """What the limit demands."""
        return "" if self.limit is None else demand(self.limit)


def blocks(rows: Sequence[Row], width: int) -> Iterator[Line]:
    """Yield the table for a terminal of `width` columns.

    A bar draws the interval beside the limit if there is room, as in 80 columns with usual names. Where cases do not
    fit beside their limits, they have lines of their own. The curves of a ladder are below its case.
    """
    # Parameters and groups have names of strangers.
    rows = [replace(row, test=in_one_line(row.test)) for row in rows]
    cells = {row.test: list(_cells(row)) for row in rows}
    functions: dict[str, list[Row]] = {}
    for row in rows:
        functions.setdefault(row.test.partition("[")[0], []).append(row)
    # Some terminals wrap a line when its last column is written, so that column stays free.
    layout = _Layout.of(rows, [cell for own in cells.values() for cell in own], width - 1)
    yield layout.heading()
    for function, own_rows in functions.items():
        yield from _titles(function, width - 1)
        for row in own_rows:
            yield from layout.case(row, cells[row.test])
            yield from _curve_lines(row.record, width)


def _cells(row: Row) -> Iterator[LimitCells]:
    record = row.record
    first = ["worse than the baseline"] * (row.changed and row.outcome == "failed")
    first += [f"{record.n:,} of {record.total:,} images"] * (record.n < record.total)
    for number, limit in enumerate(record.limits):
        observed = limit.observed
        ends = "" if observed.low is None or observed.high is None else f"[{observed.low:.3f}, {observed.high:.3f}]"
        value = "-" if observed.value is None else f"{observed.value:.3f}"
        verdict = "; ".join(
            [verdict_words(limit), *map(in_one_line, additions(limit)), *(first if number == 0 else [])]
        )
        yield LimitCells(limit.named(), value, ends, limit, verdict)
    if not record.limits:
        figures = {"asr": record.asr, "skew": record.skew}
        shown = [
            LimitCells(metric, f"{value:.3f}", "", None, "") for metric, value in figures.items() if value is not None
        ]
        yield from shown or [LimitCells("", "", "", None, "")]


def case_of(test: str) -> str:
    """Return the parameters in a test's name.

    >>> case_of("test_it.py::test_square[yellow-square]")
    'yellow-square'
    """
    return test.partition("[")[2].removesuffix("]")


def _titles(function: str, width: int) -> Iterator[Line]:
    """Yield the name of a test function, which can be typed; where it is too long, after its file."""
    if cell_len(function) <= width:
        yield Line("", function, "bold")
        return
    file, separator, name = function.partition("::")
    # No line begins with colons: a CI system could take it for a command.
    yield Line("", shortened(f"{file}{separator}", width), "bold")
    if name:
        yield Line("", shortened(name, width), "bold")


def _curve_lines(record: Record, width: int) -> Iterator[Line]:
    """Yield the curves of a ladder, each in one line where the terminal is wide enough."""
    for text in record.curves.texts() if record.curves is not None else ():
        for line in wrapped(text, width - 2 * _INDENT):
            yield Line(f"{'':{2 * _INDENT}}{line}")


@dataclass(frozen=True)
class _Layout:
    """The columns of all blocks, so that they are aligned with one another.

    Attributes
    ----------
    widths
        The widths of the columns, by their headings; a column that has no room is missing. The column ``case`` is
        missing where cases have lines of their own.
    scale
        The values at both ends of the bars.
    """

    widths: Mapping[str, int]
    scale: Scale

    @classmethod
    def of(cls, rows: Sequence[Row], cells: Sequence[LimitCells], width: int) -> _Layout:
        """Return the layout that shows most: bars are preferred to cases beside their limits."""
        longest = {
            "case": max(cell_len(case_of(row.test)) for row in rows),
            "metric": max(cell_len(cell.metric) for cell in cells),
            "value": max(cell_len(cell.value) for cell in cells),
            "interval": max(cell_len(cell.interval) for cell in cells),
            "limit": max(cell_len(cell.demand) for cell in cells),
            "outcome": max(len(row.outcome) for row in rows),
        }
        longest = {name: max(most, len(name)) for name, most in longest.items()}
        scale = Scale.of(cell.limit for cell in cells if cell.limit is not None)
        verdict = max(*(cell_len(cell.verdict) for cell in cells), len("verdict"))
        beside, below = ["case", "metric", "value", "limit", "outcome"], ["metric", "value", "limit"]
        has_limits = any(cell.limit is not None for cell in cells)
        layouts = ((beside, has_limits), (below, has_limits), (beside, False))
        for names, bar in layouts if longest["case"] <= _LONGEST_NAME else ((below, has_limits),):
            indent = _INDENT if "case" in names else 2 * _INDENT
            room = width - indent - sum(longest[name] + _GAP for name in names)
            if room - (_NARROWEST_BAR + _GAP) * bar >= min(verdict, _FEWEST_WORDS):
                return cls(_with_room(names, longest, room, verdict, has_bar=bar), scale)
        room = width - 2 * _INDENT - sum(longest[name] + _GAP for name in below)
        return cls(_with_room(below, longest, max(room, _FEWEST_WORDS), verdict, has_bar=False), scale)

    @property
    def _indent(self) -> int:
        return _INDENT if "case" in self.widths else 2 * _INDENT

    def heading(self) -> Line:
        """Return the names of the columns, with the scale of the bars."""
        low, high = f"{self.scale.low:g}", f"{self.scale.high:g}"
        names = {name: name for name in self.widths}
        if "bar" in self.widths:
            names["bar"] = f"{low}{high:>{self.widths['bar'] - len(low)}}"
        (line,) = self._rendered(names, "")
        return Line(f"{line.text}{line.verdict}".rstrip())

    def case(self, row: Row, cells: Sequence[LimitCells]) -> Iterator[Line]:
        """Yield the lines of a case: its name and outcome, and its limits."""
        color = OUTCOMES[row.outcome]
        outcome = row.outcome.upper() if color == "red" else row.outcome
        if "case" not in self.widths:
            room = sum(width + _GAP for width in self.widths.values()) + self._indent - _INDENT - len(outcome)
            name = shortened(case_of(row.test), max(room - 2 * _GAP, _SHORTEST_NAME))
            yield Line(f"{'':{_INDENT}}{name}{'':{_GAP if name else 0}}", outcome, color)
        for number, cell in enumerate(cells):
            texts = {"metric": cell.metric, "value": cell.value, "interval": cell.interval, "limit": cell.demand}
            texts |= {"verdict": cell.verdict, "bar": ""}
            if number == 0:
                texts |= {"case": case_of(row.test), "outcome": outcome}
            if cell.limit is not None and "bar" in self.widths:
                texts["bar"] = self.scale.bar(cell.limit, self.widths["bar"])
            is_kept = cell.limit is not None and cell.limit.holds
            if any(texts[name] for name in ("metric", "value", "verdict")) or "case" in self.widths:
                yield from self._rendered(texts, "green" if is_kept and number else color)

    def _rendered(self, texts: Mapping[str, str], color: str) -> Iterator[Line]:
        """Yield the lines of a row; the outcome and the verdict have the colour."""
        table = Table.grid(padding=(0, _GAP, 0, 0))
        for name, width in self.widths.items():
            table.add_column(width=width, no_wrap=name != "verdict", overflow="fold")
        colors = {"outcome": color, "verdict": color}
        table.add_row(*(Text(texts.get(name, ""), style=colors.get(name, "")) for name in self.widths))
        total = sum(width + _GAP for width in self.widths.values())
        console = Console(file=io.StringIO(), width=total, color_system=None, legacy_windows=False)
        for segments in console.render_lines(table, pad=False):
            yield _line(segments, self._indent)


def _with_room(
    names: Sequence[str], longest: Mapping[str, int], room: int, verdict: int, *, has_bar: bool
) -> Mapping[str, int]:
    """Return the widths of the columns; an interval is shown where the verdict's words need only one line."""
    widths = {name: longest[name] for name in names}
    if has_bar:
        bar = min(max(room - _GAP - min(verdict, _WORDS), _NARROWEST_BAR), WIDEST_BAR)
        widths, room = _inserted(widths, "bar", bar, before="limit"), room - bar - _GAP
    if longest["interval"] > len("interval") and room - longest["interval"] - _GAP >= verdict:
        widths = _inserted(widths, "interval", longest["interval"], before="bar" if has_bar else "limit")
        room -= longest["interval"] + _GAP
    return {**widths, "verdict": min(verdict, room)}


def _inserted(widths: Mapping[str, int], name: str, width: int, *, before: str) -> dict[str, int]:
    inserted: dict[str, int] = {}
    for other, own in widths.items():
        if other == before:
            inserted[name] = width
        inserted[other] = own
    return inserted


def _line(segments: Sequence[Segment], indent: int) -> Line:
    """Return a line of a table, whose coloured end is the outcome with the verdict."""
    position = next(
        (number for number, segment in enumerate(segments) if segment.style and segment.style.color), len(segments)
    )
    text = f"{'':{indent}}{''.join(segment.text for segment in segments[:position])}"
    verdict = "".join(segment.text for segment in segments[position:]).rstrip()
    color = segments[position].style.color.name if verdict else ""  # type: ignore[union-attr]
    return Line(text if verdict else text.rstrip(), verdict, color)
