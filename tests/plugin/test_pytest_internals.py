"""What the plugin uses of pytest beyond its public API still works: one test for each, which names what has changed."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import pytest_biastransfer
from pytest_biastransfer.plugin import pytest_internals

PACKAGE = Path(pytest_biastransfer.__path__[0])
# Runs inside the hooks of an inner session, and prints what each function of the module answers.
PROBE = """
import pytest
from pytest_biastransfer.plugin import pytest_internals as internals

def pytest_generate_tests(metafunc):
    if metafunc.function.__name__ == "test_parameters":
        print("reaches own:", internals.can_reach_fixture(metafunc, "own"))
        print("reaches other:", internals.can_reach_fixture(metafunc, "other"))
        print("reachable:", {"own", "other", "tmp_path"} <= internals.reachable_fixtures(metafunc))

@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    report = yield
    if "refused" in collector.nodeid:
        internals.fail_collection(report, "refused by the probe")
    return report

def pytest_collection_modifyitems(items):
    for item in items:
        if hasattr(item, "callspec"):
            print(item.originalname, list(internals.parameter_ids(item)), internals.lacks_parameters(item))
        print(item.name, "expected to fail:", internals.is_expected_to_fail(item))
    named = {item.name: item for item in items}
    first, second = named["test_parameters[a-b-1]"], named["test_parameters[a-b-2]"]
    for name in ("own", "word", "number", "session_wide", "of_module", "absent"):
        print("same", name, internals.has_same_fixture(first, second, name))
    print("same in another file:", *(internals.has_same_fixture(named["test_elsewhere"], first, name)
          for name in ("session_wide", "of_module")))

def pytest_runtest_protocol(item, nextitem):
    if item.name == "test_run_by_probe":
        reports = internals.run_protocol(item, nextitem, log=True)
        print("phases:", [report.when for report in reports])
        return True

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    if item.name == "test_fails_all_the_same":
        internals.ignore_xfail(item)
    return (yield)

@pytest.fixture(scope="session")
def session_wide(): ...

@pytest.fixture(scope="module")
def of_module(session_wide): ...

def pytest_terminal_summary(terminalreporter):
    print("width:", internals.terminal_width(terminalreporter), internals.terminal_encoding(terminalreporter))
"""
TESTS = """
import pytest

@pytest.fixture
def own(): ...

@pytest.fixture
def other(): ...

@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("word", ["a-b"])
def test_parameters(own, number, word, session_wide, of_module): ...

@pytest.mark.parametrize("nothing", [])
def test_without_parameters(nothing): ...

@pytest.mark.xfail(reason="known")
def test_known(): assert False

@pytest.mark.xfail(False, reason="does not apply")
def test_condition(): ...

@pytest.mark.xfail
def test_fails_all_the_same(): assert False

def test_run_by_probe(): ...
"""


@pytest.fixture
def lines(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.LineMatcher:
    """What a session prints whose conftest asks each function."""
    monkeypatch.setenv("COLUMNS", "93")
    pytester.makeconftest(PROBE)
    elsewhere = "def test_elsewhere(session_wide, of_module): ..."
    pytester.makepyfile(test_probed=TESTS, test_elsewhere=elsewhere, test_refused="def test_never_collected(): ...")
    result = pytester.runpytest("-s", "-p", "no:xdist")
    # The refused module ends the collection; the others run with this option.
    assert result.ret == pytest.ExitCode.INTERRUPTED
    return pytester.runpytest("-s", "-p", "no:xdist", "--continue-on-collection-errors").stdout


HELP = f"pytest {pytest.__version__} has changed what {pytest_internals.__name__} relies on, see its function "


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("can_reach_fixture", ["reaches own: True", "reaches other: False"]),
        ("reachable_fixtures", ["reachable: True"]),
        (
            "fail_collection",
            ["*ERROR collecting test_refused.py*", "refused by the probe", "ERROR test_refused.py - refused by the *"],
        ),
        ("parameter_ids", ["test_parameters [[]'a-b', '1'[]] False", "test_parameters [[]'a-b', '2'[]] False"]),
        ("lacks_parameters", ["test_without_parameters [[]*[]] True"]),
        (
            "has_same_fixture",
            [
                *("same own False", "same word True", "same number False"),
                *("same session_wide True", "same of_module True", "same absent False"),
                "same in another file: True False",
            ],
        ),
        ("is_expected_to_fail", ["test_known expected to fail: True", "test_condition expected to fail: False"]),
        ("run_protocol", ["*phases: [[]'setup', 'call', 'teardown'[]]"]),
        ("ignore_xfail", ["FAILED test_probed.py::test_fails_all_the_same*"]),
        ("terminal_width", ["width: 93 *"]),
        ("terminal_encoding", ["width: * [a-zA-Z]*8*"]),
    ],
)
def test_a_function_answers_as_it_says(lines: pytest.LineMatcher, function: str, expected: list[str]) -> None:
    try:
        lines.fnmatch_lines([f"*{line}" for line in expected])
    except pytest.fail.Exception as failure:
        raise AssertionError(f"{HELP}{function}\n{failure}") from failure


def test_configuring_runs_no_session(pytester: pytest.Pytester) -> None:
    config = pytester.parseconfig()
    assert not config.getini("markers") or not any("bias_gap" in line for line in config.getini("markers"))
    pytest_internals.configure(config)
    assert any(line.startswith("bias_gap") for line in config.getini("markers")), f"{HELP}configure"
    config._ensure_unconfigure()


def test_a_failure_is_an_outcome_of_pytest() -> None:
    assert issubclass(pytest_internals.Failed, pytest.fail.Exception), f"{HELP}Failed"


def imports_of_pytest(path: Path) -> set[str]:
    """Return the private modules of pytest that a module imports."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name for name in names if name.split(".")[0] == "_pytest"}


def test_one_module_imports_what_is_private() -> None:
    private = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if imports_of_pytest(path)}
    assert private == {"plugin/pytest_internals.py"}
