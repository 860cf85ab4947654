"""The command that runs what failed again: it runs exactly these tests, and writes none of the session's files again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_biastransfer.plugin.repeated_command import KEPT, SELECTING, SHOWING, WRITING, command_of, session_words
from tests.conftest import Run

TEST = """
import pytest

from pytest_biastransfer import Square

@pytest.mark.bias_intervention("grayscale", *(Square(size=size) for size in (0.25, 0.3, 0.4, 0.5)), max_asr=LIMIT)
def test_it():
    pass

def test_other():
    pass
"""


class Invocation:
    """A session's configuration as far as its command line goes."""

    def __init__(
        self, arguments: Sequence[str], paths: Sequence[str] = (), *, has_cache: bool = True, report: str = ""
    ) -> None:
        self.invocation_params = pytest.Config.InvocationParams(args=arguments, plugins=None, dir=Path())
        self.args = list(paths)
        self.pluginmanager = self
        self._has_cache = has_cache
        self._report = report

    def hasplugin(self, name: str) -> bool:
        return name == "lfplugin" and self._has_cache

    def getini(self, name: str) -> list[str]:
        assert name == "bias_report"
        return [self._report] if self._report else []


def command(tests: Sequence[str], arguments: str, *options: str, **facts: Any) -> str:
    words = shlex.split(arguments)
    paths = [word for word in words if word.startswith("tests")]
    return command_of(Invocation(words, paths, **facts), tests, *options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ("", ""),
        ("tests/bias", ""),
        ("tests/bias tests/test_a.py -x -v", ""),
        ("--bias-report=bias.html --bias-report bias.json", ""),
        ("--cov package tests/bias -n2", ""),
        ("--cache-clear --lf --ff --nf --sw --stepwise-skip", ""),
        ("--junitxml=junit.xml --junitxml junit.xml --html=x.html --alluredir out --log-file=log", ""),
        ("--bias-update=all --bias-prune", ""),
        ("--maxfail=1 --maxfail 1 -vvx -q -rA -s --tb=short --durations 3", ""),
        ("-p no:cacheprovider", ""),
        ("-p no:xdist -p my_plugin", "-p my_plugin"),
        ("-c other.ini --rootdir .. -o xfail_strict=true", "-c other.ini --rootdir .. -o xfail_strict=true"),
        ("-n2 -n 4 --dist=worksteal", ""),
        ("-k square -m slow --deselect tests/a.py::b", "-m slow --deselect tests/a.py::b"),
        ("--bias-store=s3://a/b --bias-device cpu", "--bias-store=s3://a/b --bias-device cpu"),
        ("--bias-early-stop tests/bias", "--bias-early-stop"),
        # Options of the project's own conftest.
        ("--checkpoint model.pt --fast", "--checkpoint model.pt --fast"),
    ],
)
def test_what_is_kept(arguments: str, kept: str) -> None:
    expected = " ".join(filter(None, ["pytest", kept, "a.py::b"]))
    assert command(["a.py::b"], arguments) == expected


def test_more_tests_than_can_be_named_are_those_that_failed_last() -> None:
    many = ["a.py::b", "a.py::c", "a.py::d", "a.py::e"]
    assert (
        command(many, "tests/bias -x --lf -n2 -k square --bias-report=b.html") == "pytest tests/bias -n2 -k square --lf"
    )
    assert command(many, "tests/bias", has_cache=False) == ""
    assert command(many[:1], "tests/bias", has_cache=False) == "pytest a.py::b"


def test_a_report_of_the_ini_file_is_not_written_again() -> None:
    assert command(["a.py::b"], "", report="bias.html") == "pytest -o bias_report= a.py::b"
    assert command(["a.py::b"], "", "--bias-report=x.html", report="bias.html") == "pytest --bias-report=x.html a.py::b"


def test_the_command_of_all_tests_selects_as_before() -> None:
    invocation = Invocation(["tests", "--lf", "-x", "--bias-report=a.html", "-v"], ["tests"])
    assert session_words(invocation) == ["pytest", "tests", "--lf"]  # type: ignore[arg-type]


def test_each_option_of_pytest_and_of_this_plugin_is_decided(request: pytest.FixtureRequest) -> None:
    """An option that a new pytest or this package adds has to be in one of the tables, or it may be kept blindly."""
    decided = {*KEPT, *WRITING, *SELECTING, *SHOWING}
    parser = request.config._parser
    own = next(group for group in parser._groups if group.name == "biastransfer")
    names = {name for option in own.options for name in option.names()}
    assert names
    assert names <= decided
    assert not [
        name for name in decided if [name in options for options in (KEPT, WRITING, SELECTING, SHOWING)].count(True) > 1
    ]


@pytest.mark.parametrize(("limit", "expected"), [("0.3", 1), ("0", 5)])
def test_it_runs_exactly_what_failed_and_overwrites_no_report(
    colors: pytest.Pytester, run: Run, monkeypatch: pytest.MonkeyPatch, limit: str, expected: int
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    colors.makepyfile(test_it=TEST.replace("LIMIT", limit))
    result = run("--bias-report=bias.md", "--cache-clear", "--junitxml=junit.xml", "--bias-compare=off")
    result.assert_outcomes(failed=expected, passed=6 - expected)
    report, junit = ((colors.path / name).read_bytes() for name in ("bias.md", "junit.xml"))
    (line,) = [line for line in result.outlines if "to run what failed again" in line]
    words = shlex.split(line.partition(": ")[2])
    assert words[0] == "pytest"
    again = colors.runpytest_inprocess(*words[1:])
    again.assert_outcomes(failed=expected)
    assert (report, junit) == tuple((colors.path / name).read_bytes() for name in ("bias.md", "junit.xml"))
