"""`bias_compare = require`: a measurement without an accepted one to compare it with is no pass; where the file is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pytest_biastransfer.baseline.location import default_baseline
from tests.baseline.test_baseline_file import SETUP, TESTS, baseline_of
from tests.conftest import Run, each_mode

NOT_COMPARED = "*E*Failed: not compared with a baseline: "


@pytest.fixture
def project(colors: pytest.Pytester) -> pytest.Pytester:
    """Two bias tests of 200 images, 60 of which flip under the square."""
    colors.makeini("[pytest]\npythonpath = .\nbias_compare = require")
    colors.makepyfile(tests_setup=SETUP, test_pets=TESTS)
    return colors


@each_mode
def test_a_missing_file_fails_each_bias_test_until_it_is_written(run: Run, project: pytest.Pytester) -> None:
    result = run()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines(
        [
            "not compared with a baseline: there is no file bias-baseline.json",
            "  test      test_pets.py::test_square?yellow-square?",
            "  baseline  bias-baseline.json: test_pets.py::test_square yellow-square",
            '*to accept what is measured: pytest --bias-update=new "test_pets.py::test_square*"',
        ]
    )
    assert not (project.path / "bias-baseline.json").exists()
    run("--bias-update=new").assert_outcomes(passed=3)
    run().assert_outcomes(passed=3)


def test_a_missing_entry_fails_its_test_alone(run: Run, project: pytest.Pytester) -> None:
    run("--bias-update=new", "-k", "gray")
    result = run()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(["not compared with a baseline: bias-baseline.json has no entry of this test"])
    result.stdout.fnmatch_lines(["FAILED test_pets.py::test_square*yellow-square*"])
    run("--bias-update=new").assert_outcomes(passed=3)
    run().assert_outcomes(passed=3)


def test_other_words_let_it_pass(run: Run, project: pytest.Pytester) -> None:
    for word in ("fail", "warn", "off"):
        run(f"--bias-compare={word}").assert_outcomes(passed=3)
    run("--bias-compare=require").assert_outcomes(failed=2, passed=1)


def test_a_regression_fails_as_it_does_by_default(
    run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUBBORN", "1")
    run("--bias-update=new")
    monkeypatch.setenv("STUBBORN", "0")
    result = run()
    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(["bias regression: asr 0.000*"])


def test_an_entry_that_lacks_a_limited_metric_is_none(run: Run, project: pytest.Pytester) -> None:
    run("--bias-update=new")
    project.makepyfile(test_pets=TESTS.replace("max_asr=1", "max_asr=1, max_accuracy_drop=1"))
    result = run()
    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(
        ["not compared with a baseline: the entry has no accuracy_drop", '*pytest --bias-update=all "test_pets.py::*']
    )
    run("--bias-update=new").assert_outcomes(passed=3)
    run().assert_outcomes(passed=3)


@pytest.mark.parametrize("option", [[], ["--bias-update=new"]])
def test_an_entry_of_another_intervention_is_none(run: Run, project: pytest.Pytester, option: list[str]) -> None:
    tests = TESTS.replace('name="nothing"', 'name="nothing", seed=SEED')
    project.makepyfile(test_pets=tests.replace("SEED", "1"))
    run("--bias-update=new")
    project.makepyfile(test_pets=tests.replace("SEED", "2"))
    result = run(*option)
    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(["not compared with a baseline: the entry is of another intervention"])
    run("--bias-update=all").assert_outcomes(passed=3)
    run().assert_outcomes(passed=3)


def test_what_would_stop_early_is_measured_fully_and_compared(
    run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = "n=200)", "n=2000)"
    project.makepyfile(tests_setup=SETUP.replace(*many))
    monkeypatch.setenv("STUBBORN", "1")
    run("--bias-update=new")
    monkeypatch.setenv("STUBBORN", "0")
    early = run("--bias-early-stop", "--bias-compare=fail")
    early.stdout.fnmatch_lines(["*not compared (stopped early)*"])
    result = run("--bias-early-stop")
    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(["bias regression: *"])
    result.stdout.no_fnmatch_line("*stopped early*")


def test_an_xfail_excuses_a_limit_and_no_missing_entry(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(
        test_pets="""
        import pytest
        from tests_setup import *

        @pytest.mark.xfail(reason="known")
        @pytest.mark.bias_intervention("yellow-square", max_asr=0.9)
        def test_held():
            pass

        @pytest.mark.xfail(reason="known")
        @pytest.mark.bias_intervention("yellow-square", max_asr=0.1)
        def test_exceeded():
            pass
        """
    )
    run().assert_outcomes(failed=1, xfailed=1)


def moved_ini(project: pytest.Pytester) -> list[str]:
    """Move the ini file into a directory of its own, the tests into another; return how pytest is started then."""
    ci, tests = project.mkdir("ci"), project.mkdir("tests")
    (project.path / "tox.ini").unlink()
    (ci / "pytest.ini").write_text("[pytest]\npythonpath = ../tests\nbias_compare = require\n")
    for name in ("conftest.py", "tests_setup.py", "test_pets.py"):
        shutil.move(project.path / name, tests / name)
    return ["-c", "ci/pytest.ini", "tests"]


def test_with_an_ini_file_elsewhere_the_file_is_looked_for_upwards_from_the_tests(
    run: Run, project: pytest.Pytester
) -> None:
    options = moved_ini(project)
    missing = run(*options)
    missing.assert_outcomes(failed=2, passed=1)
    missing.stdout.fnmatch_lines(['*: pytest -c ci/pytest.ini --bias-update=new "tests/test_pets.py::*'])
    run(*options, "--bias-update=new")
    assert sorted(baseline_of(project)["tests"]) == [
        "tests/test_pets.py::TestGray::test_gray",
        "tests/test_pets.py::test_square",
    ]
    assert not (project.path / "ci" / "bias-baseline.json").exists()
    run(*options).assert_outcomes(passed=3)
    run(*options[:-1], "tests/test_pets.py::test_square").assert_outcomes(passed=1)


def test_without_that_ini_file_it_is_the_same_file(run: Run, project: pytest.Pytester) -> None:
    run(*moved_ini(project), "--bias-update=new")
    project.makeini("[pytest]\npythonpath = tests\nbias_compare = require")
    run().assert_outcomes(passed=3)


def make(directory: Path, *names: str) -> None:
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).touch()


@pytest.mark.parametrize(
    ("files", "root", "tests", "here", "expected"),
    [
        # The root directory comes first, and is where a new file belongs.
        ([], ".", ["tests"], ".", "."),
        (["bias-baseline.json", "tests/bias-baseline.json"], ".", ["tests"], ".", "."),
        # Without one there, the nearest one upwards from what all tests are in.
        (["tests/bias-baseline.json"], ".", ["tests/unit/test_a.py"], ".", "tests"),
        (["a/bias-baseline.json"], ".", ["a", "b"], ".", "."),
        # The ini file is elsewhere.
        (["bias-baseline.json"], "ci", ["tests"], ".", "."),
        (["tests/bias-baseline.json", "bias-baseline.json"], "ci", ["tests/unit"], ".", "tests"),
        (["ci/bias-baseline.json"], "ci", ["tests"], ".", "ci"),
        ([], "ci", ["tests"], ".", "."),
        ([], "ci", ["tests"], "ci", "tests"),
        # The ini file is beside the tests, and pytest was started above them.
        (["bias-baseline.json"], "tests", ["tests"], ".", "."),
        ([], "tests", ["tests"], ".", "tests"),
        # Above all of them is somebody else's.
        (["bias-baseline.json"], "project/ci", ["project/tests"], "project", "project"),
    ],
)
def test_where_the_file_is(
    tmp_path: Path, files: list[str], root: str, tests: list[str], here: str, expected: str
) -> None:
    for directory in (root, here, *(test for test in tests if not test.endswith(".py"))):
        (tmp_path / directory).mkdir(parents=True, exist_ok=True)
    make(tmp_path, *files, *(test for test in tests if test.endswith(".py")))
    location = default_baseline(tmp_path / root, [tmp_path / test for test in tests], tmp_path / here)
    assert location == tmp_path / expected / "bias-baseline.json"
