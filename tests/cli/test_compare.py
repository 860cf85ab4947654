"""``compare`` and ``report``: what got worse between two sessions, and one page of several."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from pytest_biastransfer.__main__ import main
from pytest_biastransfer.reporting.report import Report, Result, read_report, to_json
from tests.conftest import WEIGHING_BLUE

TEST = (
    WEIGHING_BLUE
    + """
@pytest.mark.bias_intervention("yellow-square", max_asr=0.9, max_regression={tolerance})
def test_it():
    pass

@pytest.mark.bias_intervention("grayscale", max_asr=1)
def test_gray():
    pass
"""
)


def report(colors: pytest.Pytester, name: str, blue: float, *, tolerance: float = 0, test: str = "") -> Path:
    """Run the tests with a model that weighs blue so much, and return the report."""
    colors.makepyfile(test_it=TEST.format(blue=blue, tolerance=tolerance) + test)
    colors.runpytest_inprocess("-p", "no:xdist", f"--bias-report={name}")
    return colors.path / name


def test_what_got_worse_is_told_and_may_fail(colors: pytest.Pytester, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = report(colors, "old.json", 1), report(colors, "new.json", 0.97)
    capsys.readouterr()
    assert main(["compare", str(old), str(new)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "2 bias tests in both: 1 worse, 1 no worse"
    assert out[1].startswith(
        "  test_it.py::test_it[yellow-square]: asr 0.250 → 0.500; 30 images newly flip, 0 no longer do (p = "
    )
    assert out[1].endswith("worse")
    # Two models: nothing says how much another seed of the same training would differ.
    assert out[2].startswith("  each report has one checkpoint: another seed of the same training can differ as much; ")
    assert len(out) == 3
    assert main(["compare", str(old), str(new), "--fail-on-regression"]) == 1
    assert main(["compare", str(new), str(old), "--fail-on-regression"]) == 0
    assert "better" in capsys.readouterr().out
    assert main(["compare", str(new), str(new), "--fail-on-regression"]) == 0
    assert capsys.readouterr().out == "2 bias tests in both: 2 no worse\n"


def test_the_newer_markers_tolerance_counts(colors: pytest.Pytester) -> None:
    old, new = report(colors, "old.json", 1), report(colors, "new.json", 0.97, tolerance=0.3)
    assert main(["compare", str(old), str(new), "--fail-on-regression"]) == 0


def test_a_test_that_fails_now_counts_and_one_that_is_gone_is_told(
    colors: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = '\n\n@pytest.mark.bias_intervention("blur", max_asr=1)\ndef test_gone():\n    pass\n'
    broken = '\n\n@pytest.mark.bias_intervention("blur", max_asr=1, model="none_of_it")\ndef test_new():\n    pass\n'
    broken += "\n@pytest.fixture\ndef none_of_it():\n    raise RuntimeError('lost')\n"
    old, new = report(colors, "old.json", 1, test=gone), report(colors, "new.json", 1, test=broken)
    capsys.readouterr()
    assert main(["compare", str(old), str(new), "--fail-on-regression"]) == 1
    assert capsys.readouterr().out.splitlines()[1:] == [
        "  test_it.py::test_new[blur-none_of_it]: error, is new",
        "  test_it.py::test_gone[blur]: only in the older report",
    ]


def test_another_intervention_of_the_same_name_is_not_compared(
    colors: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = report(colors, "old.json", 1), report(colors, "new.json", 0.97)
    content = json.loads(new.read_text())
    for test in content["tests"]:
        test["entry"]["intervention"] = "Square(size=0.5)"
    new.write_text(json.dumps(content))
    capsys.readouterr()
    assert main(["compare", str(old), str(new), "--fail-on-regression"]) == 0
    assert "2 not compared (it measures something else now)" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["compare", "{old}", "{bad}"], ["report", "{bad}", "--out", "bias.html"]])
def test_what_is_no_report_is_one_clear_error(
    colors: pytest.Pytester, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    old, bad = report(colors, "old.json", 1), colors.path / "bad.json"
    bad.write_text('{"schema": 0}')
    capsys.readouterr()
    assert main([part.format(old=old, bad=bad) for part in command]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {bad} has schema version 0, and this is pytest-biastransfer for version 1.")


@pytest.mark.parametrize("damaged", ["old.json", "new.json"])
def test_a_damaged_entry_names_its_file_and_the_test(
    colors: pytest.Pytester, capsys: pytest.CaptureFixture[str], damaged: str
) -> None:
    old, new = report(colors, "old.json", 1), report(colors, "new.json", 0.97)
    path = colors.path / damaged
    content = json.loads(path.read_text())
    content["tests"][0]["entry"]["evidence"]["flipped"] = "nonsense"
    path.write_text(json.dumps(content))
    capsys.readouterr()
    assert main(["compare", str(old), str(new)]) == 2
    assert f"error: {path}: the entry of test_it.py::test_it[yellow-square] is damaged: " in capsys.readouterr().err


def made(tmp_path: Path, name: str, *tests: Result) -> Path:
    path = tmp_path / name
    path.write_text(to_json(Report([], tests)))
    return path


ONE = Result(name="test_it.py::test_one", file="test_it.py", line=1, outcome="passed", seconds=1)
TWO = dataclasses.replace(ONE, name="test_it.py::test_two", outcome="failed", message="bias: asr above 0.1")


def test_parts_are_joined_and_runs_become_a_trend(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = [str(made(tmp_path, f"{name}.json", test)) for name, test in (("a", ONE), ("b", TWO))]
    page = tmp_path / "out" / "bias.html"
    assert main(["report", *parts, "--out", str(page)]) == 0
    assert capsys.readouterr().out == f"{page}: all tests of 2 reports\n"
    assert "test_one" in page.read_text()
    assert "test_two" in page.read_text()
    whole = tmp_path / "bias.json"
    assert main(["report", *parts, "--out", str(whole)]) == 0
    assert [test.name for test in read_report(whole).tests] == [ONE.name, TWO.name]
    trend = tmp_path / "trend.html"
    assert main(["report", *[parts[0]] * 3, "--out", str(trend)]) == 0
    assert capsys.readouterr().out.endswith(f"{trend}: the trend of 3 reports\n")
    assert main(["report", *parts, "--out", str(trend), "--trend"]) == 0
    assert main(["report", parts[0], parts[0], "--merge", "--out", str(whole)]) == 0
    assert len(read_report(whole).tests) == 1


@pytest.mark.parametrize(
    ("out", "more", "message"),
    [
        ("bias.txt", [], "expected a file that ends in one of .html, .json, .md"),
        ("trend.json", ["--trend"], "a trend is a page; name a .html file, or join the reports with --merge"),
        ("page.html", ["--images"], "images are drawn beside Markdown only; type --images --out=NAME.md"),
        (
            "bias.md",
            ["--image-url=https://example.org/x"],
            "images are drawn beside Markdown only; type --images --image-url=URL --out=NAME.md",
        ),
    ],
)
def test_a_place_that_will_not_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str, more: list[str], message: str
) -> None:
    part = made(tmp_path, "a.json", ONE)
    assert main(["report", str(part), "--out", str(tmp_path / out), *more]) == 2
    assert capsys.readouterr().err == f"error: --out={tmp_path / out}: {message}\n"


def test_two_reports_of_the_same_tests_are_set_side_by_side(
    colors: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = report(colors, "old.json", 1), report(colors, "new.json", 0.97)
    capsys.readouterr()
    page, text = colors.path / "compare.html", colors.path / "compare.md"
    assert main(["report", str(old), str(new), "--out", str(page)]) == 0
    assert capsys.readouterr().out == f"{page}: the comparison of 2 reports\n"
    assert '<b class="bad">1 test worse in new than in old</b>' in page.read_text()
    assert main(["report", str(old), str(new), "--compare", "--images", "--out", str(text)]) == 0
    lines = text.read_text().splitlines()
    assert lines[1] == "## ❌ Bias transfer: 1 test worse in new than in old"
    assert "30 images newly flip, 0 no longer do" in text.read_text()


@pytest.mark.parametrize(
    ("reports", "out", "message"),
    [
        (3, "compare.html", "--compare sets two reports side by side, found 3; name two, or use --trend"),
        (
            2,
            "compare.json",
            "a comparison is a page or Markdown; name a .html or .md file, or join the reports with --merge",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reports: int, out: str, message: str
) -> None:
    one = str(made(tmp_path, "a.json", ONE))
    assert main(["report", *[one] * reports, "--compare", "--out", str(tmp_path / out)]) == 2
    assert capsys.readouterr().err.endswith(f"{message}\n")
    assert not (tmp_path / out).exists()
