"""The first line of a failure: what happened in words, with the figure first, for each metric and rule."""

from __future__ import annotations

import pytest

from pytest_biastransfer.judgement.verdict import LimitVerdict
from pytest_biastransfer.metrics.catalogue import METRICS
from pytest_biastransfer.metrics.measurement import ClassShift
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.names import Bound, Rule
from pytest_biastransfer.reporting.class_bars import class_bars
from pytest_biastransfer.reporting.failure_phrase import failure_phrase


def estimate(value: float) -> Estimate:
    return Estimate(value, low=value - 0.1, high=value + 0.1, confidence=0.95, n=500)


@pytest.mark.parametrize("metric", [name for name, metric in METRICS.items() if metric.limits is not None])
def test_each_metric_says_its_value_first(metric: str) -> None:
    text = failure_phrase(LimitVerdict(metric, 0.1, "point", estimate(0.25), False), "yellow-square")
    assert text.endswith(f"({metric} 0.250), limit 0.1")
    assert "yellow-square" in text
    # pytest shows some thirty columns of it beside the name of a test in a narrow terminal.
    assert "25 " in text[:30]


@pytest.mark.parametrize(
    ("value", "rule", "bound", "at", "text"),
    [
        (1.0, "point", "at most", "", "100 % of the predictions flip with blur (asr 1.000), limit 0.1"),
        (0.0306, "point", "at most", "", "3.06 % of the predictions flip with blur (asr 0.031), limit 0.1"),
        (0.5, "point", "at least", "", "50 % of the predictions flip with blur (asr 0.500), limit at least 0.1"),
        (-0.5, "point", "size at most", "", "50 % of the predictions flip with blur (|asr -0.500|), limit ±0.1"),
        (
            0.2,
            "certain",
            "at most",
            "",
            "20 % of the predictions flip with blur (asr 0.200), not certainly at most 0.1",
        ),
        (
            0.2,
            "certain",
            "at least",
            "",
            "20 % of the predictions flip with blur (asr 0.200), not certainly at least 0.1",
        ),
        (
            0.2,
            "significant",
            "at most",
            "",
            "20 % of the predictions flip with blur (asr 0.200), significantly above 0.1",
        ),
        (
            0.2,
            "point",
            "at most",
            "sigma 0.1",
            "20 % of the predictions flip with blur at sigma 0.1 (asr 0.200), limit 0.1",
        ),
        (float("nan"), "point", "at most", "", "asr is undefined on these images, limit 0.1"),
    ],
)
def test_rules_and_bounds(value: float, rule: Rule, bound: Bound, at: str, text: str) -> None:
    assert failure_phrase(LimitVerdict("asr", 0.1, rule, estimate(value), False, bound, at), "blur") == text


def test_the_smallest_change_has_a_sign() -> None:
    lines = list(class_bars([ClassShift(0, "a", 1.0), ClassShift(1, "bb", -0.001)]))
    assert lines == ["a   +1.000  " + "+" * 40, "bb  -0.001  -"]
