"""Signed gaps between two named groups: over-correction, limits on either side, the baseline, and mistakes."""

from __future__ import annotations

import json

import pytest

from pytest_biastransfer import Gap, measure_gaps
from pytest_biastransfer.errors import BiasTransferError
from tests.conftest import MODES, Run
from tests.plugin.test_gap_marker import GROUPS, module, replaced, scored
from tests.plugin.test_gap_marker import Scored as ScoredModule

# 30 of 60 images by night are red to the model, none by day is.
DAY_MINUS_NIGHT = '"light", positive="red", between=("day", "night")'


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("COLUMNS", "140")
    pytester.makeconftest(GROUPS)
    return pytester


@pytest.mark.parametrize("mode", list(MODES))
def test_max_gap_alone_limits_the_size(inner: pytest.Pytester, run_elsewhere: Run, mode: str) -> None:
    inner.makepyfile(test_g=module(f"{DAY_MINUS_NIGHT}, max_gap=0.1", "assert bias.gap == -0.5"))
    result = run_elsewhere(*MODES[mode])
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "bias: 50 points between groups: fpr of red by light, day minus night (|gap -0.500|), limit ±0.1",
            "  gap       fpr of red by light, day minus night",
            "  FAILED  gap  -0.500  (95 % interval -0.6* to -0.3*, n = 120)  limit ±0.1",
            "    day    0.000 *best",
            "    night  0.500 *worst",
            "*|gap| *-0.500 *<= 0.1  *above limit; day minus night",
        ]
    )


@pytest.mark.parametrize(
    ("limits", "line"),
    [
        ("max_gap=0.5", "|gap| -0.500*<= 0.5*holds (within noise); day minus night*PASSED"),
        (
            "max_gap=0.1, min_gap=-0.7",
            "gap -0.500*<= 0.1*holds; day minus night*gap -0.500*>= -0.7 holds; day minus night*PASSED",
        ),
        ("min_gap=-0.2", "gap -0.500*>= -0.2*below limit; day minus night*FAILED"),
        ("max_gap=-0.2, min_gap=-1", "gap -0.500*<= -0.2*holds; day minus night*PASSED"),
        ("max_gap=-0.6, min_gap=-1", "gap -0.500*<= -0.6*above limit (not significant); day minus night*FAILED"),
        (
            "min_gap=-0.45, rule='significant'",
            "gap -0.500*>= -0.45*below limit (not significant); day minus night*PASSED",
        ),
        ("max_gap=0.55, rule='certain'", "|gap| -0.500*<= 0.55*not certain to hold; day minus night*FAILED"),
    ],
)
def test_limits_on_either_side_of_the_signed_value(inner: pytest.Pytester, limits: str, line: str) -> None:
    inner.makepyfile(test_g=module(f"{DAY_MINUS_NIGHT}, {limits}"))
    result = inner.runpytest_inprocess("-v")
    text = " ".join(" ".join(result.outlines).split())
    *parts, outcome = line.split("*")
    result.assert_outcomes(**{outcome.lower(): 1})
    for part in parts:
        assert part in text


def test_reports_have_the_sign_and_the_kind_of_limit(inner: pytest.Pytester) -> None:
    inner.makepyfile(test_g=module(f"{DAY_MINUS_NIGHT}, max_gap=0.1, max_gap_excess=0.2, min_gap_excess=-0.9"))
    names = ("r.json", "r.md", "r.html")
    inner.runpytest_inprocess(*(f"--bias-report={name}" for name in names)).assert_outcomes(failed=1)
    (test,) = json.loads((inner.path / "r.json").read_text())["tests"]
    limits = [(limit["metric"], limit["limit"], limit["bound"], limit["holds"]) for limit in test["limits"]]
    assert limits == [
        ("gap", 0.1, "size at most", False),
        ("gap_excess", 0.2, "at most", True),
        ("gap_excess", -0.9, "at least", True),
    ]
    assert test["details"]["metrics"]["gap"]["value"] == -0.5
    markdown, page = ((inner.path / name).read_text() for name in names[1:])
    assert "gap -0.500 [-0.6" in markdown
    assert "**>** ±0.1" in markdown
    assert "≥ -0.9" in markdown
    assert "gap -0.500 (-0.6" in page
    assert "limit ±0.1" in page


