"""``biastransfer report``: joins reports of several sessions, sets two side by side, or plots several as a trend."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pytest_biastransfer.errors import ReportError
from pytest_biastransfer.reporting.render import RENDERERS

if TYPE_CHECKING:
    from pytest_biastransfer.reporting.image_strips import ImageStrips
    from pytest_biastransfer.reporting.report import Report

Mode = Literal["merge", "compare", "trend"]
# What the file has, for the line that the command prints.
_CONTENTS: Final[dict[Mode, str]] = {"merge": "all tests", "compare": "the comparison", "trend": "the trend"}


def add_command(commands: Any) -> None:
    """Add the command to the parser."""
    report = commands.add_parser(
        "report",
        help="join JSON reports of one run, compare two checkpoints, or plot the trend of several runs",
        examples=[
            "biastransfer report part-1.json part-2.json --out=bias.html",
            "biastransfer report main.json branch.json --out=compare.html",
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
    report.add_argument(
        "--images",
        action="store_true",
        help="with --out=NAME.md: draw flipped images into NAME-images/ beside the file, and link to them",
    )
    report.add_argument(
        "--image-url",
        metavar="URL",
        help="where NAME-images/ is uploaded to; the links begin with it (with --images; default: relative links)",
    )
    _add_modes(report.add_mutually_exclusive_group())
    report.set_defaults(run=run)


def _add_modes(kind: Any) -> None:
    """Add the options that say what the reports are."""
    kind.add_argument(
        "--merge", action="store_true", help="the reports are parts of one run (default if no test is in two reports)"
    )
    kind.add_argument(
        "--compare",
        action="store_true",
        help="two reports of the same tests, the earlier one first, side by side (default for two)",
    )
    kind.add_argument(
        "--trend", action="store_true", help="the reports are runs of the same tests (default for three or more)"
    )


def run(options: argparse.Namespace) -> int:
    """Write the file."""
    from pytest_biastransfer.reporting.render import expected_suffix, save
    from pytest_biastransfer.reporting.report import read_from, read_report

    out: Path = options.out
    if out.suffix not in RENDERERS:
        raise ReportError(f"--out={out}: {expected_suffix()}")
    strips = _strips(options)
    reports = [read_from(read_report(path), path.as_posix()) for path in options.reports]
    mode = _mode(options, reports)
    text = _rendered(mode, reports, options, strips)
    save(text, out)
    if strips is not None:
        _write(strips.linked(text), out.with_name(f"{out.stem}-images"))
    sys.stdout.write(f"{out}: {_CONTENTS[mode]} of {len(reports)} report{'s' * (len(reports) > 1)}\n")
    return 0


def _mode(options: argparse.Namespace, reports: Sequence[Report]) -> Mode:
    """Return what the options say that the reports are, or else what their tests tell.

    Two runs of the same tests are compared: two points are no trend, and what differs is the question.
    """
    if options.merge:
        return "merge"
    if options.compare:
        if len(reports) != 2:
            raise ReportError(
                f"--compare sets two reports side by side, found {len(reports)}; name two, or use --trend"
            )
        return "compare"
    if options.trend:
        return "trend"
    if not _are_runs(reports):
        return "merge"
    return "compare" if len(reports) == 2 else "trend"


def _rendered(mode: Mode, reports: Sequence[Report], options: argparse.Namespace, strips: ImageStrips | None) -> str:
    from pytest_biastransfer.reporting.markdown import render_markdown
    from pytest_biastransfer.reporting.render import render
    from pytest_biastransfer.reporting.report import merged

    out: Path = options.out
    if mode == "compare":
        return _comparison(reports, options, strips)
    if mode == "trend":
        if out.suffix != ".html":
            raise ReportError(f"--out={out}: a trend is a page; name a .html file, or join the reports with --merge")
        from pytest_biastransfer.reporting.html import render_trend

        return render_trend(reports)
    return render_markdown(merged(reports), strips) if strips is not None else render(merged(reports), out)


def _comparison(reports: Sequence[Report], options: argparse.Namespace, strips: ImageStrips | None) -> str:
    from pytest_biastransfer.reporting.comparison import compare_reports
    from pytest_biastransfer.reporting.html import render_comparison
    from pytest_biastransfer.reporting.markdown import render_comparison_markdown

    if options.out.suffix not in (".html", ".md"):
        raise ReportError(
            f"--out={options.out}: a comparison is a page or Markdown; name a .html or .md file, or join the reports "
            f"with --merge"
        )
    old, new = reports
    comparison = compare_reports(old, new, tuple(options.reports))
    return (
        render_comparison(comparison)
        if options.out.suffix == ".html"
        else render_comparison_markdown(comparison, strips)
    )


def _strips(options: argparse.Namespace) -> ImageStrips | None:
    """Return what collects the strips that a Markdown file links to; None if it links to none."""
    if not options.images and options.image_url is None:
        return None
    if options.out.suffix != ".md" or not options.images:
        wanted = "--images --out=NAME.md" if options.image_url is None else "--images --image-url=URL --out=NAME.md"
        raise ReportError(f"--out={options.out}: images are drawn beside Markdown only; type {wanted}")
    from pytest_biastransfer.reporting.image_strips import ImageStrips

    return ImageStrips(options.image_url or f"{options.out.stem}-images")


def _write(files: Mapping[str, bytes], directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (directory / name).write_bytes(content)
    except OSError as error:
        raise ReportError(f"{directory} cannot be written: {error.strerror}") from error


def _are_runs(reports: Sequence[Report]) -> bool:
    """Whether any test has a result in several of the reports."""
    tests = Counter(
        (test.file, test.name) for report in reports for test in report.tests if test.outcome not in ("skipped", "lost")
    )
    return any(count > 1 for count in tests.values())
