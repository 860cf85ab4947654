"""Pictures, text and arrays of the user's own: what is drawn agrees with Pillow and numpy, what cannot be is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFont

from pytest_biastransfer import Pattern, Random, Stencil, Text
from pytest_biastransfer.errors import InterventionError
from pytest_biastransfer.interventions.placement import ANCHORS

Pixels = npt.NDArray[np.uint8]
quick = settings(max_examples=40, deadline=None)
LUMA = np.array([0.2989, 0.587, 0.114])


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def logo(width: int = 30, height: int = 20) -> Pixels:
    """Return a picture [height, width, 4] with all degrees of transparency."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 4), dtype=np.uint8)
    pixels[:, :, 3] = np.linspace(0, 255, width).astype(np.uint8)
    return pixels


def saved(pixels: Pixels, name: str = "logo.png") -> str:
    Image.fromarray(pixels).save(name)
    return name


def some_images(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


# ----------------------------------------------------------------------------------------- stencils


@pytest.mark.parametrize("anchor", sorted(ANCHORS))
def test_a_stencil_is_what_pillow_composes(anchor: str) -> None:
    pixels = logo()
    images = (some_images(1, 3, 64, 80) * 255).round() / 255
    below = Image.fromarray((images[0] * 255).byte().permute(1, 2, 0).numpy()).convert("RGBA")
    small = Image.fromarray(pixels).resize((32, 21), Image.Resampling.BICUBIC)
    x, y = ANCHORS[anchor]
    below.alpha_composite(small, (int(x * (80 - 32)), int(y * (64 - 21))))
    wanted = np.asarray(below.convert("RGB")).transpose(2, 0, 1) / 255
    found = Stencil(saved(pixels), size=0.5, anchor=anchor).apply(images)[0].numpy()
    # Pillow rounds to 8 bits.
    assert np.abs(found - wanted).max() <= 1.01 / 255


def test_a_stencil_in_its_own_size_is_drawn_pixel_by_pixel() -> None:
    pixels = logo(16, 16)
    images = some_images(2, 3, 32, 32).double()
    alpha, color = pixels[:, :, 3] / 255, pixels[:, :, :3].transpose(2, 0, 1) / 255
    wanted = images.numpy().copy()
    corner = wanted[:, :, 16:, :16]
    wanted[:, :, 16:, :16] = corner * (1 - 0.5 * alpha) + color * 0.5 * alpha
    found = Stencil(saved(pixels), size=0.5, anchor="bottom-left", opacity=0.5).apply(images)
    assert np.abs(found.numpy() - wanted).max() <= 1e-12
    gray = images[:, :1]
    wanted = gray.numpy().copy()
    level = (color * LUMA.reshape(3, 1, 1)).sum(axis=0) / LUMA.sum()
    wanted[:, 0, 16:, :16] = wanted[:, 0, 16:, :16] * (1 - alpha) + level * alpha
    found = Stencil(saved(pixels), size=0.5, anchor="bottom-left").apply(gray)
    assert np.abs(found.numpy() - wanted).max() <= 1e-6


def test_what_is_transparent_does_not_bleed_into_what_is_not() -> None:
    # A white disc on transparent black: without premultiplication its edge would be dark.
    pixels = np.zeros((100, 100, 4), dtype=np.uint8)
    y, x = np.mgrid[:100, :100] - 49.5
    pixels[x * x + y * y < 40**2] = 255
    for angle in (0.0, 20.0):
        drawn = Stencil(saved(pixels), size=0.5, angle=angle).apply(torch.ones(1, 3, 32, 32))
        assert drawn.min() >= 1 - 2 / 255


@pytest.mark.parametrize("angle", [90.0, 180.0, -90.0])
def test_a_stencil_is_turned_counterclockwise(angle: float) -> None:
    pixels = logo(16, 16)
    pixels[:, :, 3] = 255
    turned = np.rot90(pixels, round(angle / 90))
    one = Stencil(saved(pixels), size=0.5, anchor="center", angle=angle).apply(torch.zeros(1, 3, 32, 32))
    other = Stencil(saved(turned, "turned.png"), size=0.5, anchor="center").apply(torch.zeros(1, 3, 32, 32))
    # Resampling by bicubics loses some of noise.
    assert (one - other).abs().mean() <= 2 / 255


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "LA", "1"])
def test_pictures_of_all_modes_are_drawn(mode: str) -> None:
    picture = Image.fromarray(logo()).convert("RGB").convert(mode)
    picture.save("picture.png")
    wanted = np.asarray(picture.convert("RGB").resize((30, 20))).transpose(2, 0, 1) / 255
    drawn = Stencil("picture.png", size=0.5).apply(torch.zeros(1, 3, 60, 60))[0, :, :20, :30].numpy()
    assert np.abs(drawn - wanted).max() <= 1e-6


