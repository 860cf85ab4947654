"""The snippets of the how-to and reference pages run as pasted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import INNER_CONFTEST

DOCS: Final = Path(__file__).parents[2] / "docs"
NAMED: Final = re.compile(r"^```python\n# (\w+\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# The model and the control model of the snippets that leave them to the reader.
MODELS: Final = f"""
{INNER_CONFTEST}

@pytest.fixture(scope="session")
def control_model():
    return brightest("control")
"""


def snippets(page: str) -> dict[str, str]:
    """Return the files of a page: blocks of Python whose first line is their name."""
    return dict(NAMED.findall((DOCS / page).read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "page", ["control-models.md", "metrics.md", "own-model.md", "own-parts.md", "reliable-limits.md"]
)
def test_every_block_of_python_has_a_name(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    assert len(snippets(page)) == len(re.findall(r"^```python$", text, re.MULTILINE)) > 0


@pytest.mark.parametrize(
    ("page", "tests", "passed", "failed"),
    [
        ("control-models.md", ["test_control.py"], 2, 0),
        # A ball flips a quarter of the images of this model.
        ("metrics.md", ["test_balls.py"], 0, 1),
        ("own-parts.md", ["test_colours.py", "test_metric.py"], 2, 0),
        ("reliable-limits.md", ["test_rules.py"], 1, 0),
    ],
)
def test_tests_of_a_page(pytester: pytest.Pytester, page: str, tests: list[str], passed: int, failed: int) -> None:
    files = snippets(page)
    # A snippet's own conftest adds to the models.
    (pytester.path / "conftest.py").write_text(MODELS + files.get("conftest.py", ""), encoding="utf-8")
    for name in tests:
        (pytester.path / name).write_text(files[name], encoding="utf-8")
    result = pytester.runpytest_inprocess("-p", "no:xdist")
    result.assert_outcomes(passed=passed, failed=failed)
    # A limit that is exceeded has a message of its own, an exception the letter E.
    assert not re.search(r"^E ", result.stdout.str(), re.MULTILINE)


def test_outputs_of_a_model_of_attributes(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(INNER_CONFTEST)
    (pytester.path / "test_attributes.py").write_text(snippets("metrics.md")["test_attributes.py"], encoding="utf-8")
    result = pytester.runpytest_inprocess("-p", "no:xdist")
    # Random weights: each of the two decisions is measured, whatever its verdict.
    assert sum(result.parseoutcomes().values()) == 2, result.stdout.str()
    result.stdout.fnmatch_lines(["*2 bias tests: *"])


def test_fixtures_of_an_own_model(pytester: pytest.Pytester) -> None:
    files = snippets("own-model.md")
    (pytester.path / "conftest.py").write_text(files["conftest.py"], encoding="utf-8")
    (pytester.path / "test_inherited.py").write_text(files["test_inherited.py"], encoding="utf-8")
    result = pytester.runpytest_inprocess("-p", "no:xdist")
    result.stdout.fnmatch_lines(["*3 bias tests: *"])


def test_a_script_without_pytest(pytester: pytest.Pytester) -> None:
    (pytester.path / "script.py").write_text(snippets("own-model.md")["script.py"], encoding="utf-8")
    result = pytester.runpython(pytester.path / "script.py")
    assert (result.ret, result.stderr.str()) == (0, "")
    assert re.fullmatch(r"\S+ \[\S+, \S+\] (red|green|blue)\n?", result.stdout.str())


def test_a_scheme_of_an_own_dataset(pytester: pytest.Pytester) -> None:
    (pytester.path / "archive_plugin.py").write_text(snippets("own-parts.md")["archive_plugin.py"], encoding="utf-8")
    pytester.makeini("[pytest]\nbias_dataset = archive:photos?size=3")
    pytester.makepyfile("def test_size(bias_dataset):\n    assert len(bias_dataset) == 3")
    pytester.syspathinsert()
    pytester.runpytest_inprocess("-p", "archive_plugin", "-p", "no:xdist").assert_outcomes(passed=1)
