"""The summary in the terminal: a table with a row per test, and a sentence of counts."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Final

from pytest_biastransfer.metrics.catalogue import METRICS, base_of
from pytest_biastransfer.plain_text import command_line, in_one_line
from pytest_biastransfer.reporting.figures import Limit
from pytest_biastransfer.reporting.interval_bar import WIDTH as BAR_WIDTH
from pytest_biastransfer.reporting.interval_bar import Scale
from pytest_biastransfer.reporting.performance import Performance, titled
from pytest_biastransfer.reporting.record import Record
from pytest_biastransfer.reporting.wording import counted, shortened

# Outcomes in the order of the sentence, with the names that pytest has for their colours.
OUTCOMES: Final[Mapping[str, str]] = {
    "failed": "red",
    "error": "red",
    "lost": "red",
    "xpassed": "yellow",
    "passed": "green",
    "xfailed": "yellow",
    "skipped": "yellow",
}
# Tests with these outcomes are shown only if they changed since the baseline.
_QUIET: Final = ("passed", "skipped")
# The least columns of a name, and of the limits.
_LEAST: Final = 24
_NAME_BESIDE_BAR: Final = 32
# The most tests that a command to type names.
NAMED: Final = 3
_NO_BREAK: Final = "\N{NO-BREAK SPACE}"
_ASCII: Final = str.maketrans({"│": "|", "━": "=", "╸": "=", "╺": "=", "·": ".", "…": "~", "→": ">"})


@dataclass(frozen=True)
class Row:
    """A bias test of the session; `changed` says whether it is better or worse than its baseline."""

    test: str
    outcome: str
    record: Record
    changed: bool = False

    @property
    def is_quiet(self) -> bool:
        """Whether it needs no attention: it passed or was skipped, as before."""
        return self.outcome in _QUIET and not self.changed


@dataclass(frozen=True)
class Line:
    """A line of the summary: its text, and a verdict at its end with a colour.

    A CI system that reads the log must not find a command in a test's name. Only a line that `is_command` keeps one.
    """

    text: str
    verdict: str = ""
    color: str = ""
    is_command: bool = False

    def shown(self) -> Line:
        """Return the line without control characters and line breaks, unless it is a command."""
        return self if self.is_command else replace(self, text=in_one_line(self.text))

    def in_encoding(self, encoding: str | None) -> Line:
        """Return the line with ASCII in place of the characters that the terminal's encoding lacks."""
        return replace(self, text=in_encoding(self.text, encoding))


def in_encoding(text: str, encoding: str | None) -> str:
    """Return a text with ASCII in place of bars and arrows, if the encoding lacks one of its characters.

    >>> in_encoding("··│━━╸··", "ascii"), in_encoding("··│━━╸··", "utf-8")
    ('..|===..', '··│━━╸··')
    """
    try:
        text.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return text.translate(_ASCII)
    return text


def table(rows: Sequence[Row], width: int) -> Iterator[Line]:
    """Yield the table for a terminal of `width` columns.

    A long name loses its file, and then takes two lines; long limits take several lines. If there is room, a bar draws
    the interval of the first broken limit, or else of the first limit. The curves of a ladder are below its row.
    """
    limits = [_limits_text(row.record) or "-" for row in rows]
    bar_limits = [_bar_limit(row.record) for row in rows]
    names, limit_width, has_bars = _layout([row.test for row in rows], limits, width, wants_bars=any(bar_limits))
    name_width = max(len(line) for lines in names for line in lines)
    scale = Scale.of(limit for limit in bar_limits if limit is not None)
    ends = f"{scale.low:g}", f"{scale.high:g}"
    heading = f"{ends[0]}{ends[1]:>{BAR_WIDTH - len(ends[0])}}  " if has_bars else ""
    yield Line(f"{'test':{name_width}}  {'asr':>5}  {'skew':>5}  {'limits':{limit_width}}  {heading}", "verdict")
    for row, name_lines, limits_text, bar_limit in zip(rows, names, limits, bar_limits, strict=True):
        bar = f"{scale.bar(bar_limit) if bar_limit is not None else '':{BAR_WIDTH}}  " if has_bars else ""
        limit_lines = _wrapped(limits_text, limit_width)
        figures = f"{_figure(row.record.asr)}  {_figure(row.record.skew)}"
        yield Line(
            f"{name_lines[0]:{name_width}}  {figures}  {limit_lines[0]:{limit_width}}  {bar}",
            row.outcome.upper() if OUTCOMES[row.outcome] == "red" else row.outcome,
            OUTCOMES[row.outcome],
        )
        for name, limit_line in zip_longest(name_lines[1:], limit_lines[1:], fillvalue=""):
            yield Line(f"{name:{name_width}}  {'':{len(figures)}}  {limit_line}".rstrip())
        yield from _curve_lines(row.record, width)


