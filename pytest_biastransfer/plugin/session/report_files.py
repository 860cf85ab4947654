"""The report files of a session: checked before the tests run, written after them. Also GitHub's summary and log."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from pytest_biastransfer.plain_text import path_from
from pytest_biastransfer.plugin.node_names import typed_name
from pytest_biastransfer.plugin.session.finish_hook import FinishCaller, is_implemented
from pytest_biastransfer.plugin.settings import SUMMARY_VARIABLE
from pytest_biastransfer.plugin.state import COMPARED, REPORT_LINES, RESULTS, SETTINGS

if TYPE_CHECKING:
    from pytest_biastransfer.plugin.results import TestResult
    from pytest_biastransfer.reporting.report import Report, Result

_LIBRARIES: Final = ("pytest-biastransfer", "pytest", "torch", "torchvision", "numpy")
_GITHUB_ACTIONS: Final = "GITHUB_ACTIONS"


def watch_reports(config: pytest.Config) -> None:
    """Register the writer of reports; xdist workers leave that to the controller."""
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    paths = config.stash[SETTINGS].reports
    for path in paths:
        _require_writable(path)
    writer = ReportWriter(config)
    config.pluginmanager.register(writer, "biastransfer-reports")
    # A conftest file in a directory of tests may implement the hook, and is not read yet.
    config.pluginmanager.register(FinishCaller(config, lambda: writer.report), "biastransfer-session-finish")


def _require_writable(path: Path) -> None:
    """Raise `pytest.UsageError` if a report cannot be written to `path`: better now than after hours of tests."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        existed = path.exists()
        with path.open("a", encoding="utf-8"):
            pass
        if not existed:
            path.unlink()
    except OSError as error:
        raise pytest.UsageError(
            f"--bias-report={path}: cannot be written ({error.strerror}); name another file, or make room for it"
        ) from error


class ReportWriter:
    """Writes the reports at the end of the session, if it writes any.

    Attributes
    ----------
    report
        The results of the session; None before its end, and if nothing asks for them.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.report: Report | None = None
        self._config = config
        self._started = time.time()

    @property
    def _is_needed(self) -> bool:
        return (
            bool(self._config.stash[SETTINGS].reports)
            or SUMMARY_VARIABLE in os.environ
            or os.environ.get(_GITHUB_ACTIONS) == "true"
            or is_implemented(self._config)
        )

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the reports; a report that cannot be written fails the session."""
        if not self._is_needed or exitstatus in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERNAL_ERROR):
            return
        from pytest_biastransfer.errors import ReportError
        from pytest_biastransfer.reporting.render import render, save
        from pytest_biastransfer.reporting.summary_table import Line

        report = self.report = self._report()
        lines = self._config.stash.setdefault(REPORT_LINES, [])
        for path in self._config.stash[SETTINGS].reports:
            name = path_from(path, self._config.invocation_params.dir)
            try:
                save(render(report, path), path)
            except ReportError as error:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
                lines.append(Line(str(error), color="red"))
            else:
                lines.append(Line(f"  report: {name}"))
        if report.tests:
            self._tell_github(report)

    def _tell_github(self, report: Report) -> None:
        """Add the report to the job's summary, and annotations to the job's log."""
        from pytest_biastransfer.reporting.github import workflow_commands
        from pytest_biastransfer.reporting.markdown import render_markdown
        from pytest_biastransfer.reporting.outcomes import FAILED
        from pytest_biastransfer.reporting.summary_table import Line

        lines = self._config.stash[REPORT_LINES]
        summary = os.environ.get(SUMMARY_VARIABLE)
        if summary:
            try:
                with Path(summary).open("a", encoding="utf-8", newline="\n") as file:
                    file.write(render_markdown(report))
            except OSError as error:
                lines.append(Line(f"{SUMMARY_VARIABLE}={summary} cannot be written: {error.strerror}", color="red"))
        if os.environ.get(_GITHUB_ACTIONS) == "true":
            # GitHub wants paths relative to the repository; pytest's root directory may be a folder of it.
            repository = Path(os.environ.get("GITHUB_WORKSPACE", self._config.rootpath))
            root = path_from(self._config.rootpath, repository)
            # The plugin pytest-github-actions-annotate-failures annotates tests that fail in their body.
            annotated = ("failed", "lost") if self._config.pluginmanager.hasplugin("annotate_errors") else ()
            outcomes = [outcome for outcome in FAILED if outcome not in annotated]
            commands = workflow_commands(report, root, outcomes)
            lines.extend(Line(command, is_command=True) for command in commands)

    def _report(self) -> Report:
        from pytest_biastransfer.plugin.session.provenance import commit_of, job_of
        from pytest_biastransfer.reporting.performance import once_each
        from pytest_biastransfer.reporting.report import Report, Session

        results = [*self._config.stash[RESULTS]]
        records = [result.record for result in results]
        computed = sum(record.computed for record in records)
        started = datetime.datetime.fromtimestamp(self._started, datetime.UTC)
        this_session = Session(
            started=started.isoformat(timespec="seconds"),
            seconds=time.time() - self._started,
            environment=environment(),
            commit=commit_of(self._config.rootpath, os.environ),
            job=job_of(os.environ),
        )
        return Report(
            sessions=[this_session],
            tests=[self._result(result) for result in results],
            performances=once_each(performance for record in records for performance in record.performances),
            evaluated=computed,
            reused=max(0, sum(record.images for record in records) - computed),
            alpha=self._config.stash[SETTINGS].alpha,
        )

    def _result(self, result: TestResult) -> Result:
        """Return the report's entry of one test."""
        from pytest_biastransfer.reporting.findings import Finding
        from pytest_biastransfer.reporting.from_json import from_plain
        from pytest_biastransfer.reporting.regression_text import changes_of, standing
        from pytest_biastransfer.reporting.report import Details, Result

        record, report = result.record, result.report
        comparison = self._config.stash.get(COMPARED, {}).get(report.nodeid)
        path, line, _ = report.location
        return Result(
            name=typed_name(self._config, report.nodeid),
            file=path,
            line=0 if line is None else line + 1,
            outcome=result.outcome,
            seconds=result.seconds,
            message=message_of(report),
            images=record.n,
            total=record.total,
            limits=record.limits,
            curves=record.curves,
            standing=standing(comparison) if comparison else "",
            changes=changes_of(comparison) if comparison else (),
            notes=result.test.notes,
            findings=[from_plain(Finding, finding) for finding in result.test.findings],
            stale=record.stale,
            details=None if record.details is None else from_plain(Details, record.details),
            key=record.key,
            entry=record.entry,
            max_regression=record.max_regression,
            max_accuracy_regression=record.max_accuracy_regression,
        )


def message_of(report: pytest.TestReport) -> str:
    """Return the reason why a test failed, was skipped, or was expected to fail; empty if it passed."""
    if hasattr(report, "wasxfail"):
        return str(report.wasxfail).removeprefix("reason: ")
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    # The attribute longreprtext would begin with the name of the worker.
    return str(report.longrepr) if report.failed else ""


def environment() -> dict[str, str]:
    """Return the versions that a report states; they are the same in all processes of the session."""
    versions = {"Python": platform.python_version(), "platform": platform.platform()}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
