"""The scorecard: a heat map of test functions and interventions, each cell with a symbol, a figure and a link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pytest_biastransfer.reporting.figures import Limit
from pytest_biastransfer.reporting.html.name_parts import NameParts
from pytest_biastransfer.reporting.html.states import is_worse, leading_limit, only_just, outcome_rank, regressions
from pytest_biastransfer.reporting.html.wording import OUTCOME_LABELS, broken, figure
from pytest_biastransfer.reporting.outcomes import Outcome
from pytest_biastransfer.reporting.report import Result
from pytest_biastransfer.reporting.wording import shortened

# From which distance to the limit on a cell has a deeper colour.
DISTANCES: Final = (0.05, 0.2)
# A table with more columns than this, or with more empty cells than filled ones, is a list of cells instead.
_MOST_COLUMNS: Final = 10
_LEAST_FILLED: Final = 0.5
# A column that is longer than this is a list of several cells a line instead.
_LONGEST_COLUMN: Final = 20
_SYMBOLS: Final[Mapping[Outcome, str]] = {
    "failed": "✗",
    "error": "!",
    "lost": "!",
    "xpassed": "X",
    "passed": "✓",
    "xfailed": "x",
    "skipped": "–",
}
_ONLY_JUST: Final = "≈"
_LEGEND: Final[Mapping[str, str]] = {
    "✗": "failed",
    "!": "error or lost",
    "X": "passed unexpectedly",
    _ONLY_JUST: "holds, within noise",
    "✓": "holds",
    "x": "failed as expected",
    "–": "skipped",
}

Heat = Literal["none", "in-3", "in-2", "in-1", "out-1", "out-2", "out-3"]
_INSIDE: Final[Sequence[Heat]] = ("in-1", "in-2", "in-3")
_OUTSIDE: Final[Sequence[Heat]] = ("out-1", "out-2", "out-3")


@dataclass(frozen=True)
class ScorecardCell:
    """A test in the scorecard.

    Attributes
    ----------
    test, anchor, case
        Its number, the address of its section, and its intervention.
    symbol, figure, metric
        The symbol of its outcome; the figure that its leading limit judges, and of which metric, or empty.
    heat
        How far that figure is from the limit: the class of the style sheet.
    worse
        Whether it is worse than its baseline.
    label
        All of that in words.
    """

    test: int
    anchor: str
    case: str
    symbol: str
    figure: str
    metric: str
    heat: Heat
    worse: bool
    label: str


@dataclass(frozen=True)
class ScorecardRow:
    """A row: its name, and the cells of each column; of a list of cells, one column."""

    name: str
    cells: Sequence[Sequence[ScorecardCell]]


@dataclass(frozen=True)
class Scorecard:
    """The scorecard.

    Attributes
    ----------
    columns
        The names of the columns; empty if each row is a list of cells that have their own names.
    rows
        The rows, the worst first.
    symbols
        The symbols in use, with their meaning.
    metric
        The metric of all figures; empty if they are of several.
    """

    columns: Sequence[str]
    rows: Sequence[ScorecardRow]
    symbols: Sequence[tuple[str, str]]
    metric: str


def scorecard(tests: Sequence[Result], parts: Sequence[NameParts], addresses: Sequence[str]) -> Scorecard:
    """Return the scorecard of tests, with the parts of their names and the addresses of their sections."""
    cells = [_cell(number, *one) for number, one in enumerate(zip(tests, parts, addresses, strict=True), 1)]
    functions = _function_names(parts)
    cases = [part.case for part in parts]
    ranks = [(outcome_rank(test.outcome), not is_worse(test), number) for number, test in enumerate(tests)]
    down, across = (functions, cases) if len(set(functions)) >= len(set(cases)) else (cases, functions)
    rows, columns = _by_rank(down, ranks), list(dict.fromkeys(across))
    is_table = (
        len(columns) <= _MOST_COLUMNS
        and len({*zip(down, across, strict=True)}) >= _LEAST_FILLED * len(rows) * len(columns)
        and (len(columns) > 1 or len(rows) <= _LONGEST_COLUMN)
    )
    if not is_table:
        down, across, columns = functions, [""] * len(tests), []
        rows = _by_rank(down, ranks)
    table: dict[tuple[str, str], list[ScorecardCell]] = {}
    # The worst first, in lists, too: what does not fit is scrolled to.
    for _, cell, row, column in sorted(zip(ranks, cells, down, across, strict=True), key=lambda placed: placed[0]):
        table.setdefault((row, column), []).append(cell)
    metrics = {cell.metric for cell in cells if cell.metric}
    used = {cell.symbol for cell in cells}
    return Scorecard(
        columns=[column or "no case" for column in columns],
        rows=[
            ScorecardRow(row or "no case", [table.get((row, column), []) for column in columns or [""]]) for row in rows
        ],
        symbols=[(symbol, meaning) for symbol, meaning in _LEGEND.items() if symbol in used],
        metric=metrics.pop() if len(metrics) == 1 else "",
    )


def _function_names(parts: Sequence[NameParts]) -> Sequence[str]:
    """Return the name of each test's function, as short as it is still its own.

    Without the file, if no other file has a function of that name; and the parameters alone, if all tests are of one
    function.
    """
    files: dict[str, set[str]] = {}
    for part in parts:
        files.setdefault(part.function, set()).add(part.file)
    names = [part.function if len(files[part.function]) == 1 else f"{part.file}::{part.function}" for part in parts]
    split = [name.partition("[") for name in names]
    if len({function for function, _, _ in split}) == 1 and all(bracket for _, bracket, _ in split):
        return [parameters.removesuffix("]") for _, _, parameters in split]
    return names


def _by_rank(names: Sequence[str], ranks: Sequence[tuple[int, bool, int]]) -> list[str]:
    """Return each name once, in the order of its worst test."""
    best: dict[str, tuple[int, bool, int]] = {}
    for name, rank in zip(names, ranks, strict=True):
        best[name] = min(rank, best.get(name, rank))
    return sorted(best, key=best.__getitem__)


def _cell(number: int, test: Result, part: NameParts, address: str) -> ScorecardCell:
    limit = leading_limit(test)
    is_close = test.outcome == "passed" and bool(only_just(test))
    words = [f"{shortened(test.name, 160)}: {OUTCOME_LABELS[test.outcome]}{', only just' if is_close else ''}"]
    if limit is not None:
        words.append(broken(limit))
    words += [f"{change.metric} is worse than the baseline (p = {change.p:.1g})" for change in regressions(test)]
    return ScorecardCell(
        test=number,
        anchor=address,
        case=part.case or part.function,
        symbol=_ONLY_JUST if is_close else _SYMBOLS[test.outcome],
        figure="" if limit is None else figure(limit.observed.value),
        metric="" if limit is None else limit.metric,
        heat=heat(limit),
        worse=is_worse(test),
        label="; ".join(words),
    )


def heat(limit: Limit | None) -> Heat:
    """Return how far a limit is from being met, or from being missed.

    >>> from pytest_biastransfer.reporting.figures import Interval
    >>> heat(Limit("asr", 0.1, "point", False, "", Interval(0.12, 0.1, 0.14, 0.95, 900), None))
    'out-1'
    >>> heat(Limit("asr", 0.5, "point", True, "", Interval(0.12, 0.1, 0.14, 0.95, 900), None))
    'in-3'
    """
    if limit is None or limit.holds is None or limit.observed.value is None:
        return "none"
    distance = abs(limit.exceeded_by)
    depth = 1 + sum(distance > least for least in DISTANCES)
    # A limit of the rule `certain` may be missed by a figure that is within it, and one of `significant` be met by a
    # figure that is beyond it.
    if limit.holds == (limit.exceeded_by > 0):
        depth = 1
    return _INSIDE[depth - 1] if limit.holds else _OUTSIDE[depth - 1]