def _curve_lines(record: Record, width: int) -> Iterator[Line]:
    """Yield the curves of a ladder, each in one line where the terminal is wide enough."""
    for text in record.curves.texts() if record.curves is not None else ():
        for line in textwrap.wrap(text, max(width - 3, _LEAST), subsequent_indent="  ", break_on_hyphens=False):
            yield Line(f"  {line}")


def hidden_sentence(rows: Sequence[Row]) -> str:
    """Return the sentence that counts the rows that are not shown; empty if all are shown."""
    hidden = Counter(row.outcome for row in rows if row.is_quiet)
    counts = " and ".join(f"{hidden[outcome]} {outcome}" for outcome in _QUIET if hidden[outcome])
    return f"({counts} not shown; -v shows all)" if counts else ""


def sentence(rows: Sequence[Row]) -> str:
    """Return the sentence that counts tests by outcome, and predictions as evaluated or reused."""
    counts = Counter(row.outcome for row in rows)
    outcomes = ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome])
    computed = sum(row.record.computed for row in rows)
    # More may have been computed than these tests needed: for tests that a failure left out.
    reused = max(0, sum(row.record.images for row in rows) - computed)
    evaluated = f"{computed:,} images evaluated, {reused:,} predictions reused"
    return f"{counted(len(rows), 'bias test')}: {outcomes}; {evaluated}{_early_text(rows)}"


def limits_sentence(rows: Sequence[Row]) -> str:
    """Return how many limits hold and fail for sure, and within noise; empty if none was judged.

    For sure: the whole interval is on one side of the limit.
    """
    judged = [limit for row in rows for limit in row.record.limits if limit.holds is not None]
    # Of the verdicts, those that need attention come last.
    kinds = [(holds, is_sure) for holds in (True, False) for is_sure in (holds, not holds)]
    counts = Counter((limit.holds, limit.is_sure) for limit in judged)
    texts = [
        f"{counts[kind]} {_verb(kind[0], counts[kind])} {'for sure' if kind[1] else 'within noise'}"
        for kind in kinds
        if counts[kind]
    ]
    return f"  limits: {', '.join(texts)}" if texts else ""


def _verb(holds: bool, count: int) -> str:
    verb = "hold" if holds else "fail"
    return f"{verb}s" if count == 1 else verb


def _early_text(rows: Sequence[Row]) -> str:
    early = [row.record for row in rows if row.record.n < row.record.total]
    if not early:
        return ""
    evaluated, total = sum(record.n for record in early), sum(record.total for record in early)
    return f"; {len(early)} stopped early, at {evaluated:,} of {total:,} images"


def again_sentence(rows: Sequence[Row], command: Sequence[str], *, can_repeat: bool) -> str:
    """Return the command that runs the failed tests again; empty if none failed, or too many to be named.

    Parameters
    ----------
    rows
        All tests.
    command
        The command line of this session.
    can_repeat
        Whether pytest's cache works, so that ``--lf`` selects the failed tests.
    """
    failed = [row.test for row in rows if OUTCOMES[row.outcome] == "red"]
    if not failed or (len(failed) > NAMED and not can_repeat):
        return ""
    return f"  to run what failed again: {command_line([*command, '--lf'] if can_repeat else ['pytest', *failed])}"


def stale_lines(findings: Sequence[str], too_late: Sequence[str]) -> list[Line]:
    """Return a line per stale prediction of the store, and one that names the tests that had passed with them."""
    lines = [Line("  ", text, "red") for text in findings]
    if too_late:
        tests = f"{counted(len(too_late), 'test')} had passed with them: {', '.join(too_late)}"
        lines.append(Line("  ", f"{tests}. Run again: they are measured anew then", "red"))
    return lines


def performance_rows(performances: Sequence[Performance], width: int) -> Iterator[Line]:
    """Yield the models' performance on unchanged images, for a terminal of `width` columns."""
    for title, performance in titled(performances):
        text = f"{title}: {performance.figures}"
        # Some terminals wrap a line when its last column is written, so that column stays free.
        for line in textwrap.wrap(text, max(width - 1, _LEAST), subsequent_indent="  ", break_on_hyphens=False):
            yield Line(line)
        if performance.defect:
            yield Line("  degenerate: ", performance.defect, "red")


