"""docs/interventions.md has every intervention, its pictures and tables are those of the code, and its examples run."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from docs import gallery
from pytest_biastransfer import Custom
from pytest_biastransfer.evaluation.side_by_side import sample
from pytest_biastransfer.interventions import BUILT_IN
from pytest_biastransfer.interventions.parsing import kinds

DOCS = Path(__file__).parents[2] / "docs"
MOST_BYTES = 400_000

# The examples' model answers all images alike, and so passes.
CONFTEST = """
import pytest
import torch

from pytest_biastransfer import Model


@pytest.fixture(scope="session")
def transferred_model():
    layers = [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 2)]
    torch.nn.init.zeros_(layers[2].weight)
    return Model(torch.nn.Sequential(*layers), name="always-the-same")


@pytest.fixture(scope="session")
def bias_dataset():
    return [(torch.full((3, 32, 32), place / 8), place % 2) for place in range(8)]
"""


PAGE: str = (DOCS / "interventions.md").read_text(encoding="utf-8")
ON_DISK = sorted(path.stem for path in gallery.PICTURES.glob("*.png"))


@pytest.fixture(scope="module")
def drawn() -> dict[str, Image.Image]:
    """Return the pictures as the code draws them now."""
    pictures: dict[str, Image.Image] = gallery.pictures()
    return pictures


def test_every_type_has_an_entry_in_the_page() -> None:
    with gallery.workshop():
        shown = {type(entry.intervention()) for entry in gallery.entries()}
    assert shown == {*kinds().values(), Custom}
    for entry in gallery.entries():
        declaration = entry.declaration.replace("|", "\\|")
        assert f"]({gallery.PICTURES.name}/{entry.slug}.png) | `{declaration}` |" in PAGE


def test_what_cannot_be_read_from_text_does_what_its_text_says() -> None:
    images = sample().expand(4, -1, -1, -1)
    for entry in gallery.entries():
        if entry.make is not None:
            typed = eval(entry.declaration, {"Custom": Custom, "v2": v2})
            assert torch.equal(typed.apply(images), entry.make().apply(images))


def test_every_built_in_name_is_in_the_page() -> None:
    for name in BUILT_IN.names:
        assert f"| `{name}` | `{BUILT_IN.named(name)!r}` |" in PAGE


def test_the_pictures_are_there_once_and_shown(drawn: dict[str, Image.Image]) -> None:
    assert sorted(drawn) == ON_DISK, "run python -m docs.gallery"
    assert sorted(re.findall(rf"\({gallery.PICTURES.name}/([a-z-]+)\.png\)", PAGE)) == ON_DISK


@pytest.mark.parametrize("name", ON_DISK)
def test_a_picture_is_what_the_code_draws(name: str, drawn: dict[str, Image.Image]) -> None:
    with Image.open(gallery.PICTURES / f"{name}.png") as opened:
        found = np.asarray(opened.convert("RGB")).astype(int)
    wanted = np.asarray(drawn[name]).astype(int)
    assert found.shape == wanted.shape
    # Versions of Pillow differ a little in resampling, letters and JPEG.
    difference = np.abs(found - wanted)
    assert difference.mean() <= 2, "run python -m docs.gallery"
    assert (difference.max(axis=2) > 24).mean() <= 0.01, "run python -m docs.gallery"


def test_each_picture_shows_a_change(drawn: dict[str, Image.Image]) -> None:
    original = np.asarray(drawn[gallery.ORIGINAL]).astype(int)
    seen = {name: picture.tobytes() for name, picture in drawn.items()}
    assert len(set(seen.values())) == len(seen)
    for name, picture in drawn.items():
        if name != gallery.ORIGINAL:
            assert np.abs(np.asarray(picture).astype(int) - original).mean() > 1, name


def test_all_pictures_together_are_small() -> None:
    assert sum(path.stat().st_size for path in gallery.PICTURES.iterdir()) < MOST_BYTES


def test_the_examples_run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    blocks = re.findall(r"^```(?:python|toml)\n# ([a-z_.]+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert [name for name, _ in blocks] == [
        "test_degradations.py", "conftest.py", "pyproject.toml", "test_names.py", "test_given.py", "test_triggers.py",
    ]  # fmt: skip
    for name, text in blocks:
        (pytester.path / name).write_text(text + CONFTEST * (name == "conftest.py"))
    Image.new("RGB", (8, 8), "red").save(pytester.path / "logo.png")
    result = pytester.runpytest_inprocess("-v", "-p", "no:xdist")
    result.assert_outcomes(passed=11)
    result.stdout.fnmatch_lines(["*asr *<= 0.1 *passed *worst of *"])
