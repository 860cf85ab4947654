"""One report of several: sessions that shared the tests."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from pytest_biastransfer.reporting.outcomes import SEVERITY
from pytest_biastransfer.reporting.performance import once_each
from pytest_biastransfer.reporting.report.result import Result
from pytest_biastransfer.reporting.report.session_report import Report, Session


def read_from(report: Report, file: str) -> Report:
    """Return a report whose sessions name the file that they were read from; those that name one already keep it."""
    sessions = [session if session.file else dataclasses.replace(session, file=file) for session in report.sessions]
    return dataclasses.replace(report, sessions=sessions)


def merged(reports: Iterable[Report]) -> Report:
    """Return one report with the tests of several, such as those of several machines that shared the tests.

    A test that is in several reports has its worst outcome: it failed on one of the machines.
    """
    reports = list(reports)
    sessions: list[Session] = []
    worst: dict[tuple[str, str], Result] = {}
    for report in reports:
        for test in report.tests:
            other = worst.get((test.file, test.name))
            if other is None or SEVERITY.index(test.outcome) < SEVERITY.index(other.outcome):
                worst[test.file, test.name] = dataclasses.replace(test, session=len(sessions) + test.session)
        sessions += report.sessions
    return Report(
        sessions=sessions,
        # The order in which machines finish must not change the merged report.
        tests=sorted(worst.values(), key=lambda test: (test.file, test.line, test.name)),
        performances=once_each(performance for report in reports for performance in report.performances),
        evaluated=sum(report.evaluated for report in reports),
        reused=sum(report.reused for report in reports),
        # Sessions of one run have one level. If they differ, the report names the strictest.
        alpha=min((report.alpha for report in reports), default=0.01),
    )
