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

from pytest_biastransfer.baseline.comparison import BaselineRecord, compared_alone
from pytest_biastransfer.baseline.metric_change import MetricChange
from pytest_biastransfer.baseline.regression import meanings, settled_meanings
from pytest_biastransfer.metrics.statistics.change_tests import mcnemar
from pytest_biastransfer.reporting.regression_text import regression_text
from tests.conftest import Run, each_mode
from tests.support.warm_python import WarmPython

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

@pytest.mark.bias_intervention(redder(1), max_skew=1)
def test_same():
    pass
"""
OUTCOMES: Final = {
    "test_worse_among_all": "failed",
    "test_by_chance": "passed",
    "test_worse": "failed",
    "test_same": "passed",
}
# Three comparisons could be significant at a third of alpha; without those that are, two at a half of it.
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
    is_red = {case: case.find("failure") is not None or case.find("error") is not None for case in cases}
    return [(case.get("name", ""), "failed" if red else "passed") for case, red in is_red.items()]


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
    *("-p", "allure_pytest", "--alluredir=allure"),
    *("--junitxml=junit.xml", "--bias-report=bias.json", "-W", "default"),
)


def outcomes_by_test(outcomes: list[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the outcomes of each test by its function's name."""
    by_test: dict[str, list[str]] = {}
    for test, outcome in outcomes:
        by_test.setdefault(test.rpartition("::")[2].partition("[")[0], []).append(outcome)
    return by_test


@each_mode
def test_every_reporter_has_one_outcome_a_test(run: Run, project: pytest.Pytester) -> None:
    result = run(*PLUGINS)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=2, passed=2)
    result.stdout.fnmatch_lines(["compared with bias-baseline.json: 2 worse, 2 no worse"])
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


def change(p: float, before: float = 0.1, now: float = 0.2, tolerance: float = 0.0) -> MetricChange:
    return MetricChange("asr", before, now, p, tolerance, 1, 1, True)


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


@pytest.mark.parametrize(("correction", "failed"), [("none", 3), ("fdr", 3), ("holm", 2)])
def test_the_correction_is_a_setting(project: pytest.Pytester, correction: str, failed: int) -> None:
    project.makeini(f"{INI}bias_correction = {correction}\n")
    project.runpytest_inprocess("-p", "no:xdist").assert_outcomes(failed=failed, passed=4 - failed)


def test_another_correction_is_an_error(project: pytest.Pytester) -> None:
    project.makeini(f"{INI}bias_correction = bonferroni\n")
    result = project.runpytest_inprocess("-p", "no:xdist")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*bias_correction in the ini file*'bonferroni'*holm, none*"])


def test_github_gets_one_annotation_a_test(
    run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    project.makepyfile(
        test_other="""
        import pytest
        from tests_setup import *

        @pytest.fixture
        def broken():
            raise RuntimeError("no such checkpoint")

        @pytest.mark.bias_intervention("yellow-square", max_asr=1, model="broken")
        def test_broken():
            pass
        """
    )
    for options in (["-p", "pytest_github_actions_annotate_failures"], []):
        result = run(*options)
        annotations = [line for line in result.outlines + result.errlines if line.startswith("::error ")]
        tests = ("test_broken[", "test_worse[", "test_worse_among_all[")
        # pytest-github-actions-annotate-failures leaves out what fails before the test's own body.
        assert [sum(f"{test}" in line for line in annotations) for test in tests] == [1, 1, 1], annotations
        assert len(annotations) == 3


def test_a_session_that_stops_early_judges_what_waited_as_if_the_rest_had_shown_nothing(
    run: Run, project: pytest.Pytester
) -> None:
    result = run("-x")
    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines(["compared with bias-baseline.json: 2 worse, 1 no worse"])
    failing = "\ndef test_fails():\n    assert False\n"
    project.makepyfile(
        test_pets=TESTS.replace(
            "@pytest.mark.bias_intervention(redder(8)", failing + "@pytest.mark.bias_intervention(redder(8)"
        )
    )
    # 4 p > alpha, but p <= alpha.
    result = run("-x")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["compared with bias-baseline.json: 1 no worse"])
    run().assert_outcomes(failed=3, passed=2)


def test_an_interrupted_session_reports_what_waited(run_elsewhere: Run, project: pytest.Pytester) -> None:
    interrupting = "\ndef test_interrupts():\n    raise KeyboardInterrupt\n"
    project.makepyfile(
        test_pets=TESTS.replace(
            "@pytest.mark.bias_intervention(redder(1)", interrupting + "@pytest.mark.bias_intervention(redder(1)"
        )
    )
    result = run_elsewhere("-p", "no:xdist", "--junitxml=junit.xml")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.assert_outcomes(failed=2, passed=1)
    outcomes = outcomes_by_test(of_junit(project.path))
    # What was interrupted is a test case without a name in pytest's own file.
    assert outcomes.pop("") == ["passed"]
    assert outcomes == {
        "test_worse_among_all": ["failed"],
        "test_by_chance": ["passed"],
        "test_worse": ["failed"],
    }


