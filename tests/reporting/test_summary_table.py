"""The summary in the terminal, line by line: what it shows, how wide it is, and in which characters."""

from __future__ import annotations

import dataclasses
import re
import textwrap
from collections.abc import Iterable

import pytest

from pytest_biastransfer.reporting.figures import Interval, Limit
from pytest_biastransfer.reporting.interval_bar import Scale
from pytest_biastransfer.reporting.limit_words import verdict_words
from pytest_biastransfer.reporting.record import Record
from pytest_biastransfer.reporting.summary_blocks import blocks
from pytest_biastransfer.reporting.summary_table import Line, Row, in_encoding, wrapped
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


WORDS = ("FAILED", "passed", "xfailed", "skipped")


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
    assert [line.rstrip() for line in lines[:13]] == [
        "    metric      value  0            0.5  limit    verdict",
        "test_it.py::test_square",
        "  yellow-square  FAILED",
        "    asr         0.250  ·│·━━━━━━━━━━━━╸  <= 0.05  above limit",
        "    asr_excess  0.250  ━━━│━━━━━━━━━━━·  <= 0.1   above limit (not",
        "                                                  significant); control 0.000",
        "test_it.py::test_known",
        "  yellow-square  xfailed",
        "    skew        0.250  ╺━━━━━│━━━━━━━━╸  <= 0.2   above limit (not significant)",
        "(1 passed and 1 skipped not shown; -v shows all)",
        "4 bias tests: 1 failed, 1 passed, 1 xfailed, 1 skipped; 80 images evaluated, 80",
        "  predictions reused",
        "  limits: 1 holds for sure, 2 fail (not significant), 1 fails for sure",
    ]
    # A command is pasted, so it stays in one line.
    assert lines[13] == "  to run what failed again:"
    assert re.fullmatch(r'    pytest .*--bias-compare=off "test_it.py::test_square\[yellow-square\]"', lines[14])
    assert max(map(len, [*lines[:14], *lines[15:20]])) <= 80


