"""Each test has one outcome, which is the same in every report, also where it depends on the session's other tests."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import pytest

from pytest_biastransfer.judgement.regression import Change, meanings, settled_meanings
from pytest_biastransfer.metrics.comparison import mcnemar
from tests.conftest import Run

# Of 200 images as many flip as the number says, and none in the model that was accepted.
SETUP: Final = """
import os
import pytest
import torch
import conftest
from pytest_biastransfer import Custom, Model

def redder(images):
    added = torch.tensor([0.002 * images - 0.001, 0, 0]).reshape(3, 1, 1)
    return Custom(lambda pixels: pixels + added, name=f"redder-{images}")

class Stubborn(conftest.BrightestChannel):
    def forward(self, images):
        return super().forward(images) + self.stubborn * torch.tensor([0.0, 0.0, 1.0])

@pytest.fixture(scope="session")
def transferred_model():
    model = Stubborn()
    model.register_buffer("stubborn", torch.tensor(float(os.environ.get("STUBBORN", "0"))))
    return Model(model, classes=["red", "green", "blue"], name="pets")

@pytest.fixture(scope="session")
def bias_dataset():
    colors = [(0.30, 0.20, 0.30 + 0.002 * (i + 0.5)) for i in range(200)]
    return [(torch.tensor(color).reshape(3, 1, 1).expand(3, 8, 8), 2) for color in colors]
"""

# What exactly nine and eight of nine and eight changed images show, in four comparisons: 0.0039 and 0.0078.
TESTS: Final = """
import pytest
from tests_setup import *

@pytest.mark.bias_intervention(redder(9), max_asr=1)
def test_worse_among_all():
    pass

@pytest.mark.bias_intervention(redder(8), max_asr=1)
def test_by_chance():
    pass

@pytest.mark.bias_intervention(redder(20), max_asr=1)
def test_worse():
    pass

@pytest.mark.bias_intervention(redder(0), max_asr=1)
def test_same():
    pass
"""
OUTCOMES: Final = {
    "test_worse_among_all": "failed",
    "test_by_chance": "passed",
    "test_worse": "failed",
    "test_same": "passed",
}
# By Holm: 4 p <= alpha, 3 p <= alpha, but 2 p > alpha.
INI: Final = "[pytest]\npythonpath = .\nbias_alpha = 0.012\n"


@pytest.fixture
def project(colors: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project whose model got worse since its baseline was written."""
    monkeypatch.setenv("COLUMNS", "120")
    colors.makeini(INI)
    colors.makepyfile(tests_setup=SETUP, test_pets=TESTS)
    monkeypatch.setenv("STUBBORN", "1")
    colors.runpytest_inprocess("-p", "no:xdist", "--bias-update=new").assert_outcomes(passed=4)
    monkeypatch.setenv("STUBBORN", "0")
    return colors


def of_junit(directory: Path) -> list[tuple[str, str]]:
    cases = ElementTree.parse(directory / "junit.xml").iter("testcase")
    return [(case.attrib["name"], "passed" if case.find("failure") is None else "failed") for case in cases]


def of_pytest_html(directory: Path) -> list[tuple[str, str]]:
    page = (directory / "page.html").read_text(encoding="utf-8")
    blob = re.search(r'data-jsonblob="([^"]*)"', page)
    assert blob is not None
    tests = json.loads(html.unescape(blob[1]))["tests"]
    return [(test["testId"], test["result"].lower()) for results in tests.values() for test in results]


def of_json_report(directory: Path) -> list[tuple[str, str]]:
    report = json.loads((directory / "report.json").read_text(encoding="utf-8"))
    assert {word: count for word, count in report["summary"].items() if word in ("passed", "failed")} == {
        "passed": 2,
        "failed": 2,
    }
    for test in report["tests"]:
        assert test["call"]["outcome"] == test["outcome"]
    return [(test["nodeid"], test["outcome"]) for test in report["tests"]]


def of_allure(directory: Path) -> list[tuple[str, str]]:
    results = [json.loads(path.read_text(encoding="utf-8")) for path in (directory / "allure").glob("*-result.json")]
    for result in results:
        assert ("bias regression: asr" in result.get("statusDetails", {}).get("message", "")) == (
            result["status"] == "failed"
        )
    return [(result["fullName"].partition("#")[2], result["status"]) for result in results]


