"""The process that hands out the tests: it knows which bias tests were collected, and misses none of them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_biastransfer.evaluation import gpus
from pytest_biastransfer.names import MARKERS, typed_name
from pytest_biastransfer.plain_text import in_one_line
from pytest_biastransfer.plugin.collection.collected_tests import Collected, collected
from pytest_biastransfer.plugin.collection.parametrize import bias_tests
from pytest_biastransfer.plugin.results import as_lost, is_lost
from pytest_biastransfer.plugin.session import third_party_reports
from pytest_biastransfer.plugin.session.progress_line import ProgressLine, progress_line
from pytest_biastransfer.plugin.settings import Settings, read_settings
from pytest_biastransfer.plugin.state import SETTINGS
from pytest_biastransfer.plugin.xdist import resource_sharing
from pytest_biastransfer.plugin.xdist.worker_messages import read_notices, write_notice
from pytest_biastransfer.plugin.xdist.worker_progress import ProgressWatch, forget_progress, progress_teller
from pytest_biastransfer.reporting.summary_table import lost_sentence

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

    from pytest_biastransfer.evaluation.progress import Progress
    from pytest_biastransfer.plugin.session.held_reports import HeldTest

_INPUT = "biastransfer_notices"
_OUTPUT = "biastransfer_held"
_WATCHED = "biastransfer_watched"
_TESTS = "tests"
_COLLECTED = "collected"
_HELD = "held"


def auto_workers(config: pytest.Config) -> int | None:
    """Return how many workers ``-n auto`` means for a session that asks for bias tests; None for any other."""
    settings = read_settings(config)
    asked = (
        settings.only
        or any(marker in config.getoption("markexpr", "") for marker in MARKERS)
        or config.getoption("bias_workers_per_gpu") is not None
    )
    if not asked or not _chooses_gpus(settings):
        return None
    return resource_sharing.worker_count(_visible_devices(), settings.workers_per_gpu, os.environ)


def set_up_workers(config: pytest.Config, specs: Sequence[Any]) -> None:
    """Give each worker of this machine its GPU, before it starts, and watch over what the workers report."""
    config.pluginmanager.register(Controller(config, progress_line(config)), "biastransfer-controller")
    local = [spec for spec in specs if spec.popen]
    devices = _visible_devices() if local and _chooses_gpus(config.stash[SETTINGS]) else ()
    if devices:
        for place, spec in enumerate(local):
            # The spec passes to the worker that replaces a crashed one, its number does not.
            spec.env["CUDA_VISIBLE_DEVICES"] = resource_sharing.gpu_of_worker(devices, place)


def tell_bias_tests(session: pytest.Session) -> None:
    """Tell the controller which of the tests that this worker collected are bias tests."""
    workerinput: dict[str, Any] = getattr(session.config, "workerinput", {})
    if _INPUT not in workerinput:
        return
    notices, worker = Path(workerinput[_INPUT]), workerinput["workerid"]
    write_notice(notices, worker, _TESTS, bias_tests(session.items))
    if session.config.stash[SETTINGS].prune:
        tests = collected(session)
        write_notice(notices, worker, _COLLECTED, None if tests is None else tests.to_plain())


def hand_over(config: pytest.Config, held: Sequence[dict[str, Any]]) -> None:
    """Leave the tests of this worker to the controller that wait for their outcome: all that there are by now."""
    workerinput: dict[str, Any] = config.workerinput  # type: ignore[attr-defined]
    write_notice(Path(workerinput[_INPUT]), workerinput["workerid"], _HELD, held)
    # What reaches a controller on another machine, at the end.
    config.workeroutput[_OUTPUT] = json.dumps(held)  # type: ignore[attr-defined]


def watcher(config: pytest.Config) -> Callable[[Progress], None] | None:
    """Return what to tell the progress of evaluations to, in a worker or a session without workers."""
    workerinput: dict[str, Any] = getattr(config, "workerinput", {})
    if _INPUT in workerinput:
        notices = Path(workerinput[_INPUT])
        return progress_teller(notices, workerinput["workerid"]) if workerinput[_WATCHED] else None
    line = progress_line(config)
    return None if line is None else lambda progress: line.show([progress])


def _chooses_gpus(settings: Settings) -> bool:
    """Whether any GPU will do: the user has named neither the CPU nor a GPU of their own."""
    return settings.device in ("auto", "cuda")


def _visible_devices() -> tuple[str, ...]:
    return gpus.visible_devices(gpus.installed_gpus(), os.environ.get("CUDA_VISIBLE_DEVICES"))


class Controller:
    """Compares the collected bias tests with those that were reported.

    A worker can die, or fail on what it cannot send, and leave a session that is green and lacks its tests.
    """

    def __init__(self, config: pytest.Config, line: ProgressLine | None) -> None:
        self._config = config
        self._line = line
        self._notices = Path(tempfile.gettempdir()) / f"pytest-biastransfer-{uuid.uuid4().hex}"
        self._nodes: dict[str, WorkerController] = {}
        self._remote: set[str] = set()
        self._remotely_held: list[dict[str, Any]] = []
        self._node_of: dict[str, WorkerController] = {}
        self._called: set[str] = set()
        self._reported: set[str] = set()
        self._lost_reports: list[pytest.TestReport] = []
        self._deaths: list[str] = []
        self._internal_error = False

    def pytest_configure_node(self, node: WorkerController) -> None:
        """Tell a worker where to leave its notices, and whether anybody watches its progress."""
        self._nodes[node.gateway.id] = node
        node.workerinput[_INPUT] = str(self._notices)
        node.workerinput[_WATCHED] = self._line is not None

    def pytest_xdist_node_collection_finished(self, node: WorkerController, ids: Sequence[str]) -> None:
        """Note what a worker on another machine has collected: any of it may be a bias test."""
        if not node.gateway.spec.popen:
            self._remote.update(ids)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note which tests have come to an end, and which with their worker."""
        node: WorkerController | None = getattr(report, "node", None)
        if node is not None:
            self._node_of[report.nodeid] = node
        if report.when != "setup" or not report.passed:
            self._reported.add(report.nodeid)
        if is_lost(report):
            self._lost_reports.append(report)
        elif report.when == "call":
            self._called.add(report.nodeid)

    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        """Have the report that pytest-xdist makes of a bias test whose worker died be one that others show too."""
        if crashitem in self._collected():
            as_lost(report, "teardown" if crashitem in self._called else "call")

    def pytest_internalerror(self) -> None:
        """Note an error that pytest or a plugin had in a worker."""
        self._internal_error = True

    def pytest_testnodedown(self, node: WorkerController, error: object | None) -> None:
        """Note a worker that died, and what one on another machine has left."""
        forget_progress(self._notices, node.gateway.id)
        if not node.gateway.spec.popen:
            self._remotely_held += json.loads(getattr(node, "workeroutput", {}).get(_OUTPUT, "[]"))
        if error is not None:
            self._deaths.append(f"{node.gateway.id}: {error}")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, Any, Any]:
        """Report the bias tests that nobody has reported as failed; let no internal error look green."""
        watch = ProgressWatch(self._notices, self._line) if self._line else None
        try:
            result = yield
        finally:
            if watch:
                watch.stop()
        for nodeid in self._missing():
            self._config.hook.pytest_runtest_logreport(report=self._lost(nodeid))
        self._finish()
        if self._internal_error and not session.testsfailed:
            session.shouldfail = "a worker had an internal error, see above: its tests have no result"
            raise session.Failed(session.shouldfail)
        return result

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Name the lost tests where pytest itself fails, and so writes no summary."""
        reporter = self._config.pluginmanager.getplugin("terminalreporter")
        missing = self._missing()
        if exitstatus == pytest.ExitCode.INTERNAL_ERROR and missing and reporter is not None:
            lost = lost_sentence([typed_name(self._config, nodeid) for nodeid in missing])
            reporter.write_line(in_one_line(lost), red=True)

    def collected(self) -> Collected | None:
        """Return which bias tests there are; None if some may not have been collected."""
        notices = list(read_notices(self._notices, _COLLECTED))
        if not notices or None in notices:
            return None
        parts = [Collected.from_plain(notice) for notice in notices]
        return Collected(
            frozenset(test for part in parts for test in part.tests),
            frozenset(file for part in parts for file in part.files),
        )

    def held_tests(self) -> Iterator[HeldTest]:
        """Yield the tests that workers have run and left without an outcome."""
        from pytest_biastransfer.plugin.session.held_reports import HeldTest

        notices = [notice for held in read_notices(self._notices, _HELD) for notice in held]
        # Of a worker that was started from elsewhere on this machine, the notices are here as well.
        here = {notice["worker"] for notice in notices}
        for notice in [*notices, *(notice for notice in self._remotely_held if notice["worker"] not in here)]:
            yield HeldTest.from_plain(notice, self._config, self._nodes[notice["worker"]])

    def _collected(self) -> set[str]:
        return {nodeid for notice in read_notices(self._notices, _TESTS) for nodeid in notice} | self._remote

    def _missing(self) -> list[str]:
        return sorted(self._collected() - self._reported)

    def _lost(self, nodeid: str) -> pytest.TestReport:
        causes = self._deaths or ["see the internal error above" if self._internal_error else "no worker ran it"]
        message = f"no result ({'; '.join(causes)}). Run it again: pytest {typed_name(self._config, nodeid)}"
        path = nodeid.partition("::")[0]
        report = pytest.TestReport(nodeid, (path, None, nodeid), {}, "failed", message, "call")
        as_lost(report, "call")
        if nodeid in self._node_of:
            report.node = self._node_of[nodeid]  # type: ignore[attr-defined]
        return report

    def _finish(self) -> None:
        """Have other reports show the bias tests that are lost: some show only what was torn down."""
        for lost in self._lost_reports:
            if lost.when == "call":
                report = pytest.TestReport(lost.nodeid, lost.location, {}, "passed", None, "teardown")
                vars(report).update({name: value for name, value in vars(lost).items() if name == "node"})
                self._config.hook.pytest_runtest_logreport(report=report)
        # pytest-xdist may run a test again that crashes.
        for lost in {lost.nodeid: lost for lost in self._lost_reports}.values():
            third_party_reports.report_lost(self._config, lost)

    def pytest_unconfigure(self) -> None:
        """Remove the notices."""
        shutil.rmtree(self._notices, ignore_errors=True)
