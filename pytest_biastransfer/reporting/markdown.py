"""A report as Markdown, for the summary of a job or a comment on a pull request."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.plain_text import command_line, in_one_line, shown
from pytest_biastransfer.reporting.outcomes import FAILED, SEVERITY, Outcome
from pytest_biastransfer.reporting.performance import titled
from pytest_biastransfer.reporting.wording import counted

if TYPE_CHECKING:
    from pytest_biastransfer.reporting.curves import Curves
    from pytest_biastransfer.reporting.figures import Limit
    from pytest_biastransfer.reporting.report import Details, Report, Result, Shares

# GitHub refuses a job summary of more than a megabyte, so that long names, long messages and many failures are cut.
_MOST_CHARACTERS: Final = 200
_MOST_MESSAGE_CHARACTERS: Final = 4_000
_MOST_FAILURES: Final = 20
_MOST_MOVES: Final = 5


def markdown(report: Report) -> str:
    """Return a report as GitHub's Markdown: counts, a table of the tests that need attention, and the failures."""
    return "\n".join([*_lines(report), ""])


def _lines(report: Report) -> Iterator[str]:
    yield "## Bias transfer"
    yield ""
    yield _sentence(report)
    # Several tests meet the same stale prediction; it is stated once.
    for text in dict.fromkeys(text for test in report.tests for text in test.stale):
        yield ""
        yield f"**{escaped(text, _MOST_MESSAGE_CHARACTERS)}**"
    yield from _performances(report)
    listed = [test for test in report.tests if _matters(test)]
    if listed:
        yield ""
        yield from _table(listed)
    failed = [test for test in report.tests if test.outcome in FAILED]
    for test in failed[:_MOST_FAILURES]:
        yield ""
        yield from _failure(test)
    if len(failed) > _MOST_FAILURES:
        yield ""
        yield f"{len(failed) - _MOST_FAILURES} more failed; the report of `--bias-report=bias.html` shows all."


def _sentence(report: Report) -> str:
    if not report.tests:
        return "No bias tests ran."
    counts = Counter(test.outcome for test in report.tests)
    outcomes = ", ".join(f"{_bold(outcome)} {counts[outcome]}" for outcome in counts_in_order(report.tests))
    return (
        f"{counted(len(report.tests), 'bias test')}: {outcomes}. "
        f"{report.evaluated:,} images evaluated, {report.reused:,} predictions reused."
    )


def _performances(report: Report) -> Iterator[str]:
    if report.performances:
        yield ""
    for title, performance in titled(report.performances):
        defect = f" **Degenerate**: {escaped(performance.defect)}." if performance.defect else ""
        yield f"- {escaped(title)}: {escaped(performance.figures)}.{defect}"


def counts_in_order(tests: Iterable[Result]) -> list[Outcome]:
    """Return the outcomes that occur, the worst first."""
    occurring = {test.outcome for test in tests}
    return [outcome for outcome in SEVERITY if outcome in occurring]


def _bold(outcome: str) -> str:
    return f"**{outcome}**" if outcome in FAILED else outcome


def _matters(test: Result) -> bool:
    return test.outcome not in ("passed", "skipped") or test.standing in ("regression", "improvement")


def _table(tests: Sequence[Result]) -> Iterator[str]:
    yield "| test | outcome | limits | baseline |"
    yield "|---|---|---|---|"
    for test in tests:
        # A row of a Markdown table is one line; GitHub renders this tag as a line break.
        limits = "<br>".join(map(_limit, test.limits)) or "–"
        yield f"| {code(test.name)} | {_bold(test.outcome)} | {limits} | {_standing(test)} |"


def _limit(limit: Limit) -> str:
    met, missed = ("≥", "**<**") if limit.bound == "at least" else ("≤", "**>**")
    sign = {True: met, False: missed, None: "?"}[limit.holds]
    bound = "±" if limit.bound == "size at most" else ""
    note = f", {escaped(limit.note)}" if limit.note else ""
    return f"{limit.metric} {limit.observed.text} {sign} {bound}{limit.limit:g}{note}"


def _standing(test: Result) -> str:
    changes = [
        f"{change.metric}{f' at {escaped(change.at)}' if change.at else ''} {change.before:.3f} → {change.now:.3f}"
        for change in test.changes
        if change.meaning != "unchanged"
    ]
    return "<br>".join([test.standing and escaped(test.standing), *changes]) or "–"


def _failure(test: Result) -> Iterator[str]:
    yield f"<details><summary>{html_escaped(in_one_line(test.name)[:_MOST_CHARACTERS])}</summary>"
    yield ""
    if test.curves is not None:
        yield from _curves(test.curves)
    if test.details is not None:
        yield from _details(test.details)
    if test.message:
        # The fence is longer than any run of backticks in the message, so that no line of it closes the fence.
        message = shown(test.message[:_MOST_MESSAGE_CHARACTERS])
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", message)), default=0))
        yield f"{fence}text"
        yield message
        yield fence
    yield ""
    yield f"To repeat it: {code(command_line(['pytest', test.name]))}"
    yield ""
    yield "</details>"


def _curves(curves: Curves) -> Iterator[str]:
    strengths = " | ".join(f"{strength:g}" for strength in curves.strengths)
    yield f"| {escaped(curves.field)} | {strengths} |"
    yield "|---" * (1 + len(curves.strengths)) + "|"
    for curve in curves.curves:
        observed = " | ".join("–" if interval is None else interval.text for interval in curve.observed)
        yield f"| {escaped(curve.metric)}{escaped(curves.breaking_text(curve))} | {observed} |"
    yield ""


def _details(details: Details) -> Iterator[str]:
    if details.moves:
        frequent = details.moves[:_MOST_MOVES]
        moves = ", ".join(f"{escaped(move.before)} → {escaped(move.after)} {move.images:,}" for move in frequent)
        yield f"{details.flips:,} predictions change: {moves}, …"
        yield ""
    for shares in details.shares:
        yield f"{shares.role} ({escaped(shares.model)}): {_most_changed(shares)}"
        yield ""


def _most_changed(shares: Shares) -> str:
    rows = zip(shares.classes, shares.before, shares.after, strict=True)
    ordered = sorted(rows, key=lambda row: -abs(row[2] - row[1]))[:_MOST_MOVES]
    return ", ".join(f"{escaped(name)} {before:.1%} → {after:.1%}" for name, before, after in ordered)


def code(text: str) -> str:
    """Return any text as inline code, in one line and without an unescaped ``|``, so that it fits into a table.

    >>> code("test_x[a|b]")
    '`test_x[a\\\\|b]`'
    """
    line = in_one_line(" ".join(text.split()))
    line = line if len(line) <= _MOST_CHARACTERS else f"{line[:_MOST_CHARACTERS]}…"
    ticks = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{ticks}{space}{line}{space}{ticks}".replace("|", "\\|")


def escaped(text: str, most: int = _MOST_CHARACTERS) -> str:
    """Return a text of at most `most` characters in one line, with the characters escaped that mean markup.

    >>> escaped("<b>_x_|y</b>")
    '&lt;b&gt;\\\\_x\\\\_\\\\|y&lt;/b&gt;'
    """
    line = in_one_line(" ".join(text.split()))
    line = line if len(line) <= most else f"{line[:most]}…"
    return re.sub(r"([\\`*_\[\]#|~])", r"\\\1", html_escaped(line))


def html_escaped(text: str) -> str:
    """Return a text with the characters escaped that begin HTML tags and entities."""
    # The ampersand comes first: the other two replacements insert ampersands.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