def test_only_the_content_of_a_file_counts() -> None:
    one, copy, other = saved(logo()), saved(logo(), "copy.png"), saved(logo(31), "other.png")
    assert Stencil(one) == Stencil(copy)
    assert Stencil(one).fingerprint == Stencil(copy).fingerprint != Stencil(other).fingerprint
    assert repr(Stencil(copy, size=0.5)) == "Stencil('copy.png', size=0.5, anchor='top-left')"
    declared = Stencil(Path("copy.png"), size=0.5)  # type: ignore[arg-type]
    assert declared.label == f"stencil-copy-0.5-{declared.digest[:4]}"
    # Reports have the same words wherever the file is.
    absolute = Stencil(str(Path("copy.png").absolute()), size=0.5)
    assert str(absolute) == str(declared) == f"Stencil('copy.png' {declared.digest[:8]}, size=0.5, anchor='top-left')"
    assert str(Random(declared) | Pattern([[0.5]])).count("/") == 0


def test_a_file_is_read_when_it_is_declared() -> None:
    declared = Stencil(saved(logo()))
    before = declared.apply(torch.zeros(1, 3, 40, 40))
    saved(255 - logo())
    changed = Stencil("logo.png")
    assert torch.equal(declared.apply(torch.zeros(1, 3, 40, 40)), before)
    assert changed != declared
    assert not torch.equal(changed.apply(torch.zeros(1, 3, 40, 40)), before)


# --------------------------------------------------------------------------------------------- text


@quick
@given(st.text("ABCabc gy.!", min_size=1).filter(str.strip), st.sampled_from([48, 96, 200]))
def test_text_fills_its_box_and_keeps_its_colour(text: str, side: int) -> None:
    written = Text(text, size=1.0, color="lime")
    width, height = written.box
    if round(width * side) < 4 or round(height * side) < 4:
        return
    drawn = written.apply(torch.zeros(1, 3, side, side))[0]
    assert drawn[0].max() == drawn[2].max() == 0
    rows, columns = (drawn[1] > 0.02).any(dim=1).nonzero(), (drawn[1] > 0.02).any(dim=0).nonzero()
    assert rows.min() <= 2
    assert columns.min() <= 2
    assert abs(int(rows.max()) + 1 - round(height * side)) <= 2
    assert abs(int(columns.max()) + 1 - round(width * side)) <= 2


