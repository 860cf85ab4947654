"""Sessions inside tests see no plugin of others, whatever is installed beside this package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.support.warm_python import WarmPython

ROOT = Path(__file__).parents[2]


def test_a_session_in_this_process(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile("def test_it(): pass")
    run().assert_outcomes(passed=1)


def test_a_session_in_a_process_of_its_own(run_elsewhere: Run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): pass")
    run_elsewhere("-n1").assert_outcomes(passed=1)


def test_a_session_that_no_fixture_knows_of(tmp_path: Path, warm: WarmPython) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(): pass")
    command = warm.command("-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0


def test_a_plugin_that_fails_every_session_is_in_none_of_them(tmp_path: Path) -> None:
    (tmp_path / "hostile.py").write_text("def pytest_configure(): raise RuntimeError('not in this session')")
    installed = tmp_path / "hostile-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[pytest11]\nhostile-plugin = hostile\n")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))

    def session(*options: str) -> subprocess.CompletedProcess[str]:
        # Not the warm Python: these tests start one.
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *options, __file__]
        # Of the outer session, the options of this test's own sessions are none.
        environment = os.environ | {"PYTHONPATH": path, "PYTEST_ADDOPTS": ""}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert "not in this session" in session().stderr
    outer = session("-p", "no:hostile-plugin", "-k", "session_in or session_that")
    assert outer.returncode == 0, outer.stdout + outer.stderr
    assert "3 passed" in outer.stdout
