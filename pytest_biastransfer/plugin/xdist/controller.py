"""The process that hands out the tests: it knows which bias tests were collected, and misses none of them."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_biastransfer.evaluation import gpus
from pytest_biastransfer.names import MARKERS
from pytest_biastransfer.plain_text import in_one_line
from pytest_biastransfer.plugin.collection.collected_tests import CollectedTests, collected_tests
from pytest_biastransfer.plugin.collection.parametrize import bias_tests
from pytest_biastransfer.plugin.node_names import typed_name
from pytest_biastransfer.plugin.results import as_lost, is_lost
from pytest_biastransfer.plugin.session import third_party_reports
from pytest_biastransfer.plugin.session.progress_line import ProgressLine, progress_line
from pytest_biastransfer.plugin.settings import Settings, read_settings
from pytest_biastransfer.plugin.state import SETTINGS
from pytest_biastransfer.plugin.xdist import resource_sharing
from pytest_biastransfer.plugin.xdist.worker_messages import (
    MAILBOX_INPUT,
    WATCHED_INPUT,
    WORKERS_OF_GPU_INPUT,
    Mailbox,
    held_at_end,
    worker_mailbox,
)
from pytest_biastransfer.plugin.xdist.worker_progress import ProgressWatch
from pytest_biastransfer.reporting.summary_table import lost_sentence

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

    from pytest_biastransfer.plugin.session.held_test import HeldTest


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
    local = [spec for spec in specs if spec.popen]
    devices = _visible_devices() if local and _chooses_gpus(config.stash[SETTINGS]) else ()
    sharing = resource_sharing.workers_of_gpu(devices, len(local))
    config.pluginmanager.register(Controller(config, progress_line(config), sharing), "biastransfer-controller")
    if devices:
        for place, spec in enumerate(local):
            # The spec passes to the worker that replaces a crashed one, its number does not.
            spec.env["CUDA_VISIBLE_DEVICES"] = resource_sharing.gpu_of_worker(devices, place)


def tell_bias_tests(session: pytest.Session) -> None:
    """Tell the controller which of the tests that this worker collected are bias tests."""
    address = worker_mailbox(session.config)
    if address is None:
        return
    mailbox, worker = address
    mailbox.write_tests(worker, bias_tests(session.items))
    if session.config.stash[SETTINGS].prune:
        mailbox.write_collected(worker, collected_tests(session))


def _chooses_gpus(settings: Settings) -> bool:
    """Whether any GPU will do: the user has named neither the CPU nor a GPU of their own, nor has Ray the choice."""
    return settings.device in ("auto", "cuda") and not settings.uses_ray


def _visible_devices() -> tuple[str, ...]:
    return gpus.visible_devices(gpus.installed_gpus(), os.environ.get("CUDA_VISIBLE_DEVICES"))


class Controller:
    """Compares the collected bias tests with those that were reported.

    A worker can die, or fail on what it cannot send, and leave a session that is green and lacks its tests.
    """

    def __init__(self, config: pytest.Config, line: ProgressLine | None, workers_of_gpu: int) -> None:
        self._config = config
        self._line = line
        self._workers_of_gpu = workers_of_gpu
        self._mailbox = Mailbox(Path(tempfile.gettempdir()) / f"pytest-biastransfer-{uuid.uuid4().hex}")
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
        """Tell a worker where to leave its messages, whether anybody watches its progress, and who uses its GPU."""
        self._nodes[node.gateway.id] = node
        node.workerinput[MAILBOX_INPUT] = str(self._mailbox.directory)
        node.workerinput[WATCHED_INPUT] = self._line is not None
        node.workerinput[WORKERS_OF_GPU_INPUT] = self._workers_of_gpu if node.gateway.spec.popen else 1

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
        self._mailbox.forget_progress(node.gateway.id)
        if not node.gateway.spec.popen:
            self._remotely_held += held_at_end(getattr(node, "workeroutput", {}))
        if error is not None:
            self._deaths.append(f"{node.gateway.id}: {error}")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, Any, Any]:
        """Report the bias tests that nobody has reported as failed; let no internal error look green."""
        watch = ProgressWatch(self._mailbox, self._line) if self._line else None
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

    def collected(self) -> CollectedTests | None:
        """Return which bias tests there are; None if some may not have been collected."""
        collections = self._mailbox.collected()
        complete = [tests for tests in collections if tests is not None]
        if not collections or len(complete) < len(collections):
            return None
        return CollectedTests(
            frozenset(test for collection in complete for test in collection.tests),
            frozenset(file for collection in complete for file in collection.files),
        )

    def held_tests(self) -> Iterator[HeldTest]:
        """Yield the tests that workers have run and left without an outcome."""
        from pytest_biastransfer.plugin.session.held_test import HeldTest

        local = self._mailbox.held()
        # A worker that was started by other means than popen may run on this machine all the same.
        local_workers = {plain["worker"] for plain in local}
        remote = (plain for plain in self._remotely_held if plain["worker"] not in local_workers)
        for plain in [*local, *remote]:
            yield HeldTest.from_plain(plain, self._config, self._nodes[plain["worker"]])

    def _collected(self) -> set[str]:
        return self._mailbox.tests() | self._remote

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
        """Remove the workers' messages."""
        self._mailbox.remove()
