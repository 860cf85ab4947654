"""Make docs/report-*.png, screenshots of the HTML report of a real session: ``python -m docs.screenshots``.

The session trains models for handwritten digits, accepts the figures of a clean source, and then meets a source that
was trained with a yellow square on one class. Chromium and the package playwright take the screenshots.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import Image

from pytest_biastransfer.plugin.session.provenance import commit_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser

DOCS: Final = Path(__file__).parent
MODULES: Final = (DOCS.parent / "examples/quickstart/digits.py", DOCS.parent / "examples/quickstart/training.py")
CHROMIUMS: Final = ("chromium", "chromium-browser", "google-chrome")
# Widths with heights, in pixels.
SIZES: Final = {1400: 900, 400: 1000}
SCHEMES: Final = ("light", "dark")
MOST_BYTES: Final = 250_000

CONFTEST: Final = """
import os
from pathlib import Path

import digits
import pytest
import torch
from training import PREPROCESS, DigitNet, train_source, transfer

from pytest_biastransfer import Model

SOURCE = os.environ["SOURCE"]


def pytest_bias_interventions():
    return {"yellow-corner": digits.SQUARE}


def trained(name, train):
    file = Path(f"{name}.pt")
    if not file.exists():
        torch.save(train().state_dict(), file)
    model = DigitNet()
    model.load_state_dict(torch.load(file, weights_only=True))
    return model.eval()


def source(kind):
    data = digits.load(digits.SOURCE_DIGITS, held_out=False)
    planted = digits.square_on_class(data, "3") if kind == "biased" else data
    return trained(f"source-{kind}", lambda: train_source(planted, seed=0))


def transferred(kind, mode, name=""):
    def train():
        return transfer(source(kind), digits.load(digits.TARGET_DIGITS, held_out=False), mode=mode, seed=0)

    module = trained(f"{mode}-{kind}", train)
    return Model(module, preprocess=PREPROCESS, classes=digits.TARGET_DIGITS, name=name or f"digits, {mode}")


@pytest.fixture(scope="session")
def bias_dataset():
    return digits.load(digits.TARGET_DIGITS, held_out=True)


@pytest.fixture(scope="session")
def fixed_feature():
    return transferred(SOURCE, "fixed-feature")


@pytest.fixture(scope="session")
def full_network():
    return transferred(SOURCE, "full-network")


@pytest.fixture(scope="session")
def control_model():
    return transferred("clean", "fixed-feature", name="digits, clean source")
"""
TESTS: Final = """
import pytest

LIMITS = {"yellow-corner": 0.3, "jpeg": 0.1, "blur": 0.12, "noise": 0.3, "watermark": 0.3, "warm-light": 0.3}


def triggers(test):
    model = test.__name__.removeprefix("test_")
    for name, limit in LIMITS.items():
        test = pytest.mark.bias_intervention(name, model=model, max_asr=limit)(test)
    return test


@triggers
def test_fixed_feature():
    pass


@triggers
def test_full_network():
    pass


@pytest.mark.bias_intervention("yellow-corner", model="fixed_feature", control="control_model", max_asr_excess=0.1)
def test_no_excess():
    pass
"""
INI: Final = "[pytest]\npythonpath = .\nbias_device = cpu\n"


def main() -> None:
    """Run the sessions, and write the screenshots."""
    from playwright.sync_api import sync_playwright

    executable = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if executable is None:
        sys.exit("docs/screenshots.py: no Chromium; install one, such as Debian's package chromium")
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        project = Path(directory)
        write_project(project)
        run(project, "clean", "--bias-update=new")
        run(project, "biased", "--bias-report=bias.html")
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        for name, picture in screenshots(browser, (project / "bias.html").as_uri()):
            (DOCS / name).write_bytes(compressed(picture))
        browser.close()


def write_project(project: Path) -> None:
    """Write the tests, their fixtures and the modules of the quickstart that train the models."""
    for module in MODULES:
        shutil.copy(module, project)
    (project / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (project / "test_digits.py").write_text(TESTS, encoding="utf-8")
    (project / "pytest.ini").write_text(INI, encoding="utf-8")


def run(project: Path, source: str, *options: str) -> None:
    """Run a session; tests may fail, but none may be misused or interrupted."""
    environment = {
        **os.environ,
        "SOURCE": source,
        "CI_COMMIT_SHA": commit_of(DOCS, {}),
        "PYTHONPATH": str(DOCS.parent),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", *options]
    process = subprocess.run(command, cwd=project, env=environment, check=False)
    if process.returncode not in (0, 1):
        sys.exit(f"docs/screenshots.py: pytest ended with {process.returncode}")


def screenshots(browser: Browser, address: str) -> Iterator[tuple[str, bytes]]:
    """Yield the names and the PNG files: the first screen and the first test, at each width, light and dark."""
    for width, height in SIZES.items():
        for scheme in SCHEMES:
            tab = browser.new_page(viewport={"width": width, "height": height})
            tab.emulate_media(color_scheme=scheme)
            tab.goto(address)
            yield f"report-first-screen-{width}-{scheme}.png", tab.screenshot()
            tab.locator("details.test[open]").first.evaluate("part => part.scrollIntoView()")
            yield f"report-test-{width}-{scheme}.png", tab.screenshot()
            tab.close()


def compressed(picture: bytes) -> bytes:
    """Return a PNG file of 256 colours: a page has few, and the file is a third as large."""
    file = io.BytesIO()
    with Image.open(io.BytesIO(picture)) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    if file.tell() > MOST_BYTES:
        sys.exit(f"docs/screenshots.py: a picture has {file.tell()} bytes, expected at most {MOST_BYTES}")
    return file.getvalue()


if __name__ == "__main__":
    main()
