"""Reports of sessions that shared the tests are joined to one."""

from __future__ import annotations

from typing import Any

from pytest_biastransfer.reporting.report import Report, Result, merged


def result(name: str, outcome: Any = "passed", **more: Any) -> Result:
    return Result(name=name, file="test_it.py", line=3, outcome=outcome, seconds=1.0, **more)


def test_joined_reports_have_all_tests_once() -> None:
    one = Report([], [result("b"), result("a", "skipped")], evaluated=3, reused=4)
    two = Report([], [result("a"), result("c", "lost"), result("b", "failed")], evaluated=10, alpha=0.005)
    report = merged([one, two])
    assert [(test.name, test.outcome) for test in report.tests] == [("a", "passed"), ("b", "failed"), ("c", "lost")]
    assert (report.evaluated, report.reused, report.alpha) == (13, 4, 0.005)
