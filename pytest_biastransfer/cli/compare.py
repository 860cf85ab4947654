"""``biastransfer compare``: regressions between two sessions, by the tests of a baseline comparison."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.errors import ReportError
from pytest_biastransfer.plain_text import in_one_line
from pytest_biastransfer.reporting.outcomes import FAILED

if TYPE_CHECKING:
    from pytest_biastransfer.baseline.comparison import BaselineComparison, BaselineRecord
    from pytest_biastransfer.reporting.report import Report, Result


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
    from pytest_biastransfer.reporting.report import read_report

    old, new = read_report(options.old), read_report(options.new)
    comparisons = _comparisons(old, new, options.old)
    before, now = _by_name(old), _by_name(new)
    broken = [name for name, test in now.items() if test.outcome in FAILED and not _failed(before.get(name))]
    sys.stdout.writelines(f"{in_one_line(line)}\n" for line in _lines(comparisons, before, now, broken))
    worse = bool(broken) or any(comparison.meaning == "regression" for comparison in comparisons)
    return 1 if worse and options.fail_on_regression else 0


def _by_name(report: Report) -> Mapping[str, Result]:
    return {test.name: test for test in report.tests}


def _failed(test: Result | None) -> bool:
    return test is not None and test.outcome in FAILED


def _comparisons(old: Report, new: Report, old_path: Path) -> list[BaselineComparison]:
    """Return the comparisons of the tests that are measured in both reports."""
    from pytest_biastransfer.baseline.comparison import compared_together

    before = {tuple(test.key): test for test in old.tests if test.key is not None and test.entry is not None}
    records = [
        (test.name, _record(before[tuple(test.key)], test, old_path, new.alpha))
        for test in new.tests
        if test.key is not None and test.entry is not None and tuple(test.key) in before
    ]
    return compared_together(records, new.alpha)


def _record(old: Result, new: Result, old_path: Path, alpha: float) -> BaselineRecord:
    from pytest_biastransfer.baseline.comparison import BaselineRecord
    from pytest_biastransfer.baseline.entry import Entry
    from pytest_biastransfer.baseline.near_ties import rounding_between, unchecked_text
    from pytest_biastransfer.baseline.regression import changes, comparable, maybe_worse
    from pytest_biastransfer.baseline.seeds import is_of_another_checkpoint, same_declaration

    assert new.key is not None
    try:
        before, now = Entry.from_json(old.entry), Entry.from_json(new.entry)
        problem = "" if same_declaration(before, now) else "it measures something else now"
        metrics = comparable(before, now, [] if problem else new.metrics)
        tolerances = new.max_regression, new.max_accuracy_regression
        found, between = changes(before, now, metrics, *tolerances), rounding_between(before, now)
        doubt = (
            between and maybe_worse(found, alpha) and unchecked_text(between, "a report does not have their outputs")
        )
        return BaselineRecord(
            new.key,
            problem,
            changes=found,
            of_another_checkpoint=is_of_another_checkpoint(before, now),
            unchecked_rounding=doubt or "",
        )
    except ValueError as error:
        raise ReportError(f"{old_path}: the entry of {new.name} is damaged: {error}; write the report again") from error


def _lines(
    comparisons: list[BaselineComparison], before: Mapping[str, Result], now: Mapping[str, Result], broken: list[str]
) -> Iterator[str]:
    from pytest_biastransfer.reporting.regression_text import accuracy_lines, change_lines, counts_text
    from pytest_biastransfer.reporting.seed_text import ONE_REPORT, is_told_by_one_checkpoint
    from pytest_biastransfer.reporting.wording import counted

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
    for name in broken:
        was = f"was {before[name].outcome}" if name in before else "is new"
        yield f"  {name}: {now[name].outcome}, {was}"
    for name in sorted(before.keys() - now.keys()):
        yield f"  {name}: only in the older report"
