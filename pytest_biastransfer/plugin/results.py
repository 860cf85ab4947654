"""What became of the bias tests, gathered by one process from the reports of all: the one list that is reported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pytest

from pytest_biastransfer.names import typed_name
from pytest_biastransfer.plugin.state import REPORT_LINES, RESULTS
from pytest_biastransfer.reporting.outcomes import SEVERITY

if TYPE_CHECKING:
    from pytest_biastransfer.reporting.outcomes import Outcome
    from pytest_biastransfer.reporting.record import Record


@dataclass(frozen=True)
class TestResult:
    """A bias test that came to an end, or did not.

    Attributes
    ----------
    outcome
        pytest's word; ``"lost"`` if a worker did not bring it to its end.
    report
        The report that says so.
    seconds
        How long it took, with setup and teardown.
    """

    outcome: Outcome
    report: pytest.TestReport
    seconds: float

    @property
    def record(self) -> Record:
        """Its figures; none for one whose worker died."""
        from pytest_biastransfer.reporting.record import Record

        text = vars(self.report).get("bias_record")
        return Record() if text is None else Record.from_json(text)


class Results:
    """Gathers the reports of bias tests.

    A test with several outcomes, such as passed with an error in teardown, has the worst one.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._worst: dict[str, tuple[Outcome, pytest.TestReport]] = {}
        self._seconds: dict[str, float] = {}
        self._some_stale = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take a report, if it is of a bias test that somebody wants to know of."""
        self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0.0) + getattr(report, "duration", 0.0)
        self._some_stale |= hasattr(report, "bias_stale")
        outcome = _outcome(report)
        # Reports carry a record, unless the worker died.
        if outcome is None or not (hasattr(report, "bias_record") or outcome == "lost"):
            return
        known = self._worst.get(report.nodeid)
        # Of equal ones the last: those of subtests, which are without a verdict, come before that of their test.
        if known is None or SEVERITY.index(outcome) <= SEVERITY.index(known[0]):
            self._worst[report.nodeid] = (outcome, report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Let no session be green whose tests passed with what turned out to be stale afterwards."""
        if not self._some_stale:
            return
        from pytest_biastransfer.plugin.runtest.verification import measured_of_stale
        from pytest_biastransfer.reporting.summary_table import stale_lines

        seen = list(self)
        too_late = [typed_name(self._config, nodeid) for nodeid in measured_of_stale(seen)]
        findings = dict.fromkeys(text for one in seen for text in one.record.stale)
        self._config.stash.setdefault(REPORT_LINES, []).extend(stale_lines(list(findings), too_late))
        if too_late and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def __iter__(self) -> Iterator[TestResult]:
        """Yield the tests in the order of the files, whatever order workers finished in."""
        for outcome, report in sorted(self._worst.values(), key=lambda found: place_of(found[1])):
            yield TestResult(outcome, report, self._seconds[report.nodeid])


def watch_results(config: pytest.Config) -> None:
    """Have this process gather the results, unless it is a worker."""
    if not hasattr(config, "workerinput"):
        config.stash[RESULTS] = Results(config)
        config.pluginmanager.register(config.stash[RESULTS], "biastransfer-results")


def as_lost(report: pytest.TestReport, phase: Literal["call", "teardown"]) -> None:
    """Have a report say of a bias test that no process brought it to the end of a phase.

    To others it is one of a test that failed. "???", which pytest-xdist has for the phase, is not shown by all.
    """
    report.when = phase
    report.bias_lost = True  # type: ignore[attr-defined]


def is_lost(report: pytest.TestReport) -> bool:
    """Whether a report says that."""
    return hasattr(report, "bias_lost")


def place_of(report: pytest.TestReport) -> tuple[str, int, str]:
    """Return where a test is, for sorting."""
    path, line, _ = report.location
    return path, line or 0, report.nodeid


def _outcome(report: pytest.TestReport) -> Outcome | None:
    """Return pytest's word for a report; None for one that says nothing of its own, as a passed setup does."""
    if is_lost(report):
        return "lost"
    if hasattr(report, "wasxfail") and report.when != "teardown":
        return "xfailed" if report.skipped else "xpassed" if report.passed else "failed"
    if report.passed:
        return "passed" if report.when == "call" else None
    if report.failed:
        return "failed" if report.when == "call" else "error"
    # Other plugins have other words, such as for a run that is repeated.
    return "skipped" if report.skipped else None
