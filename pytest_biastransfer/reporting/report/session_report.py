"""A report as plain data: the sessions, and the results of their tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pytest_biastransfer.reporting.performance import Performance
from pytest_biastransfer.reporting.report.result import Result

# Increased when a reader of the old schema would misunderstand the new one.
SCHEMA: Final = 1


@dataclass(frozen=True)
class Session:
    """One run of pytest.

    Attributes
    ----------
    started, seconds
        Its start (UTC, ISO 8601), and its duration in seconds.
    environment
        The versions that it ran with.
    commit
        The full hash of the commit that was checked out; empty if it is not known.
    job
        The name of the CI job; empty outside CI.
    file
        The file that it was read from, as it was typed, in a report that was joined from several; otherwise empty.
    """

    started: str
    seconds: float
    environment: Mapping[str, str]
    commit: str = ""
    job: str = ""
    file: str = ""

    @property
    def label(self) -> str:
        """Its file and its job, as far as they are known.

        >>> Session("", 1.0, {}, job="bias", file="part-1.json").label
        'part-1.json, job bias'
        """
        return ", ".join(filter(None, (self.file, f"job {self.job}" if self.job else "")))


@dataclass(frozen=True)
class Report:
    """The bias tests of a session, or of several sessions that shared the tests.

    Attributes
    ----------
    sessions
        The runs.
    tests
        The results, in the order of the tests' files.
    evaluated, reused
        The number of predictions that were computed, and that came from the store.
    alpha
        The significance level of the tests for regressions.
    performances
        The performance of each model on the unchanged images of each dataset.
    schema
        The version of the schema.
    """

    sessions: Sequence[Session]
    tests: Sequence[Result] = field(default=())
    evaluated: int = 0
    reused: int = 0
    alpha: float = 0.01
    performances: Sequence[Performance] = ()
    schema: int = SCHEMA