def test_text_is_what_the_font_draws() -> None:
    font = ImageFont.load_default(200).font_variant(layout_engine=ImageFont.Layout.BASIC)  # type: ignore[union-attr]
    mask = font.getmask("Ag")
    wanted = np.array(mask).reshape(mask.size[::-1]).astype(np.uint8)
    rows, columns = (np.flatnonzero(wanted.any(axis=axis)) for axis in (1, 0))
    wanted = wanted[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    drawn = Text("Ag", size=1.0).apply(torch.zeros(1, 1, max(wanted.shape), max(wanted.shape)))[0, 0].numpy()
    drawn = drawn[: wanted.shape[0], : wanted.shape[1]]
    # Drawn at another place within its pixel.
    assert np.abs(drawn - wanted / 255).mean() <= 0.02


def test_lines_are_written_below_one_another() -> None:
    one, two = Text("HH", size=1.0).box, Text("HH\nHH", size=1.0).box
    assert one[0] == 1
    assert two[1] / two[0] > 2 * one[1] / one[0]


def test_a_font_of_ones_own_is_known_by_its_content() -> None:
    font = ImageFont.load_default(10)
    assert isinstance(font, ImageFont.FreeTypeFont)
    content = font.font_bytes
    Path("own.ttf").write_bytes(content)
    own = Text("Abc", font="own.ttf")
    assert torch.equal(own.apply(torch.zeros(1, 3, 50, 50)), Text("Abc").apply(torch.zeros(1, 3, 50, 50)))
    assert own != Text("Abc")
    assert repr(own) == "Text('Abc', size=0.5, anchor='top-left', color=(255, 255, 255), font='own.ttf')"
    assert own.label == "text-abc-font-own"


# ----------------------------------------------------------------------------------------- patterns


@pytest.mark.parametrize("channels", [1, 3])
def test_a_pattern_of_the_images_size_is_added(channels: int) -> None:
    array = np.random.default_rng(2).normal(0, 0.3, (3, 8, 10))
    images = some_images(2, channels, 8, 10).double()
    added = array if channels == 3 else array.mean(axis=0, keepdims=True)
    wanted = np.clip(images.numpy() + 0.5 * added, 0, 1)
    np.save("pattern.npy", array)
    for given_array in (array, array.tolist(), torch.from_numpy(array), "pattern.npy"):
        found = Pattern(given_array, scale=0.5).apply(images)
        assert np.abs(found.numpy() - wanted).max() <= 1e-6


def test_a_pattern_is_stretched_to_the_images() -> None:
    drawn = Pattern([[0.0, 1.0]]).apply(torch.zeros(1, 1, 20, 40))[0, 0]
    assert torch.equal(drawn, drawn[:1].expand(20, 40))
    assert (drawn[0].diff() >= 0).all()
    assert drawn[0, :10].max() == 0
    assert drawn[0, 30:].min() == 1


def test_a_pattern_is_known_by_its_content_and_printed_as_it_is() -> None:
    one = Pattern(np.eye(2, dtype=np.float32))
    assert repr(one) == "Pattern(((1.0, 0.0), (0.0, 1.0)), scale=1.0)"
    assert one == Pattern([[1, 0], [0, 1]])
    assert one.fingerprint == Pattern([[1, 0], [0, 1]]).fingerprint
    assert one.fingerprint != Pattern([[1, 0], [0, 2]]).fingerprint
    assert one.label != Pattern([[1, 0], [0, 2]]).label
    assert hash(one) == hash(Pattern([[1, 0], [0, 1]]))


# ----------------------------------------------------------------------------------------- bad input


def broken(name: str = "broken.png") -> str:
    Path(name).write_bytes(b"\x89PNG\r\n\x1a\nnothing of the kind")
    return name


def cut_off() -> str:
    content = Path(saved(logo(200, 200))).read_bytes()
    Path("cut.png").write_bytes(content[: len(content) // 2])
    return "cut.png"


def transparent() -> str:
    pixels = logo()
    pixels[:, :, 3] = 0
    return saved(pixels)


def deep() -> str:
    Image.fromarray(np.zeros((4, 4), dtype=np.uint16)).save("deep.png")
    return "deep.png"


def several() -> str:
    np.savez("several.npy.npz", np.eye(2))
    return "several.npy.npz"


BAD: list[tuple[Callable[[], object], str]] = [
    (
        lambda: Stencil("missing.png"),
        r"Stencil: path='missing\.png' cannot be read \(there is no file /.*missing\.png\)",
    ),
    (lambda: Stencil("."), r"Stencil: path='\.' cannot be read \(Is a directory\)"),
    (lambda: Stencil(3), r"Stencil: path=3, expected the path of a file"),  # type: ignore[arg-type]
    (
        lambda: Stencil(broken()),
        r"Stencil: path='broken\.png' cannot be read \([^<]*\); expected a picture, such as a PNG",
    ),
    (lambda: Stencil(cut_off()), r"Stencil: path='cut\.png' cannot be read"),
    (lambda: Stencil(transparent()), r"Stencil: path='logo\.png' is transparent everywhere"),
    (lambda: Stencil(deep()), r"Stencil: path='deep\.png' is of mode I;16, with more than 8 bits"),
    (lambda: Stencil(saved(logo()), size=2), r"Stencil: size=2, expected a number above 0 and at most 1"),
    (lambda: Text(""), r"Text: text='', expected something to write"),
    (lambda: Text(" \n"), r"Text: text=' \\n', expected something to write"),
    (lambda: Text(7), r"Text: text=7, expected something to write"),  # type: ignore[arg-type]
    (lambda: Text("Grüße 漢"), r"Text: the font Aileron has no 'üß漢'; give one that has it, as font='NotoSans\.ttf'"),
    (
        lambda: Text("A", font=broken("own.ttf")),
        r"Text: font='own\.ttf' cannot be read as a font .*; expected a TrueType",
    ),
    (lambda: Text("A", font="missing.ttf"), r"Text: font='missing\.ttf' cannot be read \(there is no file"),
    (lambda: Text("A", color="yelow"), r"color 'yelow'.*did you mean yellow\?"),
    (lambda: Pattern([1, 2]), r"Pattern: the array is \[2\], expected \[height, width\] or \[1 or 3, height, width\]"),
    (lambda: Pattern(np.zeros((2, 4, 4))), r"Pattern: the array is \[2, 4, 4\], expected"),
    (lambda: Pattern([[1, 2], [3]]), r"Pattern: array=.* is not an array of numbers"),
    (lambda: Pattern([["a"]]), r"Pattern: array=.* is not an array of numbers"),
    (lambda: Pattern([[float("nan")]]), r"Pattern: the array has float64 values, expected finite numbers"),
    (lambda: Pattern([[1.0]], scale=0), r"Pattern: scale=0, expected a number other than 0"),
    (lambda: Pattern("missing.npy"), r"Pattern: array='missing\.npy' cannot be read \(there is no file"),
    (lambda: Pattern(broken("broken.npy")), r"Pattern: array='broken\.npy' cannot be read"),
    (lambda: Pattern(several()), r"Pattern: array='several\.npy\.npz' has several arrays"),
]


@pytest.mark.parametrize(("declare", "message"), BAD, ids=[message[:50] for _, message in BAD])
def test_a_wrong_declaration_says_what_was_found_and_what_was_expected(
    declare: Callable[[], object], message: str
) -> None:
    with pytest.raises(InterventionError, match=message):
        declare()


def test_an_array_is_never_unpickled() -> None:
    np.save("objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InterventionError, match=r"Pattern: array='objects\.npy' cannot be read"):
        Pattern("objects.npy")


@pytest.mark.parametrize("make", [lambda: Text("I" * 20, size=0.1), lambda: Stencil(saved(logo(90, 3)), size=0.3)])
def test_what_is_too_thin_to_be_seen_names_the_resolution(make: Callable[[], Any]) -> None:
    with pytest.raises(InterventionError, match=r"rounds to no pixel on images of 32×32"):
        make().apply(torch.zeros(1, 3, 32, 32))
