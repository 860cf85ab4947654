"""Puts the points that the tests of a function measured together to one sweep, and writes its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_biastransfer.errors import ReportError

if TYPE_CHECKING:
    from pytest_biastransfer.plugin.records import RecordReader
    from pytest_biastransfer.transfer.sweep_result import Sweep


@dataclass
class GatheredSweep:
    """A sweep of the tests of one function.

    Attributes
    ----------
    test
        The node id of the tests, without their parameters.
    points
        What they measured, as plain data.
    save
        The files to write, relative to where pytest was started.
    problems
        Why files could not be written.
    """

    test: str
    points: list[dict[str, Any]] = field(default_factory=list)
    save: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def sweep(self) -> Sweep:
        """Its points, together."""
        # Not imported by a session without sweeps.
        from pytest_biastransfer.transfer.sweep_result import Sweep, SweepPoint

        return Sweep([SweepPoint.from_json(point) for point in self.points])


class SweepGatherer:
    """Gathers the points of all processes in one: the controller, or the only process."""

    def __init__(self, config: pytest.Config, reader: RecordReader) -> None:
        self._directory = config.invocation_params.dir
        self._reader = reader
        self._sweeps: dict[tuple[str, str], GatheredSweep] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the points that a test measured, also of one that failed."""
        for one in self._reader.read(report).sweep_points:
            test = report.nodeid.partition("[")[0]
            sweep = self._sweeps.setdefault((test, one["point"]["question"]), GatheredSweep(test))
            sweep.points.append(one["point"])
            sweep.save += [path for path in one["save"] if path not in sweep.save]

    @property
    def sweeps(self) -> list[GatheredSweep]:
        """All sweeps, in the order of the names of their tests."""
        return [self._sweeps[key] for key in sorted(self._sweeps)]

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the files; one that cannot be written fails the session."""
        for sweep in self.sweeps:
            for path in sweep.save:
                file = Path(self._directory, path)
                try:
                    sweep.sweep.save(file)
                except ReportError as error:
                    reason = str(error).removeprefix(f"{file}: ")
                    sweep.problems.append(f"save={path}: {reason}; name another file")
                    session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED
