"""The outcomes of a session's bias tests, gathered by one process from the reports of all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pytest

from pytest_biastransfer.reporting.outcomes import SEVERITY

if TYPE_CHECKING:
    from pytest_biastransfer.plugin.records import AttachedRecord, RecordReader
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
    test
        What its process told of it.
    """

    outcome: Outcome
    report: pytest.TestReport
    seconds: float
    test: AttachedRecord

    @property
    def record(self) -> Record:
        """Its figures; none for one whose worker died."""
        from pytest_biastransfer.reporting.record import Record

        return self.test.bias or Record()


class Results:
    """Gathers the reports of bias tests.

    A test with several outcomes, such as passed with an error in teardown, has the worst one.
    """

    def __init__(self, reader: RecordReader) -> None:
        self._reader = reader
        self._worst: dict[str, tuple[Outcome, pytest.TestReport]] = {}
        self._seconds: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take a report, if it is of a bias test that somebody wants to know of."""
        self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0.0) + getattr(report, "duration", 0.0)
        outcome = _outcome(report)
        # The report of a bias test carries a record, unless its worker died.
        if outcome is None or (self._reader.read(report).bias is None and outcome != "lost"):
            return
        earlier = self._worst.get(report.nodeid)
        # Of equal ones the last: those of subtests, which are without a verdict, come before that of their test.
        if earlier is None or SEVERITY.index(outcome) <= SEVERITY.index(earlier[0]):
            self._worst[report.nodeid] = (outcome, report)

    def __iter__(self) -> Iterator[TestResult]:
        """Yield the tests in the order of the files, whatever order workers finished in."""
        for outcome, report in sorted(self._worst.values(), key=lambda result: sort_key(result[1])):
            yield TestResult(outcome, report, self._seconds[report.nodeid], self._reader.read(report))


def as_lost(report: pytest.TestReport, phase: Literal["call", "teardown"]) -> None:
    """Have a report say of a bias test that no process brought it to the end of a phase.

    To others it is one of a test that failed. "???", which pytest-xdist has for the phase, is not shown by all.
    """
    report.when = phase
    report.bias_lost = True  # type: ignore[attr-defined]


def is_lost(report: pytest.TestReport) -> bool:
    """Whether a report says that."""
    return hasattr(report, "bias_lost")


def sort_key(report: pytest.TestReport) -> tuple[str, int, str]:
    """Return the file, line and name of a test, which order the results."""
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
