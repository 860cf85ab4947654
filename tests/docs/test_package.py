"""What a user installs: the wheel and the source archive are complete, and the wheel works without this repository."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import INNER_CONFTEST

for needed in ("build", "hatchling", "twine"):
    pytest.importorskip(needed, reason="needs the extra test")

ROOT: Final = Path(__file__).parents[2]
BIAS_TEST: Final = """
import pytest
import pytest_biastransfer

@pytest.mark.bias_intervention("yellow-square", max_asr=0.3)
def test_nothing_inherited(bias):
    print("\\nimported from", pytest_biastransfer.__file__)
"""


def python(*arguments: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The source archive, and the wheel that is built from it, by suffix."""
    out = tmp_path_factory.mktemp("dist")
    built = python("-m", "build", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    assert built.returncode == 0, built.stdout + built.stderr
    return {path.suffix: path for path in out.iterdir()}


def test_an_index_accepts_both(archives: dict[str, Path]) -> None:
    checked = python("-m", "twine", "check", "--strict", *archives.values(), cwd=ROOT)
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.count("PASSED") == len(archives) == 2


def test_the_wheel_has_every_file_of_the_package_and_nothing_else(archives: dict[str, Path]) -> None:
    package = ROOT / "pytest_biastransfer"
    files = {path.relative_to(ROOT).as_posix() for path in package.rglob("*") if path.is_file()}
    with zipfile.ZipFile(archives[".whl"]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == {name for name in files if "__pycache__" not in name}


def test_the_source_archive_has_what_the_tests_and_the_site_need(archives: dict[str, Path]) -> None:
    with tarfile.open(archives[".gz"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"docs/conf.py", "docs/index.md", "docs/tables/errors.py", "tests/conftest.py", "tox.ini", "LICENSE"}
    assert needed <= names
    assert not [name for name in names if name.startswith((".venv", "build/"))]


def test_a_test_runs_with_the_installed_wheel(archives: dict[str, Path], tmp_path: Path) -> None:
    site, project = tmp_path / "site", tmp_path / "project"
    arguments = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", site, archives[".whl"])
    installed = python(*arguments, cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr
    project.mkdir()
    (project / "conftest.py").write_text(INNER_CONFTEST, encoding="utf-8")
    (project / "test_bias.py").write_text(BIAS_TEST, encoding="utf-8")
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    result = python("-m", "pytest", "-s", cwd=project, PYTHONPATH=path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"imported from {site}" in result.stdout
    assert "1 bias test: 1 passed" in result.stdout
    script = site / "bin" / "biastransfer"
    listed = python(script, "list", cwd=project, PYTHONPATH=path)
    assert listed.returncode == 0, listed.stderr
    assert "yellow-square" in listed.stdout