def lost_sentence(tests: Sequence[str]) -> str:
    """Return the sentence that names the tests without a result, because their worker was lost."""
    return f"{counted(len(tests), 'bias test')} without a result: {', '.join(tests)}"


def _limits_text(record: Record) -> str:
    """Return the limits as text; a phrase that must not be wrapped has no-break spaces."""
    sample = [f"{record.n:,} of {record.total:,} images"] * (record.n < record.total)
    # The columns of a ladder have one strength, and the limits may be of others.
    limits = [_limit_text(limit, has_value=record.curves is not None) for limit in record.limits]
    pieces = [*limits, *map(_unbroken, sample)]
    return ", ".join(pieces)


def _unbroken(text: str) -> str:
    return text.replace(" ", _NO_BREAK)


def _wrapped(text: str, width: int) -> list[str]:
    # What is longer than a line anyway is broken between its words, and not within a number.
    words = [word if len(word) <= width else word.replace(_NO_BREAK, " ") for word in text.split(" ")]
    lines = textwrap.wrap(" ".join(words), width, break_on_hyphens=False)
    return [line.replace(_NO_BREAK, " ") for line in lines]


def _limit_text(limit: Limit, *, has_value: bool) -> str:
    # The observed value of some metrics has a column of its own.
    is_in_column = limit.metric in METRICS and METRICS[limit.metric].in_summary and not has_value
    observed = "" if is_in_column else f"{_value(limit):.3f}"
    notes = [limit.note] if limit.note else []
    if base_of(limit.metric) != limit.metric and limit.control is not None and limit.control.value is not None:
        notes.insert(0, f"control {limit.control.value:.3f}")
    met, missed = limit.signs
    demand = _unbroken(f"{limit.named(observed)} {met if limit.exceeded_by <= 0 else missed} {limit.limit:g}")
    return f"{demand} {_unbroken('(' + ', '.join(notes) + ')')}" if notes else demand


def _value(limit: Limit) -> float:
    return math.nan if limit.observed.value is None else limit.observed.value


def _bar_limit(record: Record) -> Limit | None:
    """Return the limit that the bar draws: the first broken one, or else the first."""
    return next((limit for limit in record.limits if limit.holds is False), next(iter(record.limits), None))


def _figure(value: float | None) -> str:
    return "    -" if value is None else f"{value:5.3f}"


def _layout(
    tests: Sequence[str], limits: Sequence[str], width: int, *, wants_bars: bool
) -> tuple[list[list[str]], int, bool]:
    """Return the lines of the names, the width of the limits, and whether there is room for bars."""
    longest, longest_limit = max(map(len, tests)), max(map(len, [*limits, "limits"]))
    # Two figures of five characters, the outcome, and two spaces between columns.
    left = width - (2 + 5 + 2 + 5 + 2 + 2 + max(map(len, OUTCOMES)))
    # Bars are left out if a name would have to be cut for them. If names are cut anyway, bars may take room too.
    room = left - longest_limit
    beside_bar = room - BAR_WIDTH - 2
    has_bars = wants_bars and beside_bar >= _NAME_BESIDE_BAR and not beside_bar < longest <= room
    left -= BAR_WIDTH + 2 if has_bars else 0
    names = _name_lines(tests, left - longest_limit, max(left - min(longest_limit, _LEAST), _LEAST))
    name_width = max(len(line) for lines in names for line in lines)
    return names, min(longest_limit, max(left - name_width, _LEAST)), has_bars


def _name_lines(tests: Sequence[str], width: int, most: int) -> list[list[str]]:
    """Return the lines of tests' names: in `width` columns if none has to be cut for that, or else cut to `most`."""
    names = [_lines_of(test, width) for test in tests]
    if any(len(line) > width for lines in names for line in lines):
        names = [[shortened(line, most) for line in _lines_of(test, most)] for test in tests]
    return names


def _lines_of(test: str, width: int) -> list[str]:
    """Return a test's name; if it is too long, without its file and with its parameters on a second line."""
    name = test if len(test) <= width else test.partition("::")[2] or test
    function, bracket, case = name.partition("[")
    return [function, f" {bracket}{case}"] if bracket and len(name) > width else [name]