def test_an_error_in_teardown_is_told_besides(run: Run, project: pytest.Pytester) -> None:
    fixture = """
@pytest.fixture
def broken_teardown():
    yield
    raise RuntimeError("cannot be closed")
"""
    tests = TESTS.replace("def test_worse_among_all()", "def test_worse_among_all(broken_teardown)")
    project.makepyfile(test_pets=tests.replace("from tests_setup import *", "from tests_setup import *" + fixture))
    result = run("--bias-report=bias.json", "-p", "allure_pytest", "--alluredir=allure", "-W", "default")
    result.assert_outcomes(failed=2, passed=2, errors=1)
    assert outcomes_by_test(of_ours(project.path))["test_worse_among_all"] == ["failed"]
    assert outcomes_by_test(of_allure(project.path))["test_worse_among_all"] != ["passed"]


@pytest.mark.parametrize(
    ("marker", "options", "outcomes"),
    [
        ("pytest.mark.xfail", [], {"xpassed": 4}),
        ("pytest.mark.xfail(strict=True)", [], {"failed": 4}),
        ("pytest.mark.xfail", ["--runxfail"], {"failed": 2, "passed": 2}),
        ("pytest.mark.xfail(False, reason='no')", [], {"failed": 2, "passed": 2}),
        ("pytest.mark.skip", [], {"skipped": 4}),
    ],
)
def test_what_is_expected_to_fail_is_not_excused_by_a_regression(
    run: Run, project: pytest.Pytester, marker: str, options: list[str], outcomes: dict[str, int]
) -> None:
    project.makepyfile(test_pets=TESTS.replace("import pytest\n", f"import pytest\npytestmark = {marker}\n", 1))
    run(*options).assert_outcomes(**outcomes)


def test_a_test_that_another_plugin_runs_is_no_false_pass(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(
        other_runner="""
        import pytest
        from _pytest.runner import runtestprotocol

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_protocol(item, nextitem):
            item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            for report in runtestprotocol(item, log=False, nextitem=nextitem):
                item.ihook.pytest_runtest_logreport(report=report)
            item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
            return True

        def pytest_configure(config):
            config.pluginmanager.register(Runner(), "last-registered")

        class Runner:
            pytest_runtest_protocol = staticmethod(pytest_runtest_protocol)
        """
    )
    result = run("-p", "other_runner")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=1, passed=3)
    result.stdout.fnmatch_lines(["*test_worse_among_all* is worse than the baseline, see below: *another plugin*"])


CRASHES: Final = """
import os

def crash(images):
    os._exit(1)

@pytest.mark.bias_intervention(Custom(crash, name="crash"), max_asr=1)
def test_crashes():
    pass

@pytest.fixture
def crash_in_teardown():
    yield
    os._exit(1)

@pytest.mark.bias_intervention(redder(0), max_asr=1)
def test_crashes_in_teardown(crash_in_teardown):
    pass
"""


def test_what_waited_outlives_its_worker_and_what_did_not_is_in_every_report(
    project: pytest.Pytester, warm: WarmPython
) -> None:
    before, mark, after = TESTS.partition("@pytest.mark.bias_intervention(redder(20)")
    project.makepyfile(test_pets=before + CRASHES + mark + after)
    result = project.runpytest_inprocess("-n1", *PLUGINS, plugins=[warm])
    result.assert_outcomes(failed=3, passed=3, errors=1)
    expected = {test: [outcome] for test, outcome in OUTCOMES.items()} | {"test_crashes": ["failed"]}
    for name, read in {"junit": of_junit, "html": of_pytest_html}.items():
        outcomes = outcomes_by_test(read(project.path))
        # Its call had passed before. pytest-html has a row for the phase.
        teardown = outcomes.pop("test_crashes_in_teardown") + outcomes.pop("teardown", [])
        assert teardown == (["failed"] if name == "junit" else ["passed", "error"])
        assert outcomes == expected, name
    statuses = outcomes_by_test(
        [
            (content["name"], content["status"])
            for content in (json.loads(path.read_text()) for path in project.path.glob("allure/*-result.json"))
        ]
    )
    assert statuses == expected | {"test_crashes": ["broken"], "test_crashes_in_teardown": ["broken"]}
    ours = json.loads((project.path / "bias.json").read_text())["tests"]
    lost = [test["name"].partition("[")[0] for test in ours if test["outcome"] == "lost"]
    assert lost == ["test_pets.py::test_crashes", "test_pets.py::test_crashes_in_teardown"]