def of_ours(directory: Path) -> list[tuple[str, str]]:
    report = json.loads((directory / "bias.json").read_text(encoding="utf-8"))
    for test in report["tests"]:
        assert (test["standing"] == "regression") == (test["outcome"] == "failed")
    return [(test["name"], test["outcome"]) for test in report["tests"]]


REPORTS: Final[Mapping[str, Callable[[Path], list[tuple[str, str]]]]] = {
    "junit": of_junit,
    "pytest-html": of_pytest_html,
    "pytest-json-report": of_json_report,
    "allure-pytest": of_allure,
    "ours": of_ours,
}
PLUGINS: Final = (
    *("-p", "metadata", "-p", "html", "--html=page.html", "--self-contained-html"),
    *("-p", "pytest_jsonreport", "--json-report", "--json-report-file=report.json"),
    *("-p", "allure_pytest", "--alluredir=allure", "--clean-alluredir"),
    *("--junitxml=junit.xml", "--bias-report=bias.json", "-W", "default"),
)


def outcomes_by_test(outcomes: list[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the outcomes of each test by its function's name."""
    by_test: dict[str, list[str]] = {}
    for test, outcome in outcomes:
        by_test.setdefault(test.rpartition("::")[2].partition("[")[0], []).append(outcome)
    return by_test


def test_every_reporter_has_one_outcome_a_test(run: Run, project: pytest.Pytester) -> None:
    result = run(*PLUGINS)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=2, passed=2)
    result.stdout.fnmatch_lines(["beside bias-baseline.json: 2 worse, 2 no worse"])
    expected = {test: [outcome] for test, outcome in OUTCOMES.items()}
    found = {name: outcomes_by_test(read(project.path)) for name, read in REPORTS.items()}
    assert found == dict.fromkeys(REPORTS, expected)
    # The messages of both are the same but for their figures.
    texts = re.findall(r"^bias regression: asr 0\.000 → (\S+); .*\(p = (\S+)\)$", result.stdout.str(), re.MULTILINE)
    assert sorted(texts) == [("0.045", f"{mcnemar(9, 0):.1g}"), ("0.100", f"{mcnemar(20, 0):.1g}")]
    failed = json.loads((project.path / ".pytest_cache/v/cache/lastfailed").read_text())
    assert sorted(failed) == [
        "test_pets.py::test_worse[redder-20]",
        "test_pets.py::test_worse_among_all[redder-9]",
    ]
    figures = [
        case.findall("properties/property[@name='bias.asr']")
        for case in ElementTree.parse(project.path / "junit.xml").iter("testcase")
    ]
    assert [len(one) for one in figures] == [1, 1, 1, 1]


def change(p: float, before: float = 0.1, now: float = 0.2, tolerance: float = 0.0) -> Change:
    return Change("asr", before, now, p, tolerance, 1, 1, True)


@pytest.mark.parametrize("comparisons", [1, 3, 50])
def test_what_is_settled_early_is_what_holm_says_of_all(comparisons: int) -> None:
    numbers = [0.0, 1e-9, 0.01 / comparisons, 0.0101 / comparisons, 0.005, 0.01, 0.0101, 0.5, 1.0]
    changes = [change(p, *values) for p in numbers for values in ((0.1, 0.2), (0.2, 0.1), (0.1, 0.1), (0.1, 0.2, 0.5))]
    unsettled = 0
    for one in changes:
        (settled,) = settled_meanings([one], 0.01, comparisons)
        # The others are all nothing, or all certain, or some of each.
        for certain in range(comparisons):
            others = [change(0.0)] * certain + [change(1.0)] * (comparisons - 1 - certain)
            among_all = meanings([one, *others], 0.01)[0]
            assert settled in (None, among_all)
        unsettled += settled is None
    assert (unsettled > 0) == (comparisons > 1)


def test_comparisons_that_were_not_made_count() -> None:
    assert meanings([change(0.004)], 0.01) == ["regression"]
    assert meanings([change(0.004)], 0.01, unmade=1) == ["regression"]
    assert meanings([change(0.004)], 0.01, unmade=2) == ["unchanged"]
