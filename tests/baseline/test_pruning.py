"""`--bias-prune` removes entries of tests that are gone, not of tests that something took away."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_biastransfer.baseline.entry import EntryKey
from pytest_biastransfer.baseline.pruning import remaining
from tests.baseline.test_baseline_file import SETUP, TESTS, baseline_of
from tests.conftest import Run, each_mode

MORE = """
import pytest
from tests_setup import *

@pytest.mark.bias_intervention("grayscale", max_asr=1)
def test_more():
    pass
"""
# As pytest-shard does it, without a word to anybody.
SHARD = """

def pytest_collection_modifyitems(items):
    items[:] = items[:1]
"""


@pytest.fixture
def project(colors: pytest.Pytester) -> pytest.Pytester:
    """A project with three bias tests in two files."""
    colors.makeini("[pytest]\npythonpath = .\nmarkers = slow")
    colors.makepyfile(tests_setup=SETUP, test_pets=TESTS, test_more=MORE)
    return colors


def names_in(project: pytest.Pytester) -> list[str]:
    return [test.rpartition("::")[2] for test in baseline_of(project)["tests"]]


def add_to_conftest(project: pytest.Pytester, code: str) -> None:
    with (project.path / "conftest.py").open("a") as conftest:
        conftest.write(code)


@each_mode
def test_what_a_plugin_takes_away_silently_is_not_pruned(run: Run, project: pytest.Pytester) -> None:
    run("--bias-update=new")
    add_to_conftest(project, SHARD)
    result = run("--bias-prune")
    result.stdout.fnmatch_lines(["*0 removed, 3 in all; nothing removed: not all tests were collected"])
    assert len(names_in(project)) == 3


WAYS = {
    # How other plugins, conftest files and the files themselves keep tests from being collected.
    "collect_ignore": ("conftest", "\ncollect_ignore = ['test_pets.py']\n"),
    "ignore_collect": (
        "conftest",
        "\ndef pytest_ignore_collect(collection_path):\n    return 'pets' in collection_path.name or None\n",
    ),
    "makeitem": (
        "conftest",
        "\n@pytest.hookimpl(tryfirst=True)\n"
        "def pytest_pycollect_makeitem(name):\n    return [] if name in ('test_square', 'TestGray') else None\n",
    ),
    "a condition": ("test_pets", "if False:\n" + "".join(f"    {line}\n" for line in TESTS.splitlines())),
    "testpaths": ("ini", "[pytest]\npythonpath = .\ntestpaths = test_more.py\n"),
    "python_files": ("ini", "[pytest]\npythonpath = .\npython_files = test_more.py\n"),
}


@pytest.mark.parametrize("way", WAYS)
def test_tests_that_were_not_collected_are_not_pruned(run: Run, project: pytest.Pytester, way: str) -> None:
    run("--bias-update=new")
    where, text = WAYS[way]
    if where == "conftest":
        add_to_conftest(project, text)
    elif where == "ini":
        project.makeini(text)
    else:
        project.makepyfile(**{where: text})
    result = run("--bias-prune")
    result.stdout.fnmatch_lines(
        ["*0 removed, 3 in all; 2 of them of tests that were not collected, in files that are there"]
    )
    assert len(names_in(project)) == 3


def test_an_empty_list_of_parameters_prunes_nothing(run: Run, project: pytest.Pytester) -> None:
    tests = MORE.replace("def test_more():", '@pytest.mark.parametrize("n", NUMBERS)\ndef test_more(n):')
    project.makepyfile(test_more=tests.replace("NUMBERS", "[1, 2]"))
    run("--bias-update=new")
    project.makepyfile(test_more=tests.replace("NUMBERS", "[]"))
    run("--bias-prune").stdout.fnmatch_lines(["*0 removed, 4 in all; 2 of them *"])
    project.makepyfile(test_more=tests.replace("NUMBERS", "[1]"))
    run("--bias-prune").stdout.fnmatch_lines(["*1 removed, 3 in all"])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["-k", "square"], ""),
        (["-m", "not slow"], "@pytest.mark.slow\n"),
        (["--deselect=test_more.py::test_more"], ""),
        (["--sw"], ""),
    ],
)
def test_what_is_deselected_is_not_pruned(run: Run, project: pytest.Pytester, options: list[str], text: str) -> None:
    project.makepyfile(test_more=MORE.replace("def test_more", f"{text}def test_more"))
    run("--bias-update=new")
    if options == ["--sw"]:
        project.makepyfile(test_more=MORE.replace("max_asr=1", "max_asr=0.001") + "\n\ndef test_last():\n    pass\n")
        run("--sw", "test_pets.py", "test_more.py")
        options = ["--sw"]
    run("--bias-prune", *options)
    assert len(names_in(project)) == 3


def test_tests_that_are_gone_are_pruned_whatever_becomes_of_others(run: Run, project: pytest.Pytester) -> None:
    run("--bias-update=new")
    (project.path / "test_more.py").unlink()
    run("--bias-prune").stdout.fnmatch_lines(["*1 removed, 2 in all"])
    project.makepyfile(test_pets=TESTS.replace("test_gray", "test_grey"))
    add_to_conftest(project, "\n\ndef pytest_collection_modifyitems(items):\n    items.reverse()\n")
    run("--bias-prune").stdout.fnmatch_lines(["*1 removed, 1 in all"])
    # A case that its marker has no longer, in a file with other tests.
    project.makepyfile(test_pets=TESTS.replace('"yellow-square"', '"grayscale"'))
    run("--bias-prune").stdout.fnmatch_lines(["*1 removed, 0 in all"])


def test_a_file_without_its_tests_is_no_reason_to_keep_their_entries(run: Run, project: pytest.Pytester) -> None:
    run("--bias-update=new")
    project.makepyfile(test_more="# It had tests once.\n")
    run("--bias-prune").stdout.fnmatch_lines(["*1 removed, 2 in all"])


@pytest.mark.parametrize(
    ("key", "stays"),
    [
        (EntryKey("test_a.py::test_one[1]", "square"), True),  # Collected.
        (EntryKey("test_a.py::test_one[2]", "square"), False),  # The test has this case no longer.
        (EntryKey("test_a.py::test_one[1]", "blur"), False),
        (EntryKey("test_a.py::TestX::test_defined", "square"), True),  # Defined, but not collected.
        (EntryKey("test_a.py::test_define", "square"), False),
        (EntryKey("test_b.py::test_one", "square"), True),  # Not looked into.
        (EntryKey("test_c.py::test_one", "square"), False),  # There is no such file.
        (EntryKey("../elsewhere/test_d.py::test_one", "square"), False),
    ],
)
def test_which_entries_stay(tmp_path: Path, key: EntryKey, stays: bool) -> None:
    (tmp_path / "test_a.py").write_text("if CUDA:\n    class TestX:\n        def test_defined(self): pass\n")
    (tmp_path / "test_b.py").touch()
    collected = EntryKey("test_a.py::test_one[1]", "square")
    assert (key in remaining([key], [collected], {"test_a.py"}, tmp_path)) == stays
