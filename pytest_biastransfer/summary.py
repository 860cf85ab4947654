"""The session's summary: the records that came with the tests' reports, in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_biastransfer.reporting.record import Record
from pytest_biastransfer.reporting.terminal import OUTCOMES, Row, sentence, table

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter


def write_summary(reporter: TerminalReporter) -> None:
    """Write the table and the sentence, or with ``-q`` the sentence alone; nothing without bias tests."""
    rows = _rows(reporter)
    if not rows:
        return
    if reporter.verbosity >= 0:
        reporter.write_sep("=", "bias transfer")
        for line in table(rows, reporter._tw.fullwidth):
            reporter.write(line.text)
            reporter.write_line(line.verdict, **({line.color: True} if line.color else {}))
    reporter.write_line(sentence(rows))


def _rows(reporter: TerminalReporter) -> list[Row]:
    """Return a row a bias test, in the order of the files, whatever order workers finished in.

    A test with several outcomes, such as passed with an error in teardown, is shown by the worst one.
    """
    found: dict[str, tuple[tuple[str, int, str], Row]] = {}
    for outcome in reversed(list(OUTCOMES)):
        for report in reporter.stats.get(outcome, []):
            text = getattr(report, "bias_record", None)
            if text is not None:
                path, line, _ = report.location
                place = (path, line or 0, report.nodeid)
                found[report.nodeid] = (place, Row(report.nodeid, outcome, Record.from_json(text)))
    return [row for _, row in sorted(found.values(), key=lambda pair: pair[0])]
