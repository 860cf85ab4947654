"""The site builds without a warning, so each link leads somewhere and each page is in a menu; its pages are accessible."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import pytest

from tests.support.browser import browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["browser"]

pytest.importorskip("sphinx", reason="needs the extra docs")

ROOT: Final = Path(__file__).parents[2]


def build(source: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = ["-m", "sphinx", "-c", str(source / "docs"), "-q", "-W", "--keep-going", "-n", "-d", str(out / "trees")]
    arguments = [*command, str(source), str(out / "site")]
    return subprocess.run([sys.executable, *arguments], cwd=source, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    out = tmp_path_factory.mktemp("documents")
    return build(ROOT, out), out / "site"


def test_the_site_builds_without_a_warning(built: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    process, site = built
    assert (process.returncode, process.stderr) == (0, "")
    api = (site / "docs" / "api.html").read_text(encoding="utf-8")
    assert 'id="pytest_biastransfer.measure"' in api
    # An annotation links to the public class that it names.
    assert 'href="#pytest_biastransfer.Intervention"' in api
    assert "docs/index.html" in (site / "index.html").read_text(encoding="utf-8")
    for page in (site / "docs").glob("*.html"):
        assert '<script src="http' not in page.read_text(encoding="utf-8")


def test_a_phone_shows_each_page_without_scrolling_sideways(
    built: tuple[subprocess.CompletedProcess[str], Path], browser: Browser
) -> None:
    _, site = built
    tab = browser.new_page(viewport={"width": 400, "height": 900})
    for page in sorted([*site.glob("docs/*.html"), *site.glob("examples/*/*.html")]):
        tab.goto(page.as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") == 400, page.name
        assert tab.evaluate("[...document.images].filter((image) => !image.naturalWidth).length") == 0, page.name


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["index", "tutorial", "metrics", "api"])
def test_a_page_is_accessible(
    built: tuple[subprocess.CompletedProcess[str], Path], browser: Browser, name: str, scheme: Literal["light", "dark"]
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs the package axe-playwright-python")
    _, site = built
    tab = browser.new_page(viewport={"width": 400, "height": 900}, color_scheme=scheme)
    tab.goto((site / "docs" / f"{name}.html").as_uri())
    violations = axe.Axe().run(tab).response["violations"]
    assert [rule["id"] for rule in violations if rule["impact"] in ("serious", "critical")] == []
