"""The hook `pytest_bias_session_finish`: who is called with what and when, and the recipes of docs/reports.md."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from pathlib import Path
from typing import Final

import jsonschema
import pytest

from tests.conftest import INNER_CONFTEST, MODES
from tests.support.warm_python import WarmPython

DOCS: Final = Path(__file__).parents[2] / "docs"
WRITES_WHAT_IT_GETS: Final = """

def pytest_bias_session_finish(report, config):
    import json, pathlib

    assert not hasattr(config, "workerinput")
    place = pathlib.Path("finished.jsonl")
    with place.open("a") as file:
        file.write(json.dumps(report) + "\\n")
    print("PASSED ON")
"""
TESTS: Final = """
import pytest

@pytest.mark.bias_intervention("yellow-square", max_asr=0.05)
def test_square():
    pass

@pytest.mark.bias_intervention("grayscale", max_asr=1)
def test_gray():
    pass
"""


def reports(pytester: pytest.Pytester) -> list[object]:
    """What the hook of `WRITES_WHAT_IT_GETS` was called with, in each call."""
    place = pytester.path / "finished.jsonl"
    return [json.loads(line) for line in place.read_text().splitlines()] if place.exists() else []


@pytest.fixture
def passing_on(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(INNER_CONFTEST + WRITES_WHAT_IT_GETS)
    pytester.makepyfile(test_it=TESTS)
    return pytester


@pytest.mark.parametrize("mode", ["no:xdist", "n2"])
def test_it_gets_what_the_json_report_has(passing_on: pytest.Pytester, warm: WarmPython, mode: str) -> None:
    result = passing_on.runpytest_inprocess(*MODES[mode], "-s", "--bias-report=bias.json", plugins=[warm])
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    (report,) = reports(passing_on)
    assert report == json.loads((passing_on.path / "bias.json").read_text())
    jsonschema.validate(report, json.loads((DOCS / "report.schema.json").read_text()))
    # The summary is written before, and an implementation may print below it.
    result.stdout.fnmatch_lines(["  report: bias.json", "*1 failed, 1 passed*", "PASSED ON"])


@pytest.mark.parametrize("mode", ["no:xdist", "n2"])
def test_without_a_report_file_it_gets_the_same(passing_on: pytest.Pytester, warm: WarmPython, mode: str) -> None:
    passing_on.runpytest_inprocess(*MODES[mode], plugins=[warm])
    (report,) = reports(passing_on)
    assert isinstance(report, dict)
    square = next(test for test in report["tests"] if "square" in test["name"])
    assert (square["outcome"], square["limits"][0]["observed"]["value"]) == ("failed", 0.25)
    assert [image["index"] for image in square["details"]["shown"]] == [0, 1, 2, 3, 4]
    assert [image["clean"]["media_type"] for image in square["details"]["shown"]] == ["image/webp"] * 5


def test_a_conftest_of_a_directory_is_called_too(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(INNER_CONFTEST)
    place = pytester.mkpydir("bias")
    (place / "conftest.py").write_text(WRITES_WHAT_IT_GETS)
    (place / "test_it.py").write_text(TESTS)
    # Not named on the command line, it is read when tests are collected.
    pytester.runpytest_inprocess(*MODES["no:xdist"])
    (report,) = reports(pytester)
    assert isinstance(report, dict)
    assert len(report["tests"]) == 2


@pytest.mark.parametrize("end", ["raise KeyboardInterrupt", "pytest.exit('enough')"])
def test_an_interrupted_session_passes_on_the_tests_that_ran(passing_on: pytest.Pytester, end: str) -> None:
    passing_on.makepyfile(
        test_it=f"{TESTS}\ndef test_of_another_kind():\n    {end}\n{TESTS.replace('square():', 'late():')}"
    )
    result = passing_on.runpytest_subprocess(*MODES["no:xdist"])
    assert result.ret == pytest.ExitCode.INTERRUPTED
    (report,) = reports(passing_on)
    assert isinstance(report, dict)
    assert [(test["name"], test["outcome"]) for test in report["tests"]] == [
        ("test_it.py::test_square[yellow-square]", "failed"),
        ("test_it.py::test_gray[grayscale]", "passed"),
    ]


@pytest.mark.parametrize("mode", ["no:xdist", "n2"])
def test_a_session_that_stops_at_the_first_failure_passes_on_once(
    passing_on: pytest.Pytester, warm: WarmPython, mode: str
) -> None:
    passing_on.runpytest_inprocess(*MODES[mode], "-x", plugins=[warm])
    (report,) = reports(passing_on)
    assert isinstance(report, dict)
    assert ("test_it.py::test_square[yellow-square]", "failed") in [
        (test["name"], test["outcome"]) for test in report["tests"]
    ]


@pytest.mark.parametrize("arguments", [["-k", "other"], ["--collect-only"], ["-k", "none_of_them"]])
def test_without_bias_tests_nobody_is_called(passing_on: pytest.Pytester, arguments: list[str]) -> None:
    passing_on.makepyfile(test_other="def test_other(): pass")
    passing_on.runpytest_inprocess(*MODES["no:xdist"], *arguments)
    assert reports(passing_on) == []


def test_an_error_in_it_fails_the_session_and_hides_no_result(pytester: pytest.Pytester) -> None:
    refused = "\n\ndef pytest_bias_session_finish(report):\n    raise ConnectionError('the tracker is down')\n"
    pytester.makeconftest(INNER_CONFTEST + refused)
    pytester.makepyfile(test_it=TESTS)
    result = pytester.runpytest_subprocess(*MODES["no:xdist"], "-k", "gray", "--bias-report=bias.md")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["  report: bias.md", "*1 passed*"])
    assert result.stderr.lines[-1] == "ConnectionError: the tracker is down"


def recipe(word: str) -> str:
    """The Python of docs/reports.md that has a word."""
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / "reports.md").read_text(), re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if word in block]
    return f"\n\n{block}"


def needs(package: str) -> pytest.MarkDecorator:
    """Skip a test without a package. It is not imported here: mlflow replaces the finder of importlib.metadata."""
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"needs the package {package}")


@needs("mlflow")
def test_the_recipe_for_mlflow_fills_a_file_store(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    store = pytester.path / "runs"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.as_uri())
    # The newest releases open a file store only if that is asked for.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    pytester.makeconftest(INNER_CONFTEST + recipe("mlflow"))
    pytester.makepyfile(test_it=TESTS)
    pytester.runpytest_subprocess(*MODES["no:xdist"], "-k", "square", "--bias-report=bias.json").assert_outcomes(
        failed=1, deselected=1
    )
    (run,) = [path.parent for path in store.glob("*/*/meta.yaml")]
    metrics = {
        path.relative_to(run / "metrics").as_posix(): float(path.read_text().split()[1])
        for path in (run / "metrics").rglob("*")
        if path.is_file()
    }
    assert metrics == {"test_it.py test_square yellow-square/asr": 0.25, "failed": 1}
    assert json.loads((run / "artifacts" / "bias.json").read_text()) == json.loads(
        (pytester.path / "bias.json").read_text()
    )
    assert (run / "tags" / "torch").read_text()


@needs("wandb")
def test_the_recipe_for_weights_and_biases_writes_an_offline_run(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(pytester.path))
    # A service that the run starts writes there, too.
    monkeypatch.setenv("HOME", str(pytester.path))
    pytester.makeconftest(INNER_CONFTEST + recipe("wandb"))
    pytester.makepyfile(test_it=TESTS)
    pytester.runpytest_subprocess(*MODES["no:xdist"], timeout=120).assert_outcomes(failed=1, passed=1)
    (run,) = (pytester.path / "wandb").glob("offline-run-*")
    (table,) = (json.loads(path.read_text()) for path in run.rglob("*.table.json"))
    assert table["columns"] == ["test", "outcome", "metric", "value", "low", "high", "limit", "holds"]
    rows = {row[0].partition("::")[2]: row[1:] for row in table["data"]}
    assert rows["test_square[yellow-square]"][:3] == ["failed", "asr", 0.25]
    assert rows["test_square[yellow-square]"][5:] == [0.05, False]
    assert rows["test_gray[grayscale]"][0] == "passed"
    (log,) = run.glob("run-*.wandb")
    assert b"test_square[yellow-square]/asr" in log.read_bytes()
    assert "WANDB_MODE" in os.environ
