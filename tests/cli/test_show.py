"""The gallery on the command line: what there is, and what it does to an image."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pytest_biastransfer import Blur, Grayscale, LineGrid, Ring, Square
from pytest_biastransfer.__main__ import main
from pytest_biastransfer.errors import InterventionError
from pytest_biastransfer.interventions import BUILT_IN
from pytest_biastransfer.interventions.base import Intervention
from pytest_biastransfer.interventions.parsing import kinds, read


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_list_has_every_name_and_every_declaration(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    for name in BUILT_IN.names:
        assert f"  {name} " in printed
        assert repr(BUILT_IN.named(name)) in printed
    for name, kind in kinds().items():
        assert f"  {name} " in printed
        assert (kind.__doc__ or "").splitlines()[0] in printed


def test_a_picture_has_the_image_before_and_after(capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("cat.png")
    assert main(["show", "Square(size=0.5, color='red')", "--image", "cat.png", "--out", "seen.png"]) == 0
    assert "before and after in seen.png" in capsys.readouterr().out
    seen = np.asarray(Image.open("seen.png"))
    assert seen.shape == (40, 56 * 2 + 8, 3)
    assert np.array_equal(seen[:, :56], pixels)
    assert (seen[:20, 64:84] == (255, 0, 0)).all()
    assert np.array_equal(seen[20:, 64:], pixels[20:])


@pytest.mark.parametrize("name", BUILT_IN.names)
def test_all_names_can_be_shown(name: str) -> None:
    assert main(["show", name]) == 0
    before, after = np.split(np.asarray(Image.open("intervention.png")), [228], axis=1)
    assert not np.array_equal(before[:, :224], after[:, 4:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Sqare(size=1)"], "there is no intervention 'Sqare'; did you mean Square?"),
        (["Square(siz=1)"], "Square has no 'siz'; did you mean size?"),
        (["Square(0.5)"], "Square takes 0 values without a keyword, got 1"),
        (["yelow-square"], "did you mean yellow-square?"),
        (["Square(size=__import__('os').mkdir('executed'))"], "is not a number, text, intervention or tuple of these"),
        (["Square(size=2)"], "Square: size=2, expected a number above 0 and at most 1"),
        (["blur", "--image", "missing.png"], "missing.png: no such file"),
        (["blur", "--image", "broken.png"], "broken.png: cannot be read"),
        (["blur", "--out", "missing/seen.png"], "missing/seen.png"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken.png").write_bytes(b"nothing of the kind")
    assert main(["show", *arguments]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1
    assert message in printed
    assert not Path("executed").exists()


@pytest.mark.parametrize(
    "intervention",
    [
        Square(),
        Ring(anchor=(0.25, 1), angle=45, opacity=0.5, blend="screen"),
        LineGrid(size=1, color="#123456", stage="source"),
        Grayscale() | Square() | Blur(),
        *map(BUILT_IN.named, BUILT_IN.names),
    ],
    ids=lambda intervention: intervention.label,
)
def test_a_declaration_is_read_as_it_is_printed(intervention: Intervention) -> None:
    assert read(repr(intervention)) == intervention


def test_what_is_no_declaration_is_not_evaluated() -> None:
    for text in ("", "1", "Square", "Square()()", "print()", "Square() + Blur()", "Square(size=0.5", "a.b()"):
        with pytest.raises(InterventionError):
            read(text)


def test_a_name_that_the_console_cannot_show_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    # The encoding of pipes on Windows in Western Europe.
    console = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", console)
    assert main(["show", "blur", "--out", "\u732b.png"]) == 0
    console.seek(0)
    assert "before and after in \\u732b.png" in console.read()
    assert Path("\u732b.png").is_file()
