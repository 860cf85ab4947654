"""The session's summary: the records that came with the tests' reports, in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_biastransfer.plain_text import in_one_line, path_from, shown
from pytest_biastransfer.plugin.node_names import typed_name
from pytest_biastransfer.plugin.pytest_internals import terminal_encoding, terminal_width
from pytest_biastransfer.plugin.repeated_command import command_of
from pytest_biastransfer.plugin.results import sort_key
from pytest_biastransfer.plugin.state import BASELINE_LINES, COMPARED, RECORDS, REPORT_LINES, RESULTS, SWEEPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xdist.workermanage import WorkerController

    from pytest_biastransfer.plugin.results import TestResult
    from pytest_biastransfer.reporting.summary_table import Line, Row
    from pytest_biastransfer.reporting.workers import WorkerTime


def write_summary(reporter: pytest.TerminalReporter) -> None:
    """Write the table and the sentences, or with ``-q`` the sentence alone; nothing without bias tests.

    The table has what is not as it should be, or as it was; with ``-v`` all tests.
    """
    stash = reporter.config.stash
    results = stash.get(RESULTS, None)
    bias_results = list(results or ())
    if bias_results:
        _write_tests(reporter, bias_results)
    for line in (*stash.get(BASELINE_LINES, ()), *stash.get(REPORT_LINES, ())):
        _write_line(reporter, line)
    if reporter.verbosity >= 0:
        _write_remarks(reporter, bias_results)
        if reporter.verbosity > 0:
            _write_loaded_models(reporter)
        _write_notes(reporter)


def _write_tests(reporter: pytest.TerminalReporter, bias_results: Sequence[TestResult]) -> None:
    from pytest_biastransfer.reporting.performance import once_each
    from pytest_biastransfer.reporting.summary_table import (
        failed_tests,
        hidden_sentence,
        limits_sentence,
        lost_sentence,
        performance_rows,
        sentence,
    )
    from pytest_biastransfer.reporting.workers import workers_sentence

    rows = _rows(reporter.config, bias_results)
    shown = [row for row in rows if reporter.verbosity > 0 or not row.is_quiet]
    if reporter.verbosity >= 0:
        reporter.write_sep("=", "bias transfer")
        if shown:
            from pytest_biastransfer.reporting.summary_blocks import blocks

            for line in blocks(shown, terminal_width(reporter)):
                _write_line(reporter, line)
    if reporter.verbosity == 0:
        _write_sentence(reporter, hidden_sentence(rows))
    _write_sentence(reporter, sentence(rows))
    if reporter.verbosity >= 0:
        _write_sentence(reporter, limits_sentence(rows))
    lost = sorted(row.test for row in rows if row.outcome == "lost")
    if lost:
        _write_sentence(reporter, lost_sentence(lost), color="red")
    if reporter.verbosity >= 0:
        _write_sentence(reporter, _again_sentence(reporter.config, failed_tests(rows)))
        _write_sentence(reporter, workers_sentence(_worker_times(bias_results)))
        performances = once_each(performance for row in rows for performance in row.record.performances)
        for line in performance_rows(performances, terminal_width(reporter)):
            _write_line(reporter, line)


def _again_sentence(config: pytest.Config, failed: Sequence[str]) -> str:
    command = command_of(config, failed) if failed else ""
    return f"  to run what failed again: {command}" if command else ""


def _worker_times(bias_results: Sequence[TestResult]) -> list[WorkerTime]:
    from pytest_biastransfer.reporting.workers import WorkerTime

    times: dict[str, WorkerTime] = {}
    for result in bias_results:
        node: WorkerController | None = getattr(result.report, "node", None)
        if node is not None and result.record.computed:
            before = times.get(node.gateway.id, WorkerTime(0.0, 0.0, 0))
            times[node.gateway.id] = WorkerTime(
                before.loading + result.test.loading,
                before.tests + result.seconds,
                before.images + result.record.computed,
            )
    return list(times.values())


def _rows(config: pytest.Config, bias_results: Sequence[TestResult]) -> list[Row]:
    from pytest_biastransfer.reporting.summary_table import Row

    compared = config.stash.get(COMPARED, {})
    return [
        Row(
            typed_name(config, result.report.nodeid),
            result.outcome,
            result.record,
            result.report.nodeid in compared
            and compared[result.report.nodeid].meaning not in ("unchanged", "tolerated"),
        )
        for result in bias_results
    ]


def _write_remarks(reporter: pytest.TerminalReporter, bias_results: Sequence[TestResult]) -> None:
    """Write once what is to be said of the models of several tests."""
    remarks = (remark for result in bias_results for remark in result.test.remarks)
    for remark in dict.fromkeys(remarks):
        _write_sentence(reporter, remark)


def _write_loaded_models(reporter: pytest.TerminalReporter) -> None:
    """Write why models were loaded, a line for each reason, whichever processes have loaded them."""
    reader = reporter.config.stash[RECORDS]
    loaded: dict[str, Sequence[str]] = {}
    for report in sorted(_test_reports(reporter), key=sort_key):
        for key, model in reader.read(report).loaded.items():
            loaded.setdefault(key, model)
    if not loaded:
        return
    from pytest_biastransfer.reporting.summary_table import loading_sentence

    names: dict[str, list[str]] = {}
    for name, reason in loaded.values():
        names.setdefault(reason, []).append(name)
    for reason, of_reason in names.items():
        _write_sentence(reporter, loading_sentence(list(dict.fromkeys(of_reason)), reason))


def _test_reports(reporter: pytest.TerminalReporter) -> list[pytest.TestReport]:
    return [report for group in reporter.stats.values() for report in group if isinstance(report, pytest.TestReport)]


def _write_notes(reporter: pytest.TerminalReporter) -> None:
    """Write what tests found out besides, in the order of the tests, as a section of its own."""
    reader = reporter.config.stash[RECORDS]
    reports = [report for report in _test_reports(reporter) if reader.read(report).notes]
    sweeps = reporter.config.stash[SWEEPS].sweeps
    if reports or sweeps:
        reporter.write_sep("=", "bias transfer: experiments")
    for report in sorted(reports, key=sort_key):
        for note in reader.read(report).notes:
            reporter.write_line(shown(f"{in_one_line(typed_name(reporter.config, report.nodeid))}: {note}"))
    directory = reporter.config.invocation_params.dir
    for sweep in sweeps:
        reporter.write_line(shown(f"{in_one_line(typed_name(reporter.config, sweep.test))}: {sweep.sweep}"))
        for path in sweep.save:
            problem = next((problem for problem in sweep.problems if problem.startswith(f"save={path}:")), None)
            name = path_from(Path(directory, path), directory)
            reporter.write_line(shown(f"  {problem or f'written to {name}'}"), red=problem is not None)


def _write_sentence(reporter: pytest.TerminalReporter, text: str, color: str = "") -> None:
    """Write a text in lines of the terminal's width."""
    from pytest_biastransfer.reporting.summary_table import Line, wrapped

    for line in wrapped(in_one_line(text), terminal_width(reporter)):
        _write_line(reporter, Line("", line, color))


def _write_line(reporter: pytest.TerminalReporter, line: Line) -> None:
    if not line.text and not line.verdict:
        return
    line = line.shown().in_encoding(terminal_encoding(reporter))
    reporter.write(line.text)
    reporter.write_line(line.verdict, **({line.color: True} if line.color else {}))