@pytest.mark.usefixtures("suite")
def test_at_160_columns(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    lines = summary(run("--bias-compare=off"))
    assert [line.rstrip() for line in lines[:6]] == [
        "  case           metric      value  interval        0            0.5  limit    outcome  verdict",
        "test_it.py::test_square",
        "  yellow-square  asr         0.250  [0.087, 0.491]  ·│·━━━━━━━━━━━━╸  <= 0.05  FAILED   above limit",
        "                 asr_excess  0.250  [0.000, 0.469]  ━━━│━━━━━━━━━━━·  <= 0.1            above limit (not significant); control 0.000",
        "test_it.py::test_known",
        "  yellow-square  skew        0.250  [0.009, 0.491]  ╺━━━━━│━━━━━━━━╸  <= 0.2   xfailed  above limit (not significant)",
    ]


def test_verbose_shows_all_and_quiet_one_sentence(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(test_it=TEST)
    all_lines = summary(run("-v", "--bias-compare=off"))
    outcomes = [
        word for line in all_lines if line.startswith("  yellow-square") for word in line.split() if word in WORDS
    ]
    assert outcomes == ["FAILED", "passed", "xfailed", "skipped"]
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
    assert lines[1] == "test_it.py::test_better"
    assert lines[2] == "  yellow-square  asr     0.000  ╸·············│·  <= 0.9  passed   holds"
    assert lines[3] == "(1 passed not shown; -v shows all)"
    assert lines[4].startswith("2 bias tests: 2 passed;")


def test_without_the_cache_the_failed_are_named(suite: pytest.Pytester) -> None:
    result = suite.runpytest_inprocess("-p", "no:cacheprovider")
    command = 'pytest "test_it.py::test_square[[]yellow-square]"'
    result.stdout.fnmatch_lines([f"  to run what failed again: {command}"])


def test_an_encoding_without_lines_gets_plain_letters(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    result = suite.runpytest_subprocess("-p", "no:xdist")
    text = result.stdout.str()
    assert text.isascii()
    assert ".|.============" in text
    assert "\\u" not in text
    assert in_encoding("a…b → c", "ascii") == "a~b > c"


def limit(value: float, low: float, high: float, most: float = 0.05, metric: str = "asr", note: str = "") -> Limit:
    return Limit(metric, most, "point", value <= most, note, Interval(value, low, high, 0.95, 100), None)


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


def rows() -> list[Row]:
    excess = Limit(
        "asr_excess",
        0.05,
        "point",
        False,
        "not significant",
        Interval(0.06, 0.04, 0.08, 0.95, 100),
        Interval(0.01, 0, 0.1, 0.95, 100),
    )
    return [
        Row("tests/test_a.py::test_x[yellow-square]", "failed", Record(limits=[limit(0.7, 0.6, 0.8), excess])),
        Row(
            "tests/test_a.py::test_x[circle-center]",
            "failed",
            Record(limits=[limit(0.06, 0.05, 0.07)], n=300, total=5000),
        ),
        Row("tests/test_b.py::test_y[light-fpr-red]", "error", Record()),
        Row("tests/test_b.py::test_z[light-fpr-red]", "passed", Record(asr=0.1, skew=0.05)),
    ]


def texts(lines: Iterable[Line]) -> list[str]:
    return [f"{line.text}{line.verdict}" for line in lines]


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_what_is_in_each_width(width: int) -> None:
    """Each function, metric and verdict is there, in no line that is too long; no word is broken."""
    lines = texts(blocks(rows(), width))
    assert max(map(len, lines)) < width
    assert [line for line in lines if line.startswith("tests/")] == [
        f"tests/test_{function}" for function in ("a.py::test_x", "b.py::test_y", "b.py::test_z")
    ]
    words = " ".join(" ".join(lines).split())
    for phrase in (
        "FAILED",
        "ERROR",
        "passed",
        "asr_excess",
        "300 of 5,000 images",
        "control 0.010",
        "(not significant)",
    ):
        assert set(phrase.split()) <= set(re.sub("[;,]( |$)", r"\1", words).replace(";", "").split())


@pytest.mark.parametrize(("width", "columns"), [(120, 5), (200, 6)])
def test_limits_are_aligned_over_all_blocks(width: int, columns: int) -> None:
    lines = texts(blocks(rows(), width))
    heading = lines[0]
    limits = [line for line in lines if "<= " in line]
    assert {line.index("<= ") for line in limits} == {heading.index("limit")}
    assert {line.index("0.7") for line in limits[:1]} == {heading.index("value")}
    assert ("interval" in heading) == (columns == 6)


def test_a_long_name_of_a_case_leaves_no_gap_in_other_lines() -> None:
    (row, *_, other) = rows()
    long = dataclasses.replace(other, test=f"tests/test_b.py::test_z[{'a-long-name ' * 5}]", record=row.record)
    lines = texts(blocks([row, long], 200))
    assert lines[0].startswith("    metric  ")
    assert max(len(gap) for line in lines[1:] for gap in re.findall(r"(?<=\S) +(?=\S)", line)) <= 12


def test_a_percentage_is_not_broken() -> None:
    text = "at most 36.7 % grass (labels: 33.3 % trees)"
    for width in range(26, 50):
        lines = wrapped(text, width)
        assert not any(line.lstrip().startswith("%") for line in lines)
        assert " ".join(map(str.strip, lines)) == text


def test_one_scale_for_all_rows() -> None:
    lines = texts(blocks(rows(), 120))
    assert "  0              1  limit" in lines[0]
    assert "  │········╺━━━···  <= 0.05" in lines[2]
    assert "  │╸··············  <= 0.05" in lines[4]


def test_names_of_strangers_are_shown_in_one_line() -> None:
    (row, *_) = rows()
    lines = texts(blocks([dataclasses.replace(row, test="test_a.py::test_x[a\x1b[2Jb\n::error::c]")], 120))
    assert "\x1b" not in "".join(lines)
    assert all("\n" not in line for line in lines)


@pytest.mark.parametrize(
    ("judged", "words"),
    [
        (limit(0.02, 0.01, 0.03), "holds"),
        (limit(0.04, 0.01, 0.07, note="within noise"), "holds (within noise)"),
        (limit(0.06, 0.04, 0.08, note="not significant"), "above limit (not significant)"),
        (limit(0.09, 0.06, 0.12), "above limit"),
        (
            Limit("asr", 0.05, "significant", False, "", Interval(0.09, 0.06, 0.12, 0.95, 9), None),
            "significantly above limit",
        ),
        (
            Limit("asr", 0.05, "significant", True, "not significant", Interval(0.06, 0.04, 0.12, 0.95, 9), None),
            "above limit (not significant)",
        ),
        (Limit("asr", 0.05, "certain", False, "", Interval(0.04, 0.01, 0.12, 0.95, 9), None), "not certain to hold"),
        (Limit("asr", 0.05, "certain", True, "", Interval(0.01, 0.0, 0.03, 0.95, 9), None), "certain to hold"),
        (Limit("ratio", 0.8, "point", False, "", Interval(0.5, 0.4, 0.6, 0.95, 9), None, "at least"), "below limit"),
        (
            Limit("asr", 0.05, "point", False, "", Interval(None, None, None, None, 0), None),
            "undefined on these images",
        ),
        (Limit("asr", 0.05, "point", None, "not decided", Interval(0.1, 0.0, 0.2, 0.95, 9), None), "not decided"),
    ],
)
def test_verdicts_in_words(judged: Limit, words: str) -> None:
    assert verdict_words(judged) == words
