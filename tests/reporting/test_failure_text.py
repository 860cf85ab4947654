"""The message of a failed test, and the record beside it, where chance adds to a figure."""

from __future__ import annotations

import pytest

from pytest_biastransfer.judgement.verdict import LimitVerdict, Verdict
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.reporting.failure_text import failure_text
from pytest_biastransfer.reporting.record import record_of
from tests.metrics.test_flips import measurement


def estimate(value: float) -> Estimate:
    return Estimate(value, low=0.05, high=0.155, confidence=0.95, n=5000, method="held-out classes")


@pytest.mark.parametrize(
    ("limit", "corrected", "line", "remark"),
    [
        (0.12, 0.0981, "less what chance adds: 0.098", "0.098 less what chance adds"),
        (0.08, 0.0981, "less what chance adds: 0.098", ""),
        (0.12, 0.1450, "", ""),
    ],
)
def test_what_chance_adds_to_a_skew_is_said(limit: float, corrected: float, line: str, remark: str) -> None:
    found = measurement({"skew": estimate(0.145), "corrected_skew": estimate(corrected)}, [0.1, -0.1])
    verdict = Verdict((LimitVerdict("skew", limit, "point", found.skew, False),))
    text = failure_text(
        "test_x", "", found, verdict, subject="intervention", declaration="i", lines=[], phrase_subject="i"
    )
    assert [one.strip() for one in text.splitlines() if "chance" in one] == ([line] if line else [])
    (judged,) = record_of(found, verdict).limits
    assert judged.remarks == ([remark] if remark else [])
    assert judged.note == "not significant"
