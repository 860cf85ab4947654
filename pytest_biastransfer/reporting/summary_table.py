"""The summary in the terminal: its rows and lines, and sentences of counts; see `summary_blocks` for the table."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pytest_biastransfer.plain_text import in_one_line
from pytest_biastransfer.reporting.figures import Limit
from pytest_biastransfer.reporting.performance import Performance, titled
from pytest_biastransfer.reporting.record import Record
from pytest_biastransfer.reporting.wording import counted

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
# Of the verdicts, those that need attention come last.
_SURENESS: Final = (
    (True, "for sure"),
    (True, "within noise"),
    (False, "(not certain)"),
    (False, "(not significant)"),
    (False, "for sure"),
)
# The fewest columns of a text that goes on in the next line.
_FEWEST_COLUMNS: Final = 24
# A command in a sentence follows a colon, and ends the sentence or a parenthesis. It is pasted, so it is not broken.
_COMMAND: Final = re.compile(r"(?<=: )(?:pytest|biastransfer) [^()]+")
# Code is pasted, too: a call, whose arguments may be calls.
_CALL: Final = re.compile(r"\w+\((?:[^()]|\([^()]*\))*\)")
_PERCENT: Final = re.compile(r"(?<=\d) (?=%)")
_UNBROKEN_SPACE: Final = "\u00a0"
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
        if self.is_command:
            return self
        return replace(self, text=in_one_line(self.text), verdict=in_one_line(self.verdict))

    def in_encoding(self, encoding: str | None) -> Line:
        """Return the line with ASCII in place of the characters that the terminal's encoding lacks."""
        return replace(self, text=in_encoding(self.text, encoding), verdict=in_encoding(self.verdict, encoding))


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


def loading_sentence(names: Sequence[str], reason: str) -> str:
    """Return why models were loaded: those of the same reason.

    >>> loading_sentence(["pets"], "first time")
    'model pets was loaded: first time'
    >>> loading_sentence(["pets", "birds", "flowers"], "first time")
    'models pets; birds; flowers were loaded, each for this reason: first time'
    """
    if len(names) == 1:
        return f"model {names[0]} was loaded: {reason}"
    # Names have commas in them, such as that of a finetuned model.
    return f"models {'; '.join(names)} were loaded, each for this reason: {reason}"


def wrapped(text: str, width: int) -> list[str]:
    """Return a text in lines for a terminal of `width` columns, broken at words.

    What is pasted, commands and calls, and percentages are not broken.

    >>> wrapped("2 bias tests without a baseline: pytest --bias-update=new", 30)
    ['2 bias tests without a', '  baseline:', '  pytest --bias-update=new']
    >>> wrapped("no mean and size: return Model(net, Preprocess(size=224))", 40)
    ['no mean and size: return', '  Model(net, Preprocess(size=224))']
    """
    for whole in (_COMMAND, _CALL, _PERCENT):
        text = whole.sub(lambda match: match[0].replace(" ", _UNBROKEN_SPACE), text)
    # Some terminals wrap a line when its last column is written, so that column stays free.
    columns = max(width - 1, _FEWEST_COLUMNS)
    indent = f"{text[: len(text) - len(text.lstrip())]}  "
    lines = textwrap.wrap(text, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return [line.replace(_UNBROKEN_SPACE, " ") for line in lines]


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
    """Return how many limits hold and fail, for sure or not; empty if none was judged.

    For sure: the whole interval is on one side of the limit.
    """
    judged = [limit for row in rows for limit in row.record.limits if limit.holds is not None]
    defined = [limit for limit in judged if limit.observed.value is not None]
    counts = Counter((limit.holds, _sureness(limit)) for limit in defined)
    texts = [f"{counts[kind]} {_verb(kind[0], counts[kind])} {kind[1]}" for kind in _SURENESS if counts[kind]]
    texts += [f"{len(judged) - len(defined)} undefined"] * (len(judged) > len(defined))
    return f"  limits: {', '.join(texts)}" if texts else ""


def _sureness(limit: Limit) -> str:
    if not limit.note:
        return "for sure"
    return "within noise" if limit.holds else f"({limit.note})"


def _verb(holds: bool, count: int) -> str:
    verb = "hold" if holds else "fail"
    return f"{verb}s" if count == 1 else verb


def _early_text(rows: Sequence[Row]) -> str:
    early = [row.record for row in rows if row.record.n < row.record.total]
    if not early:
        return ""
    evaluated, total = sum(record.n for record in early), sum(record.total for record in early)
    return f"; {len(early)} stopped early, at {evaluated:,} of {total:,} images"


def failed_tests(rows: Sequence[Row]) -> list[str]:
    """Return the names of the tests that failed, had an error or were lost."""
    return [row.test for row in rows if OUTCOMES[row.outcome] == "red"]


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
        yield from map(Line, wrapped(f"{title}: {performance.figures}", width))
        if performance.defect:
            yield Line("  degenerate: ", performance.defect, "red")


def lost_sentence(tests: Sequence[str]) -> str:
    """Return the sentence that names the tests without a result, because their worker was lost."""
    return f"{counted(len(tests), 'bias test')} without a result: {', '.join(tests)}"
