"""What docs/ci.md shows can be copied: its files parse, and its commands are those that there are."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest
import yaml

from pytest_biastransfer.__main__ import main
from pytest_biastransfer.cli import compare, init, report, scan
from tests.conftest import INNER_CONFTEST

pytestmark = pytest.mark.usefixtures("warm_executable")

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "ci.md").read_text()
HOOKS: Final = ROOT / ".pre-commit-hooks.yaml"
COMMANDS: Final[dict[str, ModuleType]] = {"compare": compare, "init": init, "report": report, "scan": scan}
# Values of the matrices, and what the page leaves to be filled in.
FILLED_IN: Final = {"${{ matrix.shard }}": "shapes", "$SHARD": "shapes", "{posargs}": "-ra"}


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def workflows() -> list[Any]:
    """Return the workflows of GitHub's and GitLab's jobs, and pre-commit's configuration."""
    return [yaml.safe_load(block) for block in blocks("yaml")]


def shell_lines() -> Iterator[str]:
    """Yield each line that the page has a shell run."""
    for block in blocks("text"):
        yield from (line for line in block.splitlines() if line.startswith(("python -m", "pytest", "biastransfer ")))
    for workflow in workflows():
        for job in workflow.get("jobs", {}).values():
            yield from (step["run"] for step in job["steps"] if "run" in step)
        for job in workflow.values():
            script = job["script"] if isinstance(job, dict) and "script" in job else []
            # A script of several lines is run against a server in test_comment_jobs.py.
            yield from (line for line in script if "\n" not in line)
    for block in blocks("ini"):
        tox = configparser.ConfigParser()
        tox.read_string(block)
        yield tox["testenv:bias"]["commands"]
    yield from re.findall(r"`((?:python -m pytest|pytest) [^`]*--bias[^`]*)`", PAGE)


def words(line: str) -> list[str]:
    for placeholder, value in FILLED_IN.items():
        line = line.replace(placeholder, value)
    return shlex.split(line)


def commands(first: list[str]) -> list[list[str]]:
    """Return the arguments of the commands that begin so."""
    found = [words(line) for line in shell_lines()]
    return [line[len(first) :] for line in found if line[: len(first)] == first]


def sessions() -> list[list[str]]:
    return [*commands(["pytest"]), *commands(["python", "-m", "pytest"])]


def test_the_page_has_what_it_is_about() -> None:
    assert len(workflows()) == 6
    assert len(sessions()) >= 6
    assert {line[0] for line in commands(["biastransfer"])} == set(COMMANDS)
    others = [line for line in shell_lines() if words(line)[0] not in ("pytest", "python", "biastransfer")]
    assert {" ".join(words(line)[:2]) for line in others} == {"pip install", "git diff", "git push"}


@pytest.mark.parametrize("arguments", sessions(), ids=" ".join)
def test_pytest_takes_each_of_its_commands(pytester: pytest.Pytester, arguments: list[str]) -> None:
    # As the page says it of nightly runs.
    assert "bias_alpha_over_time = 0.05" in PAGE
    pytester.makeini("[pytest]\nbias_alpha_over_time = 0.05")
    # An option that nobody has, or a value that it cannot have, is an error here.
    config = pytester.parseconfigure(*arguments)
    assert not any(word.startswith("-") for word in config.args)


