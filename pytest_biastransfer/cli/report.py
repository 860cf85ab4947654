"""``report``: one page of the reports of several sessions."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.errors import ReportError
from pytest_biastransfer.reporting.render import RENDERERS

if TYPE_CHECKING:
    from pytest_biastransfer.reporting.report import Report


def add_command(commands: Any) -> None:
    """Declare the command."""
    report = commands.add_parser(
        "report",
        help="write a page of JSON reports: of the parts of one run together, or of each metric over many runs",
    )
    report.add_argument("reports", nargs="+", type=Path, metavar="FILE.json", help="written by --bias-report=FILE.json")
    report.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        default=Path("bias.html"),
        help=f"{', '.join(RENDERERS)} (default: bias.html)",
    )
    kind = report.add_mutually_exclusive_group()
    kind.add_argument("--merge", action="store_true", help="they are parts of one run (default if no test is in two)")
    kind.add_argument("--trend", action="store_true", help="they are runs of the same tests (default otherwise)")
    report.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the page."""
    from pytest_biastransfer.reporting.render import expected_suffix, render, save
    from pytest_biastransfer.reporting.report import merged, read_report

    out: Path = options.out
    if out.suffix not in RENDERERS:
        raise ReportError(f"--out={out}: {expected_suffix()}")
    found = [read_report(path) for path in options.reports]
    if options.trend or (not options.merge and _are_runs(found)):
        if out.suffix != ".html":
            raise ReportError(f"--out={out}: a trend is a page; name a .html file, or join the reports with --merge")
        from pytest_biastransfer.reporting.html import render_trend

        save(render_trend(found), out)
        what = "the trend"
    else:
        save(render(merged(found), out), out)
        what = "all tests"
    sys.stdout.write(f"{out}: {what} of {len(found)} report{'s' * (len(found) > 1)}\n")
    return 0


def _are_runs(found: Sequence[Report]) -> bool:
    """Whether a test has a result in several of the reports."""
    tests = Counter(
        (test.file, test.name) for report in found for test in report.tests if test.outcome not in ("skipped", "lost")
    )
    return any(count > 1 for count in tests.values())
