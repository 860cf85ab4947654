"""A test that has run and waits for its outcome, and how it travels from a worker to the controller."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from pytest_biastransfer.plugin.failures import BiasRegression

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
