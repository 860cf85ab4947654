"""The summary in the terminal, line by line: what it shows, how wide it is, and in which characters."""

from __future__ import annotations

import re
import textwrap

import pytest

from pytest_biastransfer.reporting.figures import Interval, Limit
from pytest_biastransfer.reporting.interval_bar import Scale
from pytest_biastransfer.reporting.record import Record
from pytest_biastransfer.reporting.summary_table import Row, in_encoding, table
from tests.conftest import ALWAYS_BLUE, WEIGHING_BLUE, Run, each_mode

TEST = f"""
import pytest

@pytest.fixture(scope="session")
def control_model():
{textwrap.indent(textwrap.dedent(ALWAYS_BLUE), "    ")}

@pytest.mark.bias_intervention("yellow-square", max_asr=0.05, max_asr_excess=0.1)
def test_square():
    pass

@pytest.mark.bias_intervention("yellow-square", max_asr=0.5)
def test_fine():
    pass

@pytest.mark.xfail(strict=True, reason="known")
@pytest.mark.bias_intervention("yellow-square", max_skew=0.2)
def test_known():
    pass

@pytest.mark.skip(reason="not now")
@pytest.mark.bias_intervention("yellow-square", max_skew=0.2)
def test_skipped():
    pass
"""


def summary(result: pytest.RunResult) -> list[str]:
    lines = result.outlines
    start = next(number for number, line in enumerate(lines) if line.strip("= ") == "bias transfer")
    return lines[start + 1 :]


@pytest.fixture
def suite(colors: pytest.Pytester) -> pytest.Pytester:
    colors.makepyfile(test_it=TEST)
    return colors


@each_mode
@pytest.mark.usefixtures("suite")
def test_at_80_columns(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = summary(run("--bias-compare=off"))
    assert [line.rstrip() for line in lines[:8]] == [
        "test                          asr   skew  limits                         verdict",
        "test_square[yellow-square]  0.250  0.250  asr > 0.05,                    FAILED",
        "                                          asr_excess 0.250 > 0.1",
        "                                          (control 0.000, within noise)",
        "test_known[yellow-square]   0.250  0.250  skew > 0.2 (within noise)      xfailed",
        "(1 passed and 1 skipped not shown; -v shows all)",
        "4 bias tests: 1 failed, 1 passed, 1 xfailed, 1 skipped; 80 images evaluated, 80 predictions reused",
        "  limits: 1 holds for sure, 2 fail within noise, 1 fails for sure",
    ]
    assert re.fullmatch(r"  to run what failed again: pytest .*--bias-compare=off --lf", lines[8])
    assert max(map(len, lines[:5])) <= 80


@pytest.mark.usefixtures("suite")
def test_at_160_columns(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    lines = summary(run("--bias-compare=off"))
    assert [line.rstrip() for line in lines[:3]] == [
        "test                                      asr   skew  limits                                                            0            0.5  verdict",
        "test_it.py::test_square[yellow-square]  0.250  0.250  asr > 0.05, asr_excess 0.250 > 0.1 (control 0.000, within noise)  ·│·━━━━━━━━━━━━╸  FAILED",
        "test_it.py::test_known[yellow-square]   0.250  0.250  skew > 0.2 (within noise)                                         ╺━━━━━│━━━━━━━━╸  xfailed",
    ]


def test_verbose_shows_all_and_quiet_one_sentence(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(test_it=TEST)
    all_lines = summary(run("-v", "--bias-compare=off"))
    verdicts = [line.split()[-1] for line in all_lines[1:] if line.startswith("test_")]
    assert verdicts == ["FAILED", "passed", "xfailed", "skipped"]
    assert "-v shows" not in "".join(all_lines)
    quiet = run("-q", "--bias-compare=off").outlines
    (line,) = [line for line in quiet if line.startswith("4 bias tests")]
    assert line == "4 bias tests: 1 failed, 1 passed, 1 xfailed, 1 skipped; 0 images evaluated, 160 predictions reused"
    assert not [line for line in quiet if "bias transfer" in line or "--lf" in line]


def test_what_got_better_is_shown_though_it_passed(colors: pytest.Pytester) -> None:
    test = (
        WEIGHING_BLUE
        + """
from pytest_biastransfer import Blur

@pytest.mark.bias_intervention("yellow-square", max_asr=0.9)
def test_better():
    pass

@pytest.mark.bias_intervention(Blur(), max_asr=1)
def test_same():
    pass
"""
    )
    colors.makepyfile(test_it=test.format(blue=1))
    colors.runpytest_inprocess("--bias-update=new").assert_outcomes(passed=2)
    colors.makepyfile(test_it=test.format(blue=2))
    lines = summary(colors.runpytest_inprocess())
    assert lines[1].startswith("test_it.py::test_better")
    assert lines[2] == "(1 passed not shown; -v shows all)"
    assert lines[3].startswith("2 bias tests: 2 passed;")


def test_without_the_cache_the_failed_are_named(suite: pytest.Pytester) -> None:
    result = suite.runpytest_inprocess("-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(['  to run what failed again: pytest "test_it.py::test_square[[]yellow-square]"'])


def test_an_encoding_without_lines_gets_plain_letters(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    result = suite.runpytest_subprocess("-p", "no:xdist")
    text = result.stdout.str()
    assert text.isascii()
    assert ".|.============" in text
    assert "\\u" not in text
    assert in_encoding("a…b → c", "ascii") == "a~b > c"


def limit(value: float, low: float, high: float, most: float = 0.05, metric: str = "asr") -> Limit:
    return Limit(metric, most, "point", value <= most, "", Interval(value, low, high, 0.95, 100), None)


@pytest.mark.parametrize(
    ("judged", "scale", "bar"),
    [
        (limit(0.02, 0.01, 0.03), (0, 0.1), "·╺━━━···│·······"),
        (limit(0.0, 0.0, 0.0), (0, 0.1), "╸·······│·······"),
        (limit(1.0, 1.0, 1.0), (0, 1), "│··············╺"),
        (limit(0.9, 0.8, 0.95, most=1.0), (0, 1), "·············━━│"),
        (limit(-0.1, -0.15, -0.05, metric="asr_excess"), (-0.2, 0.2), "··━━━━····│·····"),
        (
            Limit("asr", 0.05, "point", False, "", Interval(None, None, None, None, 0), None),
            (0, 0.1),
            "········│·······",
        ),
    ],
)
def test_bars(judged: Limit, scale: tuple[float, float], bar: str) -> None:
    assert Scale.of([judged]) == Scale(*scale)
    assert Scale.of([judged]).bar(judged) == bar


def test_one_scale_for_all_rows() -> None:
    rows = [
        Row(name, "failed", Record(limits=[judged]))
        for name, judged in (("a", limit(0.7, 0.6, 0.8)), ("b", limit(0.06, 0.05, 0.07)))
    ]
    heading, first, second = table(rows, 120)
    assert heading.text.endswith("0              1  ")
    assert first.text.endswith("│········╺━━━···  ")
    assert second.text.endswith("│╸··············  ")
