"""Limits on the ratio of rates and on the worst group."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Run
from tests.plugin.test_gap_marker import GROUPS, module, replaced


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("COLUMNS", "140")
    pytester.makeconftest(GROUPS)
    return pytester


# By night 30 of 60 images are taken for red and so are wrong; by day none.
@pytest.mark.parametrize(
    ("marker", "lines", "outcome"),
    [
        (
            '"light", "accuracy", min_ratio=0.8',
            [
                "bias: 50 % of the highest rate is the lowest one: accuracy by light (ratio 0.500), limit at least 0.8",
                "  FAILED  ratio  0.500 *n = 120)  limit at least 0.8",
                "*ratio 0.500*>= 0.8 FAILED below limit; worst night*",
            ],
            "failed",
        ),
        (
            '"light", "accuracy", min_ratio=0.5',
            ["*ratio 0.500*>= 0.5 passed holds (within noise); worst night*"],
            "passed",
        ),
        (
            '"light", "accuracy", min_ratio=0.4, rule="certain"',
            ["bias: *(ratio 0.500), not certainly at least 0.4"],
            "failed",
        ),
        ('"light", "accuracy", min_ratio=0.3, rule="certain"', ["*1 passed*"], "passed"),
        (
            '"light", "accuracy", min_ratio=0.6, rule="significant"',
            ["*ratio 0.500*>= 0.6 passed below limit (not significant); worst night*"],
            "passed",
        ),
        (
            '"light", "accuracy", min_worst=0.6',
            [
                "bias: 50 % in the worst group: accuracy by light (worst 0.500), limit at least 0.6",
                "*>= 0.6 FAILED below limit (not significant); night*",
            ],
            "failed",
        ),
        (
            '"light", "accuracy", min_worst=0.4, max_gap=0.6',
            ["*gap 0.500*<= 0.6 passed holds*worst 0.500*>= 0.4 holds (within noise); night*"],
            "passed",
        ),
        (
            '"light", positive="red", max_worst=0.4',
            [
                "bias: 50 % in the worst group: fpr of red by light (worst 0.500), limit 0.4",
                "*<= 0.4 FAILED above limit (not significant); night*",
            ],
            "failed",
        ),
    ],
)
def test_limits_are_judged_by_the_rule(inner: pytest.Pytester, marker: str, lines: list[str], outcome: str) -> None:
    inner.makepyfile(test_g=module(marker))
    result = inner.runpytest_inprocess("-v", "-p", "no:cacheprovider")
    result.assert_outcomes(**{outcome: 1})
    text = " ".join(" ".join(result.outlines).split())
    for line in lines:
        for part in filter(None, line.split("*")):
            assert " ".join(part.split()) in text


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ('"light", "auc", positive="red", min_ratio=0.8', "min_ratio=0.8 is for rates; auc is none"),
        (
            '"light", positive="red", min_worst=0.8',
            "min_worst=0.8: the worst group is the one with the highest fpr; write max_worst",
        ),
        ('"light", "accuracy", max_worst=0.8', "max_worst=0.8: the worst group is the one with the lowest accuracy"),
        ('"light", "equalized_odds", positive="red", min_ratio=0.8', "min_ratio=0.8: equalized_odds is of two rates"),
        ('"light", "accuracy", min_ratio=80', "min_ratio=80, expected a number from 0 to 1"),
        ('"light", "accuracy", max_ratio=0.8', "unknown keyword max_ratio; did you mean min_ratio?"),
    ],
)
def test_a_limit_that_cannot_be_is_one_line(inner: pytest.Pytester, marker: str, message: str) -> None:
    inner.makepyfile(test_g=module(marker))
    result = inner.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([f"test_g.py::test_groups: bias_gap: *{message}*"])


@pytest.mark.parametrize(
    ("marker", "first", "lower", "text"),
    [
        ('"light", "accuracy", min_worst=0.1, min_ratio=0.1', 40, 5, "worst 0.333 → 0.917"),
        ('"light", positive="red", max_worst=0.9', 40, 5, "worst 0.667 → 0.083"),
    ],
)
def test_the_baseline_knows_on_which_side_a_worst_group_is_worse(
    inner: pytest.Pytester, run_elsewhere: Run, marker: str, first: int, lower: int, text: str
) -> None:
    inner.makepyfile(test_g=module(f"{marker}, max_accuracy_regression=1"))
    replaced(inner, first)
    run_elsewhere("--bias-update=new").assert_outcomes(passed=1)
    figures = json.loads((inner.path / "bias-baseline.json").read_text())["tests"]["test_g.py::test_groups"]
    (entry,) = figures.values()
    assert {"gap", "worst", "ratio"} <= entry["figures"].keys()
    replaced(inner, lower)
    run_elsewhere().stdout.fnmatch_lines([f"*{text} (p = *)  better"])
    run_elsewhere("--bias-update=all").assert_outcomes(passed=1)
    replaced(inner, first)
    before, _, now = text.removeprefix("worst ").partition(" → ")
    worse = run_elsewhere()
    assert worse.ret == pytest.ExitCode.TESTS_FAILED
    worse.stdout.fnmatch_lines([f"bias regression: *worst {now} → {before} (p = *"])