@pytest.mark.parametrize("arguments", commands(["biastransfer"]), ids=" ".join)
def test_this_package_takes_each_of_its_commands(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(COMMANDS[arguments[0]], "run", lambda options: 70)
    assert main(arguments) == 70


def test_each_job_keeps_the_store_where_it_is(pytester: pytest.Pytester) -> None:
    kept = set(re.findall(r"\.pytest_cache\S*?biastransfer", PAGE))
    pytester.makeconftest(INNER_CONFTEST)
    pytester.makepyfile(BIAS_TEST)
    pytester.run(sys.executable, "-m", "pytest").assert_outcomes(passed=1)
    assert kept == {".pytest_cache/d/biastransfer"}
    assert list((pytester.path / kept.pop() / "predictions").iterdir())


def test_caches_are_saved_under_the_key_that_is_restored_by_its_beginning() -> None:
    for workflow in workflows():
        for job in workflow.get("jobs", {}).values():
            used = {step["uses"].partition("@")[0]: step for step in job["steps"] if "uses" in step}
            if "actions/cache/save" not in used:
                continue
            restored, saved = used["actions/cache/restore"]["with"], used["actions/cache/save"]["with"]
            assert restored["key"] == saved["key"]
            assert restored["path"] == saved["path"]
            assert saved["key"].startswith(restored["restore-keys"])
            assert used["actions/cache/save"]["if"] == "always()"


BIAS_TEST = """
import pytest

@pytest.mark.bias_intervention("yellow-square", max_asr=0.3)
def test_nothing_inherited(): pass
"""


def test_the_parts_of_several_jobs_become_one_page(pytester: pytest.Pytester) -> None:
    workflow = next(found for found in workflows() if "part" in found.get("jobs", {}))
    (run,) = [step["run"] for step in workflow["jobs"]["part"]["steps"] if step.get("run", "").startswith("pytest")]
    (join,) = [step["run"] for step in workflow["jobs"]["report"]["steps"] if "report part-" in step.get("run", "")]
    shards = workflow["jobs"]["part"]["strategy"]["matrix"]["shard"]
    pytester.makeconftest(INNER_CONFTEST)
    (pytester.path / "tests" / "bias").mkdir(parents=True)
    for shard in shards:
        (pytester.path / "tests" / "bias" / f"test_{shard}.py").write_text(BIAS_TEST)
        line = run.replace("${{ matrix.shard }}", shard)
        assert typed(line, pytester.path).returncode == 0
        assert (pytester.path / f"part-{shard}.json").exists()
    joined = typed(join, pytester.path)
    assert (joined.returncode, joined.stderr) == (0, "")
    text = (pytester.path / "bias.html").read_text()
    assert all(f"tests/bias/test_{shard}.py" in text for shard in shards)


def typed(line: str, place: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Have a shell run a line in whose path this environment comes first."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", **more}
    return subprocess.run(["bash", "-c", line], cwd=place, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def pushing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a bias test whose pushes are looked at as the page says; there is no network."""
    for name, value in {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "someone",
        "GIT_AUTHOR_EMAIL": "someone@example.org",
        "GIT_COMMITTER_NAME": "someone",
        "GIT_COMMITTER_EMAIL": "someone@example.org",
        "PRE_COMMIT_HOME": str(tmp_path / "pre-commit"),
    }.items():
        monkeypatch.setenv(name, value)
    this, place = tmp_path / "pytest-biastransfer", tmp_path / "pets"
    for directory in (this, place):
        directory.mkdir()
        assert typed("git init -q -b main", directory).returncode == 0
    shutil.copy(HOOKS, this)
    assert typed("git add -A && git commit -qm hooks && git tag v0.1.0", this).returncode == 0
    (configuration,) = [block for block in blocks("yaml") if "default_install_hook_types" in block]
    address = re.sub(r"https://\S+", this.as_uri(), configuration)
    (place / ".pre-commit-config.yaml").write_text(address)
    (place / "conftest.py").write_text(INNER_CONFTEST)
    (place / "tests" / "bias").mkdir(parents=True)
    (place / "tests" / "bias" / "test_pets.py").write_text(BIAS_TEST)
    (place / "test_other.py").write_text("def test_other(): assert False\n")
    typed(f"git init -q --bare {tmp_path / 'remote'} && git remote add origin {tmp_path / 'remote'}", place)
    assert typed("git add -A && git commit -qm tests", place).returncode == 0
    return place


@pytest.mark.skipif(sys.platform == "win32" or shutil.which("git") is None, reason="needs git and bash")
def test_a_push_runs_the_bias_tests_and_is_held_back_by_a_red_one(pushing: Path) -> None:
    installed = typed("pre-commit install", pushing)
    assert "pre-push" in installed.stdout, installed.stdout + installed.stderr
    pushed = typed("git push -q origin main", pushing)
    assert pushed.returncode == 0, pushed.stdout + pushed.stderr
    assert re.search(r"bias tests\.*.*Passed", pushed.stdout + pushed.stderr)
    # The store has been filled by that.
    assert list((pushing / ".pytest_cache" / "d" / "biastransfer" / "predictions").iterdir())
    test = pushing / "tests" / "bias" / "test_pets.py"
    test.write_text(test.read_text().replace("0.3", "0.1"))
    assert typed("git commit -qam stricter", pushing).returncode == 0
    held_back = typed("git push -q origin main", pushing)
    said = held_back.stdout + held_back.stderr
    assert held_back.returncode != 0
    assert "0 images evaluated, " in said
    assert "limit 0.1" in said
    assert "test_other" not in said
    assert typed("git log -1 --format=%s origin/main", pushing).stdout.strip() == "tests"


def test_the_hook_is_the_one_of_the_page() -> None:
    (hook,) = yaml.safe_load(HOOKS.read_text())
    assert (hook["id"], hook["stages"], hook["language"]) == ("bias-tests", ["pre-push"], "system")
    assert f"`{hook['entry']} tests/bias`" in PAGE.replace("\n", " ")


def test_the_environment_of_tox_runs_the_quickstart(pytester: pytest.Pytester) -> None:
    tox = configparser.ConfigParser()
    tox.read(ROOT / "tox.ini")
    command = tox["testenv:bias"]["commands"].replace("{posargs:examples/quickstart}", "examples/quickstart")
    first, *arguments = command.split()
    assert first == "pytest"
    config = pytester.parseconfigure(*arguments)
    assert config.args == ["examples/quickstart"]
    assert (ROOT / config.args[0] / "test_digits.py").exists()
