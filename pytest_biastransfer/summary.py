"""The session's summary: the records that came with the tests' reports, in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_biastransfer.names import typed_name
from pytest_biastransfer.stash import BASELINE_LINES, BIAS_TESTS, NOTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.terminal import TerminalReporter

    from pytest_biastransfer.reporting.record import Record
    from pytest_biastransfer.reporting.terminal import Line, Row


def write_summary(reporter: TerminalReporter) -> None:
    """Write the table and the sentence, or with ``-q`` the sentence alone; nothing without bias tests."""
    reports = list(_bias_reports(reporter))
    if reports:
        _write_tests(reporter, reports)
    for line in reporter.config.stash.get(BASELINE_LINES, ()):
        _write_line(reporter, line)
    if reporter.verbosity >= 0:
        _write_notes(reporter)


def _write_tests(reporter: TerminalReporter, reports: list[tuple[str, pytest.TestReport]]) -> None:
    from pytest_biastransfer.reporting.terminal import lost_sentence, sentence, table

    rows = _rows(reports, reporter.config)
    if reporter.verbosity >= 0:
        reporter.write_sep("=", "bias transfer")
        for line in table(rows, reporter._tw.fullwidth):
            _write_line(reporter, line)
    reporter.write_line(sentence(rows))
    lost = sorted({typed_name(reporter.config, report.nodeid) for _, report in reports if _is_lost(report)})
    if lost:
        reporter.write_line(lost_sentence(lost), red=True)


def attach_notes(item: pytest.Item, report: pytest.TestReport) -> None:
    """Attach what a test found out besides its verdict to its report, as text that travels between processes."""
    if report.when == "call" and NOTES in item.stash:
        report.bias_notes = item.stash[NOTES]  # type: ignore[attr-defined]


def _write_notes(reporter: TerminalReporter) -> None:
    """Write what tests found out besides, in the order of the tests, as a section of its own."""
    reports = [report for group in reporter.stats.values() for report in group if hasattr(report, "bias_notes")]
    if reports:
        reporter.write_sep("=", "bias transfer: experiments")
    for report in sorted(reports, key=_place):
        for note in report.bias_notes:
            reporter.write_line(f"{typed_name(reporter.config, report.nodeid)}: {note}")


def _write_line(reporter: TerminalReporter, line: Line) -> None:
    reporter.write(line.text)
    reporter.write_line(line.verdict, **({line.color: True} if line.color else {}))


def _bias_reports(reporter: TerminalReporter) -> Iterator[tuple[str, pytest.TestReport]]:
    """Yield the reports of bias tests, with pytest's word for their outcome.

    They carry a record, unless the worker died: then it is known from the collection what they were.
    """
    bias_tests = reporter.config.stash.get(BIAS_TESTS, ())
    for outcome, reports in reporter.stats.items():
        for report in reports:
            if hasattr(report, "bias_record") or (_is_lost(report) and report.nodeid in bias_tests):
                yield outcome, report


def _is_lost(report: object) -> bool:
    """Whether a report stands for a test that a worker did not bring to its end."""
    return getattr(report, "when", None) == "???"


def _rows(reports: list[tuple[str, pytest.TestReport]], config: pytest.Config) -> list[Row]:
    """Return a row a bias test, in the order of the files, whatever order workers finished in.

    A test with several outcomes, such as passed with an error in teardown, is shown by the worst one.
    """
    from pytest_biastransfer.reporting.terminal import OUTCOMES, Row

    severity = list(OUTCOMES)
    worst: dict[str, tuple[str, pytest.TestReport]] = {}
    for outcome, report in reports:
        known = worst.get(report.nodeid)
        if outcome in severity and (known is None or severity.index(outcome) < severity.index(known[0])):
            worst[report.nodeid] = (outcome, report)
    in_order = sorted(worst.values(), key=lambda found: _place(found[1]))
    return [Row(typed_name(config, report.nodeid), outcome, _record(report)) for outcome, report in in_order]


def _record(report: pytest.TestReport) -> Record:
    from pytest_biastransfer.reporting.record import Record

    text = vars(report).get("bias_record")
    return Record() if text is None else Record.from_json(text)


def _place(report: pytest.TestReport) -> tuple[str, int, str]:
    path, line, _ = report.location
    return path, line or 0, report.nodeid
