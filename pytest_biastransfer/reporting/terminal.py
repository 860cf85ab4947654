"""The summary in the terminal: a table row a test, and one counted sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pytest_biastransfer.reporting.record import LimitRecord, Record

# pytest's words for outcomes, in the order of the sentence, with their colour.
OUTCOMES: Final[Mapping[str, str]] = {
    "failed": "red",
    "error": "red",
    "xpassed": "yellow",
    "passed": "green",
    "xfailed": "yellow",
    "skipped": "yellow",
}
_LEAST_NAME: Final = 24


@dataclass(frozen=True)
class Row:
    """One bias test of the session."""

    test: str
    outcome: str
    record: Record


@dataclass(frozen=True)
class Line:
    """A line of the table: its text, and the verdict at its end in its colour."""

    text: str
    verdict: str = ""
    color: str = ""


def table(rows: Sequence[Row], width: int) -> Iterator[Line]:
    """Yield the table for a terminal of `width` columns; long names lose their file, then their middle."""
    limits = [_limits_text(row.record) or "-" for row in rows]
    limit_width = max(map(len, [*limits, "limits"]))
    taken = 5 + 2 + 5 + 2 + limit_width + 2 + max(map(len, OUTCOMES)) + 2
    name_width = min(max(len(row.test) for row in rows), max(width - taken, _LEAST_NAME))
    yield Line(f"{'test':{name_width}}  {'asr':>5}  {'skew':>5}  {'limits':{limit_width}}  ", "verdict")
    for row, limit in zip(rows, limits, strict=True):
        yield Line(
            f"{_shortened(row.test, name_width):{name_width}}  {_figure(row.record.asr)}  "
            f"{_figure(row.record.skew)}  {limit:{limit_width}}  ",
            row.outcome.upper() if OUTCOMES[row.outcome] == "red" else row.outcome,
            OUTCOMES[row.outcome],
        )


def sentence(rows: Sequence[Row]) -> str:
    """Return the sentence that counts tests by outcome, and predictions by where they came from."""
    counts = Counter(row.outcome for row in rows)
    outcomes = ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome])
    computed = sum(row.record.computed for row in rows)
    kept = sum(row.record.images for row in rows) - computed
    evaluated = f"{computed:,} images evaluated, {kept:,} predictions reused"
    return f"{counted(len(rows), 'bias test')}: {outcomes}; {evaluated}{_early_text(rows)}"


def _early_text(rows: Sequence[Row]) -> str:
    early = [row.record for row in rows if row.record.seen < row.record.total]
    if not early:
        return ""
    seen, total = sum(record.seen for record in early), sum(record.total for record in early)
    return f"; {len(early)} stopped early, at {seen:,} of {total:,} images"


def lost_sentence(tests: Sequence[str]) -> str:
    """Return the sentence that names the tests which no worker brought to an end."""
    return f"{counted(len(tests), 'bias test')} without a result: {', '.join(tests)}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "bias test"), counted(2, "bias test")
    ('1 bias test', '2 bias tests')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _limits_text(record: Record) -> str:
    seen = [f"{record.seen:,} of {record.total:,} images"] * (record.seen < record.total)
    return ", ".join([*map(_limit_text, record.limits), *seen])


def _limit_text(limit: LimitRecord) -> str:
    # The observed values of the first two have columns of their own, so that an excess lacks the control's only.
    observed = "" if limit.metric in ("asr", "skew") else f" {limit.observed:.3f}"
    if limit.control is not None:
        observed += f" (control {limit.control:.3f})"
    note = f" ({limit.note})" if limit.note else ""
    return f"{limit.metric}{observed} {'<=' if limit.observed <= limit.limit else '>'} {limit.limit:g}{note}"


def _figure(value: float | None) -> str:
    return "    -" if value is None else f"{value:5.3f}"


def _shortened(text: str, width: int) -> str:
    if len(text) > width:
        text = text.partition("::")[2] or text
    if len(text) <= width:
        return text
    # What tells the rows apart is the bracket at the end, and the beginning.
    start = max(width // 3, width - 1 - len(text[text.find("[") :]))
    return f"{text[:start]}…{text[len(text) - (width - 1 - start) :]}"
