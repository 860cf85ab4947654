"""Tests whose outcome depends on the session's other comparisons: their reports wait until all of those are made.

Most tests are settled when they run. A change whose p-value is small, but not so small that any number of other
comparisons leaves it significant, is judged at the end of the session, and its test has no outcome before.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pytest
from _pytest.runner import runtestprotocol

from pytest_biastransfer.errors import BaselineError
from pytest_biastransfer.plugin.failures import BiasRegression
from pytest_biastransfer.plugin.runtest.baseline_comparison import accepted_entry, fails_on_regression, most_comparisons
from pytest_biastransfer.plugin.session import third_party_reports
from pytest_biastransfer.plugin.state import HELD, UNSETTLED
from pytest_biastransfer.plugin.xdist.controller import hand_over

if TYPE_CHECKING:
    import pluggy


@dataclass(frozen=True)
class HeldTest:
    """A test that has run and has no outcome yet.

    Attributes
    ----------
    reports
        Of its call, which passed, and of its teardown; the report of its setup was logged.
    comparisons
        How many comparisons the session's tests make at most.
    allure
        The uuid of the test's result in allure-pytest's directory; None where that is not written.
    hook
        Where its reports are logged.
    """

    reports: Sequence[pytest.TestReport]
    comparisons: int
    allure: str | None
    hook: pluggy.HookRelay

    @property
    def call(self) -> pytest.TestReport:
        """The report that the outcome is missing of."""
        return self.reports[0]

    def log(self, regression: str) -> None:
        """Log the reports once and for all: as failed with this message, or as what they are if there is none."""
        if regression:
            self.call.outcome = "failed"
            try:
                raise BiasRegression(regression, pytrace=False) from None
            except BiasRegression:
                self.call.longrepr = pytest.ExceptionInfo.from_current().getrepr(style="value")
        for report in self.reports:
            self.hook.pytest_runtest_logreport(report=report)

    def to_plain(self, config: pytest.Config) -> dict[str, Any]:
        """Return the test as what JSON can hold; its reports as pytest-xdist would send them."""
        import execnet

        workerinput = config.workerinput  # type: ignore[attr-defined]
        origin = {"worker_id": workerinput["workerid"], "testrun_uid": workerinput["testrunuid"]}
        plain = [
            config.hook.pytest_report_to_serializable(config=config, report=report) | origin for report in self.reports
        ]
        return {
            "worker": workerinput["workerid"],
            "reports": base64.b64encode(execnet.dumps(plain)).decode(),
            "comparisons": self.comparisons,
            "allure": self.allure,
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any], config: pytest.Config, node: object) -> HeldTest:
        """Return the test that `to_plain` gave in a worker; `node` is that worker, as pytest-xdist knows it."""
        import execnet

        reports = [
            config.hook.pytest_report_from_serializable(config=config, data=data)
            for data in execnet.loads(base64.b64decode(plain["reports"]))
        ]
        for report in reports:
            report.node = node
        return cls(reports, plain["comparisons"], plain["allure"], config.hook)


class _Logged:
    """Whether pytest logs a test's report as soon as it is made: asked after each, false once the test has to wait."""

    def __init__(self, item: pytest.Item) -> None:
        self._item = item

    def __bool__(self) -> bool:
        return not self._item.stash.get(UNSETTLED, False)


def can_wait(item: pytest.Item) -> bool:
    """Whether a test may have to wait: it is compared with the baseline, and others are too."""
    if not fails_on_regression(item):
        return False
    try:
        return accepted_entry(item) is not None and most_comparisons(item.session) > 1
    except BaselineError:
        # The test itself says so, as an error of its own.
        return False


def run_and_hold(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Run a test as pytest does, and keep its reports if its outcome depends on the session's other comparisons."""
    item.stash[UNSETTLED] = False
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, log=cast(bool, _Logged(item)), nextitem=nextitem)
    if item.stash[UNSETTLED]:
        waiting = [report for report in reports if report.when != "setup"]
        test = HeldTest(waiting, most_comparisons(item.session), third_party_reports.withhold(item), item.ihook)
        held = item.config.stash.setdefault(HELD, [])
        held.append(test)
        if hasattr(item.config, "workerinput"):
            hand_over(item.config, [one.to_plain(item.config) for one in held])
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
