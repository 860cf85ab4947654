"""``biastransfer compare``: regressions between two sessions, as text and as an exit status."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.plain_text import in_one_line

if TYPE_CHECKING:
    from pytest_biastransfer.reporting.comparison import ReportComparison


def add_command(commands: Any) -> None:
    """Add the command to the parser."""
    compare = commands.add_parser(
        "compare",
        help="print the regressions between two JSON reports",
        examples=[
            "biastransfer compare main.json branch.json",
            "biastransfer compare main.json branch.json --fail-on-regression",
        ],
    )
    compare.add_argument(
        "old", type=Path, metavar="OLD.json", help="the earlier report, written by --bias-report=OLD.json"
    )
    compare.add_argument("new", type=Path, metavar="NEW.json", help="the later report")
    compare.add_argument(
        "--fail-on-regression",
        action="store_true",
        help="exit with status 1 if there is a regression, or if a test newly fails",
    )
    compare.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compare the two reports, and print the result."""
    from pytest_biastransfer.reporting.comparison import compare_reports
    from pytest_biastransfer.reporting.report import read_report

    comparison = compare_reports(read_report(options.old), read_report(options.new), (options.old, options.new))
    sys.stdout.writelines(f"{in_one_line(line)}\n" for line in _lines(comparison))
    return 1 if comparison.is_worse and options.fail_on_regression else 0


def _lines(reports: ReportComparison) -> Iterator[str]:
    from pytest_biastransfer.reporting.regression_text import accuracy_lines, change_lines, counts_text
    from pytest_biastransfer.reporting.seed_text import ONE_REPORT, is_told_by_one_checkpoint
    from pytest_biastransfer.reporting.wording import counted

    comparisons = reports.comparisons
    yield (
        f"{counted(len(comparisons), 'bias test')} in both: {counts_text(comparisons)}"
        if comparisons
        else "no bias test was measured in both"
    )
    for line in accuracy_lines(comparisons):
        yield f"{line.text}{line.verdict}"
    for comparison in sorted(comparisons, key=lambda item: (item.meaning != "regression", item.test)):
        for line in change_lines(comparison):
            yield f"{line.text}{line.verdict}"
    if any(map(is_told_by_one_checkpoint, comparisons)):
        yield f"  {ONE_REPORT}"
    for test in reports.tests:
        if test.newly_fails and test.now is not None:
            was = "is new" if test.before is None else f"was {test.before.outcome}"
            yield f"  {test.name}: {test.now.outcome}, {was}"
    for name in sorted(test.name for test in reports.tests if test.now is None):
        yield f"  {name}: only in the older report"
