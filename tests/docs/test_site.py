"""The site builds without a warning: each link in it leads somewhere, and each page is in a menu."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

pytest.importorskip("sphinx", reason="needs the extra docs")

ROOT: Final = Path(__file__).parents[2]


def build(source: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = ["-m", "sphinx", "-c", str(source / "docs"), "-q", "-W", "--keep-going", "-n", "-d", str(out / "trees")]
    arguments = [*command, str(source), str(out / "site")]
    return subprocess.run([sys.executable, *arguments], cwd=source, capture_output=True, text=True, check=False)


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    built = build(ROOT, tmp_path)
    assert (built.returncode, built.stderr) == (0, "")
    api = (tmp_path / "site" / "docs" / "api.html").read_text(encoding="utf-8")
    assert 'id="pytest_biastransfer.measure"' in api
    # An annotation links to the public class that it names.
    assert 'href="#pytest_biastransfer.Intervention"' in api
    assert "docs/index.html" in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    for page in (tmp_path / "site" / "docs").glob("*.html"):
        assert '<script src="http' not in page.read_text(encoding="utf-8")
