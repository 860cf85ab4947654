"""What the documents of one report and of two reports have in common: tables of tests, and the unchanged images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.reporting.markdown.markup import code, escaped, fitting, folded, table
from pytest_biastransfer.reporting.performance import titled
from pytest_biastransfer.reporting.wording import counted

if TYPE_CHECKING:
    from pytest_biastransfer.reporting.report import Report

# The most characters of each section.
MOST_OTHERS: Final = 8_000
_MOST_PERFORMANCES: Final = 6_000


def table_of_tests(
    heads: Sequence[str], rows: Sequence[Sequence[str]], most: int, left_out: str = "more test"
) -> Iterator[str]:
    """Yield a table of the first tests that have at most `most` characters, and how many others there are."""
    head, rule, *lines = table(heads, rows)
    fit = fitting([[line] for line in lines], most)
    yield from (head, rule)
    for line in fit:
        yield from line
    if len(fit) < len(rows):
        yield ""
        yield f"{counted(len(rows) - len(fit), left_out)}."


def unchanged_images(reports: Sequence[tuple[str, Report]]) -> Iterator[str]:
    """Yield a folded section of the models on unchanged images; reports are given with names, or one without."""
    lines = [
        f"- {f'{code(name)}: ' if name else ''}{escaped(title)}: {escaped(performance.figures)}."
        f"{_defect(performance.defect)}"
        for name, report in reports
        for title, performance in titled(report.performances)
    ]
    if not lines:
        return
    yield ""
    fit = [line for (line,) in fitting([[line] for line in lines], _MOST_PERFORMANCES)]
    left_out = [f"- {len(lines) - len(fit):,} more."] if len(fit) < len(lines) else []
    yield from folded("Models on unchanged images", [*fit, *left_out])


def _defect(text: str) -> str:
    return f" **Degenerate**: {escaped(text)}." if text else ""
