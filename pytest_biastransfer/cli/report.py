"""``biastransfer report``: joins the reports of several sessions, or plots them as a trend."""

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
    """Add the command to the parser."""
    report = commands.add_parser(
        "report",
        help="join JSON reports of one run, or plot the trend of several runs",
        examples=[
            "biastransfer report part-1.json part-2.json --out=bias.html",
            "biastransfer report nights/*.json --trend --out=trend.html",
        ],
    )
    report.add_argument(
        "reports", nargs="+", type=Path, metavar="FILE.json", help="a report, written by --bias-report=FILE.json"
    )
    report.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        default=Path("bias.html"),
        help=f"the file to write: {', '.join(RENDERERS)} (default: bias.html)",
    )
    kind = report.add_mutually_exclusive_group()
    kind.add_argument(
        "--merge", action="store_true", help="the reports are parts of one run (default if no test is in two reports)"
    )
    kind.add_argument("--trend", action="store_true", help="the reports are runs of the same tests (default otherwise)")
    report.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the file."""
    from pytest_biastransfer.reporting.render import expected_suffix, render, save
    from pytest_biastransfer.reporting.report import merged, read_from, read_report

    out: Path = options.out
    if out.suffix not in RENDERERS:
        raise ReportError(f"--out={out}: {expected_suffix()}")
    reports = [read_from(read_report(path), path.as_posix()) for path in options.reports]
    if options.trend or (not options.merge and _are_runs(reports)):
        if out.suffix != ".html":
            raise ReportError(f"--out={out}: a trend is a page; name a .html file, or join the reports with --merge")
        from pytest_biastransfer.reporting.html import render_trend

        save(render_trend(reports), out)
        content = "the trend"
    else:
        save(render(merged(reports), out), out)
        content = "all tests"
    sys.stdout.write(f"{out}: {content} of {len(reports)} report{'s' * (len(reports) > 1)}\n")
    return 0


def _are_runs(reports: Sequence[Report]) -> bool:
    """Whether any test has a result in several of the reports."""
    tests = Counter(
        (test.file, test.name) for report in reports for test in report.tests if test.outcome not in ("skipped", "lost")
    )
    return any(count > 1 for count in tests.values())
