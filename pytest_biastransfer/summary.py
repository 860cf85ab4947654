"""The session's summary: the records that came with the tests' reports, in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_biastransfer.names import typed_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest
    from _pytest.terminal import TerminalReporter

    from pytest_biastransfer.reporting.terminal import Row


def write_summary(reporter: TerminalReporter) -> None:
    """Write the table and the sentence, or with ``-q`` the sentence alone; nothing without bias tests."""
    reports = list(_bias_reports(reporter))
    if not reports:
        return
    from pytest_biastransfer.reporting.terminal import sentence, table

    rows = _rows(reports, reporter.config)
    if reporter.verbosity >= 0:
        reporter.write_sep("=", "bias transfer")
        for line in table(rows, reporter._tw.fullwidth):
            reporter.write(line.text)
            reporter.write_line(line.verdict, **({line.color: True} if line.color else {}))
    reporter.write_line(sentence(rows))


def _bias_reports(reporter: TerminalReporter) -> Iterator[tuple[str, pytest.TestReport]]:
    """Yield the reports that carry a record, with pytest's word for their outcome."""
    for outcome, reports in reporter.stats.items():
        for report in reports:
            if hasattr(report, "bias_record"):
                yield outcome, report


def _rows(reports: list[tuple[str, pytest.TestReport]], config: pytest.Config) -> list[Row]:
    """Return a row a bias test, in the order of the files, whatever order workers finished in.

    A test with several outcomes, such as passed with an error in teardown, is shown by the worst one.
    """
    from pytest_biastransfer.reporting.record import Record
    from pytest_biastransfer.reporting.terminal import OUTCOMES, Row

    severity = list(OUTCOMES)
    worst: dict[str, tuple[str, pytest.TestReport]] = {}
    for outcome, report in reports:
        known = worst.get(report.nodeid)
        if outcome in severity and (known is None or severity.index(outcome) < severity.index(known[0])):
            worst[report.nodeid] = (outcome, report)
    in_order = sorted(worst.values(), key=lambda found: _place(found[1]))
    return [
        Row(typed_name(config, report.nodeid), outcome, Record.from_json(vars(report)["bias_record"]))
        for outcome, report in in_order
    ]


def _place(report: pytest.TestReport) -> tuple[str, int, str]:
    path, line, _ = report.location
    return path, line or 0, report.nodeid
