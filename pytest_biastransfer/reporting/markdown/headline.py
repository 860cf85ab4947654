"""The verdict on a session in one line, with the sign that a reader sees first."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.reporting.outcomes import FAILED
from pytest_biastransfer.reporting.wording import counted

if TYPE_CHECKING:
    from pytest_biastransfer.reporting.report import Report

TITLE: Final = "Bias transfer"
BAD, ODD, GOOD = "❌", "⚠️", "✅"
# By the tone of a verdict.
SIGNS: Final = {"bad": BAD, "odd": ODD, "good": GOOD, "quiet": ""}


def headline(report: Report) -> str:
    """Return the heading of a report: how many tests got worse than the baseline, and how many fail.

    >>> from pytest_biastransfer.reporting.report import Report
    >>> headline(Report([]))
    '## ⚠️ Bias transfer: no bias tests ran'
    """
    tests = report.tests
    if not tests:
        return f"## {ODD} {TITLE}: no bias tests ran"
    standings = Counter(test.standing for test in tests)
    worse, better = standings["regression"], standings["improvement"]
    failed = sum(test.outcome in FAILED for test in tests)
    passed = sum(test.outcome in ("passed", "xpassed") for test in tests)
    expected = sum(test.outcome == "xfailed" for test in tests)
    clauses = [f"{counted(worse, 'test')} got worse than the baseline"] if worse else []
    if failed:
        clauses.append(f"{failed:,} of {counted(len(tests), 'test')} fail{'s' * (failed == 1)}")
    else:
        passing = f"{passed:,} of {counted(len(tests), 'test')}" if passed < len(tests) else counted(passed, "test")
        clauses.append(f"{passing} pass{'es' * (passed == 1)}")
    if expected:
        clauses.append(f"{expected:,} fail{'s' * (expected == 1)} as expected")
    if better:
        clauses.append(f"{better:,} got better")
    elif not worse and standings["unchanged"]:
        clauses.append("none got worse")
    sign = BAD if failed else ODD if worse or not passed + expected else GOOD
    return f"## {sign} {TITLE}: {', '.join(clauses)}"