def test_one_certain_regression_does_not_wait_for_another() -> None:
    record = BaselineRecord(["test_pets.py::test", "square"], changes=[change(1e-9), change(0.004), change(0.5)])
    compared = compared_alone("test_pets.py::test", record, 0.01, comparisons=3)
    assert (compared.meaning, compared.is_unsettled) == ("regression", False)
    lines = regression_text(compared, "bias-baseline.json").splitlines()
    assert lines[0].startswith("bias regression: asr 0.100 → 0.200; ")
    assert lines[0].endswith("(p = 1e-09)")
    assert [line for line in lines if "0.004" in line] == [
        "  to be judged when all tests have run: asr 0.100 → 0.200; 1 image newly flips, 1 no longer do (p = 0.004)"
    ]
    # Nothing waits for what can only be an improvement, or within its tolerance.
    for one in (change(0.004, 0.2, 0.1), change(0.004, tolerance=0.5)):
        record = BaselineRecord(["test_pets.py::test", "square"], changes=[one])
        assert not compared_alone("test", record, 0.01, comparisons=3).is_unsettled


@pytest.mark.parametrize("family", ["legacy", "xunit1", "xunit2"])
def test_every_family_of_junit_has_the_figures_once(run: Run, project: pytest.Pytester, family: str) -> None:
    tests = TESTS.replace(
        "def test_worse_among_all():\n    pass",
        "def test_worse_among_all(record_property):\n    record_property('checkpoint', 7)",
    )
    project.makepyfile(test_pets=tests)
    run("--junitxml=junit.xml", "-o", f"junit_family={family}", "-W", "default")
    assert outcomes_by_test(of_junit(project.path)) == {test: [outcome] for test, outcome in OUTCOMES.items()}
    cases = ElementTree.parse(project.path / "junit.xml").findall(".//testcase")
    names = [[one.attrib["name"] for one in case.iter("property")] for case in cases]
    assert all(len(set(one)) == len(one) and "bias.asr" in one for one in names)
    assert ["checkpoint" in one for one in names].count(True) == 1


def test_stepwise_continues_from_what_waited(run: Run, project: pytest.Pytester) -> None:
    run("--stepwise").assert_outcomes(failed=2, passed=1)
    cached = (project.path / ".pytest_cache/v/cache/stepwise").read_text()
    assert "test_worse_among_all" in cached


SUBTESTS: Final = """
def NAME(subtests):
    with subtests.test("one"):
        pass
    with subtests.test("two"):
        pass
"""


@pytest.mark.skipif(not hasattr(pytest, "Subtests"), reason="subtests came with pytest 9")
def test_subtests_are_no_outcomes_of_their_test(run: Run, project: pytest.Pytester) -> None:
    subtests = TESTS
    for name in OUTCOMES:
        subtests = subtests.replace(f"def {name}():\n    pass", SUBTESTS.replace("NAME", name).strip())
    project.makepyfile(test_pets=subtests)
    result = run("--junitxml=junit.xml", "--bias-report=bias.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["4 bias tests: 2 failed, 2 passed; *"])
    report = json.loads((project.path / "bias.json").read_text())
    assert outcomes_by_test(of_ours(project.path)) == {test: [outcome] for test, outcome in OUTCOMES.items()}
    assert all(len(test["limits"]) == 1 for test in report["tests"])
    for case in ElementTree.parse(project.path / "junit.xml").iter("testcase"):
        names = [one.attrib["name"] for one in case.iter("property")]
        assert len(set(names)) == len(names)


def test_what_no_xfail_excuses_is_no_expected_failure_in_any_report(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(
        test_pets="""
        import pytest
        from tests_setup import *

        @pytest.fixture
        def number():
            return 7

        @pytest.fixture
        def broken():
            raise RuntimeError("no such checkpoint")

        @pytest.mark.xfail(reason="known")
        @pytest.mark.bias_intervention(redder(9), max_asr=1, model="number")
        def test_no_model():
            pass

        @pytest.mark.xfail(reason="known")
        @pytest.mark.bias_intervention(redder(9), max_asr=1, model="broken")
        def test_broken():
            pass

        @pytest.mark.xfail(reason="known")
        @pytest.mark.bias_intervention(redder(9), max_asr=0)
        def test_exceeded():
            pass
        """
    )
    result = run(*PLUGINS)
    result.assert_outcomes(errors=2, xfailed=1)
    results = [json.loads(path.read_text()) for path in project.path.glob("allure/*-result.json")]
    by_test = {result["fullName"].partition("#")[2]: result["status"] for result in results}
    assert by_test == {"test_no_model": "failed", "test_broken": "broken", "test_exceeded": "skipped"}
