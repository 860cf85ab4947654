"""Tests that passed with stored predictions which turned out to be stale afterwards: they turn the session red."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_biastransfer.plugin.node_names import typed_name
from pytest_biastransfer.plugin.state import REPORT_LINES, RESULTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_biastransfer.plugin.results import TestResult


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let no session be green whose tests passed with stale predictions, and list what was dropped."""
    results: list[TestResult] = [*session.config.stash[RESULTS]]
    findings = dict.fromkeys(text for result in results for text in result.record.stale)
    if not findings:
        return
    from pytest_biastransfer.reporting.summary_table import stale_lines

    names = [typed_name(session.config, nodeid) for nodeid in measured_from_stale(results)]
    session.config.stash.setdefault(REPORT_LINES, []).extend(stale_lines(list(findings), names))
    if names and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def measured_from_stale(results: Iterable[TestResult]) -> list[str]:
    """Return the tests that passed with predictions that were found stale later, or in another worker."""
    tests = [(result.report.nodeid, result.outcome, result.record) for result in results]
    dropped = {key for _, _, record in tests for key in record.dropped}
    return [
        nodeid
        for nodeid, outcome, record in tests
        if outcome in ("passed", "xfailed", "xpassed") and not dropped.isdisjoint(record.bases)
    ]
