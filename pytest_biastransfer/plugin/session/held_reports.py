"""Tests whose outcome depends on the session's other comparisons: their reports wait until all of those are made.

Most tests are settled when they run. A change whose p-value is small, but not so small that any number of other
comparisons leaves it significant, is judged at the end of the session, and its test has no outcome before.
"""

from __future__ import annotations

import pytest

from pytest_biastransfer.errors import BaselineError
from pytest_biastransfer.plugin.pytest_internals import run_protocol
from pytest_biastransfer.plugin.runtest.baseline_comparison import accepted_entry, fails_on_regression, most_comparisons
from pytest_biastransfer.plugin.session import third_party_reports
from pytest_biastransfer.plugin.session.held_test import HeldTest
from pytest_biastransfer.plugin.state import HELD, UNSETTLED
from pytest_biastransfer.plugin.xdist.worker_messages import hand_over


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
    reports = run_protocol(item, nextitem, log=_Logged(item))
    if item.stash[UNSETTLED]:
        waiting = [report for report in reports if report.when != "setup"]
        test = HeldTest(waiting, most_comparisons(item.session), third_party_reports.withhold(item), item.ihook)
        held = item.config.stash.setdefault(HELD, [])
        held.append(test)
        if hasattr(item.config, "workerinput"):
            hand_over(item.config, held)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
