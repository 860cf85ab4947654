"""A bias test without a result is never green, however the worker that had it came to its end."""

from __future__ import annotations

import pytest

from tests.conftest import Run, each_mode
from tests.support.warm_python import WarmPython

MARKED = """
import os, pytest

@pytest.mark.bias_intervention("yellow-square", "tennis-ball", "grayscale", max_asr=1)
def test_it(bias, request, record_property):
    {body}


def test_other():
    pass
"""


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each sentence of the summary in one line."""
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def run_two_workers(colors: pytest.Pytester, warm: WarmPython) -> Run:
    """Run pytest on marked tests of a given body."""

    def run_pytest(body: str, *arguments: str) -> pytest.RunResult:
        colors.makepyfile(test_marked=MARKED.format(body=body))
        return colors.runpytest_inprocess("-n2", *arguments, plugins=[warm])

    return run_pytest


def test_a_crashed_test_is_in_the_table_and_named(run_two_workers: Run) -> None:
    result = run_two_workers('if "ball" in request.node.name: os._exit(1)')
    assert result.ret == 1
    result.stdout.re_match_lines(
        [
            r"test_marked.py::test_it",
            r"  tennis-ball +LOST",
            r".*2 passed not shown.*",
            r"3 bias tests: 1 lost, 2 passed; .*",
            r"1 bias test without a result: test_marked.py::test_it\[tennis-ball\]",
        ]
    )


def test_tests_that_vanish_with_their_worker_are_failures(run_two_workers: Run) -> None:
    result = run_two_workers("os._exit(1)", "--max-worker-restart=0", "-v")
    assert result.ret == 1
    lost = [f"test_marked.py::test_it[{name}]" for name in ("grayscale", "tennis-ball", "yellow-square")]
    result.stdout.fnmatch_lines([f"3 bias tests without a result: {', '.join(lost)}".replace("[", "[[]")])
    for name in lost:
        assert f"FAILED {name}" in result.stdout.str()


def test_a_value_that_cannot_be_sent_fails_the_session(run_two_workers: Run) -> None:
    body = "import numpy; record_property('figure', numpy.float64(0.5))"
    result = run_two_workers(body, "-m", "bias_intervention")
    assert result.ret not in (0, 5)
    result.stdout.fnmatch_lines(["*bias tests without a result: test_marked.py::test_it*"])


def test_an_internal_error_in_the_workers_fails_the_session(colors: pytest.Pytester, run_two_workers: Run) -> None:
    with (colors.path / "conftest.py").open("a") as conftest:
        conftest.write(
            "\n\ndef pytest_collection_modifyitems(config):\n"
            "    if hasattr(config, 'workerinput'):\n        raise KeyError('broken plugin')\n"
        )
    result = run_two_workers("pass")
    assert result.ret not in (0, 5)
    result.stdout.fnmatch_lines(["*KeyError: 'broken plugin'*"])


TELL_OF_AN_ERROR = """

def pytest_xdist_node_collection_finished(node):
    try:
        raise KeyError("broken plugin")
    except KeyError:
        found = pytest.ExceptionInfo.from_current()
        node.config.hook.pytest_internalerror(excrepr=found.getrepr(), excinfo=found)
"""


def test_an_internal_error_that_cost_no_test_fails_the_session_too(
    colors: pytest.Pytester, run_two_workers: Run
) -> None:
    with (colors.path / "conftest.py").open("a") as conftest:
        conftest.write(TELL_OF_AN_ERROR)
    result = run_two_workers("pass")
    assert result.ret == 1
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["*a worker had an internal error, see above*"])


def test_no_notice_is_left_behind(
    colors: pytest.Pytester, run_two_workers: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(colors.mkdir("temporary")))
    assert run_two_workers("pass").ret == 0
    assert list((colors.path / "temporary").glob("pytest-biastransfer-*")) == []


def test_stopping_on_request_is_no_loss(run_two_workers: Run) -> None:
    result = run_two_workers("assert False", "-x")
    assert result.ret != 0
    assert "without a result" not in result.stdout.str()


@each_mode
def test_where_nothing_is_lost_nothing_is_said(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(test_marked=MARKED.format(body="pass"))
    result = run()
    assert result.ret == 0
    assert "without a result" not in result.stdout.str()