def test_a_change_of_sign_shows_in_the_baseline(inner: pytest.Pytester, run_elsewhere: Run) -> None:
    inner.makepyfile(
        test_g=module('"light", positive="red", between=("night", "day"), max_gap=0.9, max_accuracy_regression=1')
    )
    replaced(inner, 20)
    run_elsewhere("--bias-update=new").assert_outcomes(passed=1)
    assert list(json.loads((inner.path / "bias-baseline.json").read_text())["tests"]["test_g.py::test_groups"]) == [
        "light-fpr-red-night-day"
    ]
    run_elsewhere().stdout.fnmatch_lines(["compared with bias-baseline.json: 1 no worse"])
    # The other group is taken for red now, more often than the first was.
    conftest = inner.path / "conftest.py"
    swapped = (
        conftest.read_text().replace("marks < 0.5", "marks > 0.5").replace("marks * 1000 % 100", "(marks - 0.6) * 1000")
    )
    conftest.write_text(swapped.replace("< 20)", "< 50)"))
    worse = run_elsewhere()
    assert worse.ret == pytest.ExitCode.TESTS_FAILED
    worse.stdout.fnmatch_lines(["bias regression: gap 0.333 → -0.8* (p = *)"])
    conftest.write_text(swapped.replace("< 20)", "< 5)"))
    run_elsewhere().stdout.fnmatch_lines(["*gap 0.333 → -0.* (p = *)  better"])


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        (
            '"light", positive="red", max_gap=0.1, min_gap=0',
            "min_gap=0 limits a signed difference; name the two groups",
        ),
        (
            f"{DAY_MINUS_NIGHT}, max_gap=-0.1",
            "max_gap=-0.1 alone limits the size of the difference, which is never negative",
        ),
        (f"{DAY_MINUS_NIGHT}, max_gap=0.1, min_gap=0.2", "min_gap=0.2 is above max_gap=0.1: no value meets both"),
        (f"{DAY_MINUS_NIGHT}, min_gap=-2", "min_gap=-2, expected a number from -1 to 1"),
        ('"light", positive="red", between="day", max_gap=0.1', "between='day', expected the names of two groups"),
        (
            '"light", positive="red", between=("day", "day"), max_gap=0.1',
            "between=('day', 'day'), expected the names of two groups, as ('female', 'male')",
        ),
    ],
)
def test_a_marker_that_cannot_be_is_one_line(inner: pytest.Pytester, marker: str, message: str) -> None:
    inner.makepyfile(test_g=module(marker))
    result = inner.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([f"test_g.py::test_groups: bias_gap: *{message}*"])


@pytest.mark.parametrize(
    ("between", "message"),
    [
        (("day", "nihgt"), "no image of list has light='nihgt'; did you mean night?"),
        (("day", "dawn"), "both groups need at least 30 negatives in list; dawn has 3. Add images, or lower"),
    ],
)
def test_a_group_that_is_missing_or_too_small_is_an_error(
    inner: pytest.Pytester, between: tuple[str, str], message: str
) -> None:
    inner.makepyfile(test_g=module(f'"light", positive="red", between={between}, max_gap=0.1'))
    result = inner.runpytest_inprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*{message}*"])


def test_a_cached_gap_is_that_of_the_same_two_groups(tmp_path: object) -> None:
    images, *_ = scored()
    options = {"positive": 1, "store": tmp_path}
    gaps = [
        measure_gaps(ScoredModule(), images, "place", "auc", between=between, **options)  # type: ignore[arg-type]
        for between in [("north", "south"), ("south", "north"), ("north", "west"), None]
    ]
    assert gaps[0].gap == -gaps[1].gap
    assert gaps[0].gap != gaps[2].gap
    assert gaps[3].between is None
    assert gaps[0].between == ("north", "south")
    assert gaps[0].gap == float(gaps[0].by_group["north"]) - float(gaps[0].by_group["south"])


def test_the_declaration_names_the_groups() -> None:
    gap = Gap("light", positive="red", between=("night", "day"))
    assert str(gap) == "fpr of red by light, night minus day"
    assert gap.label == "light-fpr-red-night-day"
    with pytest.raises(BiasTransferError, match="between=5"):
        Gap("light", positive="red", between=5)  # type: ignore[arg-type]
