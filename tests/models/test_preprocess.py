"""Preprocessing gives exactly the pixels that torchvision's transforms give."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import InterpolationMode, v2

from pytest_biastransfer import Preprocess
from pytest_biastransfer.data.arrays import as_8_bit
from pytest_biastransfer.errors import ModelError

Interpolation = Literal["nearest", "bilinear", "bicubic"]
Pixels = npt.NDArray[np.uint8]
Extent = int | tuple[int, int] | None

MODES = {
    "nearest": InterpolationMode.NEAREST,
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
}
quick = settings(max_examples=60, deadline=None)
interpolations = st.sampled_from(sorted(MODES))
sides = st.integers(1, 60)
extents = st.one_of(st.none(), sides, st.tuples(sides, sides))


@st.composite
def pictures(draw: st.DrawFn) -> Pixels:
    """Draw 8-bit pictures [1 or 3, 1 to 60, 1 to 60]: noise, which shows every difference, or gradients."""
    shape = (draw(st.sampled_from([1, 3])), draw(sides), draw(sides))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if draw(st.booleans()):
        return generator.integers(0, 256, shape, dtype=np.uint8)
    steps = np.arange(shape[1])[:, None] * 3 + np.arange(shape[2])
    return np.broadcast_to(steps, shape).astype(np.uint8)


def as_picture(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))


def by_torchvision(image: Any, resize: Extent, crop: Extent, interpolation: str) -> Any:
    steps: list[Any] = []
    if resize is not None:
        steps.append(v2.Resize(resize, interpolation=MODES[interpolation], antialias=True))
    if crop is not None:
        steps.append(v2.CenterCrop(crop))
    return v2.Compose([*steps, v2.Identity()])(image)


def preprocess(resize: Extent, crop: Extent, interpolation: str) -> Preprocess:
    return Preprocess(resize=resize, crop=crop, interpolation=interpolation)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------- resizing and cropping


@settings(max_examples=100, deadline=None)
@given(pictures(), extents, extents, interpolations)
def test_pictures_are_resized_and_cropped_as_torchvision_does_to_the_pixel(
    pixels: Pixels, resize: Extent, crop: Extent, interpolation: str
) -> None:
    before = pixels.copy()
    actual = preprocess(resize, crop, interpolation).resize_and_crop(pixels)
    expected = np.asarray(by_torchvision(as_picture(pixels), resize, crop, interpolation))
    expected = expected[None] if len(pixels) == 1 else expected.transpose(2, 0, 1)
    assert actual.dtype == np.uint8
    assert actual.shape == expected.shape
    assert np.array_equal(actual, expected)
    assert np.array_equal(pixels, before)


# torch (2.15 at least) repeats one row in all others where the output of an antialiased resizing is one pixel wide.
wider = st.integers(2, 60)


@settings(max_examples=100, deadline=None)
@given(pictures(), st.one_of(st.none(), wider, st.tuples(sides, wider)), extents, interpolations)
def test_float_images_are_resized_and_cropped_as_torchvision_does_with_tensors(
    pixels: Pixels, resize: Extent, crop: Extent, interpolation: str
) -> None:
    image = pixels.astype(np.float32) / np.float32(255)
    before = image.copy()
    actual = preprocess(resize, crop, interpolation).resize_and_crop(image)
    expected = by_torchvision(torch.from_numpy(image), resize, crop, interpolation)
    # torchvision leaves what bicubic interpolation overshoots; here an image in [0, 1] stays one.
    assert actual.dtype == np.float32
    assert actual.shape == tuple(expected.shape)
    assert np.abs(actual - expected.clamp(0, 1).numpy()).max() <= 1e-6
    assert np.array_equal(image, before)


@quick
@given(st.sampled_from([2, 4, 5]), sides, sides, wider, interpolations)
def test_8_bit_images_of_other_channels_are_resized_as_tensors_and_rounded(
    channels: int, height: int, width: int, resize: int, interpolation: str
) -> None:
    pixels = np.random.default_rng(height).integers(0, 256, (channels, height, width), dtype=np.uint8)
    actual = preprocess(resize, None, interpolation).resize_and_crop(pixels)
    expected = by_torchvision(torch.from_numpy(pixels).float(), resize, None, interpolation)
    assert actual.dtype == np.uint8
    assert np.array_equal(actual, expected.round().clamp(0, 255).numpy())


@quick
@given(sides, sides, sides)
def test_the_shorter_side_gets_the_size_and_the_ratio_is_kept(height: int, width: int, side: int) -> None:
    pixels = np.zeros((3, height, width), dtype=np.uint8)
    extent = Preprocess(resize=side).resize_and_crop(pixels).shape[1:]
    longer = side * max(height, width) // min(height, width)
    assert extent == ((side, longer) if height <= width else (longer, side))


def test_a_crop_larger_than_the_image_is_padded_with_black_on_both_sides() -> None:
    pixels = np.full((3, 4, 5), 200, dtype=np.uint8)
    padded = Preprocess(crop=8).resize_and_crop(pixels)
    assert padded.shape == (3, 8, 8)
    assert np.array_equal(padded[:, 2:6, 1:6], pixels)
    assert padded.sum() == pixels.sum()


def test_without_a_size_an_image_stays_as_it_is() -> None:
    pixels = np.arange(3 * 5 * 7, dtype=np.uint8).reshape(3, 5, 7)
    assert np.array_equal(Preprocess().resize_and_crop(pixels), pixels)


def photographs() -> list[Path]:
    data = os.environ.get("BIASTRANSFER_DATA")
    return sorted((Path(data) / "imagenet_sample").glob("*/*.jpg"))[::25] if data else []


@pytest.mark.skipif(not photographs(), reason="needs BIASTRANSFER_DATA")
@pytest.mark.parametrize("interpolation", sorted(MODES))
@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (128, 112), (64, 64), ((100, 180), (96, 200)), (300, 299)])
def test_photographs_are_resized_and_cropped_as_torchvision_does_to_the_pixel(
    resize: Extent, crop: Extent, interpolation: str
) -> None:
    for path in photographs():
        picture = Image.open(path).convert("RGB")
        expected = np.asarray(by_torchvision(picture, resize, crop, interpolation)).transpose(2, 0, 1)
        actual = preprocess(resize, crop, interpolation).resize_and_crop(np.asarray(picture).transpose(2, 0, 1))
        assert np.array_equal(actual, expected), path


# -------------------------------------------------------------------------------------- normalization

means = st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3)
stds = st.lists(st.floats(0.0625, 2, width=32), min_size=3, max_size=3)


@quick
@given(means, stds, st.sampled_from([torch.float32, torch.float64]))
def test_images_are_normalized_as_torchvision_does(mean: list[float], std: list[float], dtype: torch.dtype) -> None:
    images = torch.rand(2, 3, 4, 5, dtype=dtype)
    before = images.clone()
    normalized = Preprocess(mean=mean, std=std).normalize(images)
    assert normalized.dtype == dtype
    assert torch.equal(normalized, v2.Normalize(mean, std)(images))
    assert torch.equal(images, before)


def test_one_number_normalizes_all_channels() -> None:
    images = torch.rand(2, 3, 4, 5)
    expected = v2.Normalize([0.5] * 3, [0.25] * 3)(images)
    assert torch.equal(Preprocess(mean=0.5, std=0.25).normalize(images), expected)
    assert torch.equal(Preprocess(mean=[0.5], std=(0.25,)).normalize(images), expected)
    assert torch.equal(Preprocess(mean=0.5, std=0.25).normalize(images[:, :1]), expected[:, :1])


def test_mean_and_std_can_be_given_alone() -> None:
    images = torch.rand(2, 3, 4, 5)
    assert torch.equal(Preprocess(mean=0.5).normalize(images), images - 0.5)
    assert torch.equal(Preprocess(std=0.5).normalize(images), images / 0.5)
    assert torch.equal(Preprocess().normalize(images), images)


@quick
@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.lists(st.floats(0.05, 1), min_size=3, max_size=3))
def test_normalizing_8_bit_pictures_is_undone_exactly(mean: list[float], std: list[float]) -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16).repeat(3, axis=0)
    declared = Preprocess(mean=mean, std=std, normalized_input=True)
    normalized = v2.Normalize(mean, std)(torch.from_numpy(pixels).float() / 255).numpy()
    undone = declared.undo_normalization(normalized)
    assert undone.dtype == np.float32
    assert np.array_equal(as_8_bit(undone), pixels)
    again = declared.normalize(torch.from_numpy(undone)[None])[0].numpy()
    assert again == pytest.approx(normalized, abs=1e-4)


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize(("name", "values"), [("mean", {"mean": (0.5,) * 3}), ("std", {"std": (0.5,) * 3})])
def test_normalizing_images_of_another_number_of_channels_says_both_numbers(
    name: str, values: dict[str, Any], channels: int
) -> None:
    with pytest.raises(ModelError, match=f"{name} has 3 values, but the images have {channels} channels"):
        Preprocess(**values).normalize(torch.rand(2, channels, 4, 5))


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_undoing_a_normalization_of_another_number_of_channels_is_the_same_error(channels: int) -> None:
    declared = Preprocess(mean=(0.5,) * 3, std=(0.5,) * 3, normalized_input=True)
    with pytest.raises(ModelError, match=f"3 values, but the images have {channels} channels"):
        declared.undo_normalization(np.zeros((channels, 4, 5), dtype=np.float32))


# ----------------------------------------------------------------------------------------- declaration


def test_size_is_short_for_resize_and_crop() -> None:
    assert Preprocess(size=8) == Preprocess(resize=8, crop=8)
    assert Preprocess(size=8).fingerprint == Preprocess(resize=8, crop=8).fingerprint
    assert Preprocess(size=8, resize=16) == Preprocess(resize=16, crop=8)
    assert Preprocess(size=8, crop=(4, 6)) == Preprocess(resize=8, crop=(4, 6))


def test_equal_declarations_in_other_words_are_equal() -> None:
    first = Preprocess(resize=[8, 9], crop=(4, 4), mean=[0, 0.5, 1], std=1)  # type: ignore[arg-type]
    second = Preprocess(resize=(8, 9), crop=[4, 4], mean=(0.0, 0.5, 1.0), std=[1.0])  # type: ignore[arg-type]
    assert first == second
    assert hash(first) == hash(second)
    assert first.fingerprint == second.fingerprint


def test_a_declaration_can_be_replaced_in_part() -> None:
    replaced = dataclasses.replace(Preprocess(size=8, mean=0.5), std=0.25)
    assert replaced == Preprocess(resize=8, crop=8, mean=0.5, std=0.25)


CHANGES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "resize": {"resize": 9},
    "resize both": {"resize": (8, 9)},
    "crop": {"crop": 7},
    "no crop": {"crop": None, "size": None, "resize": 8},
    "mean": {"mean": 0.4},
    "std": {"std": 0.4},
    "interpolation": {"interpolation": "bicubic"},
    "channels": {"channels": 1},
    "other channels": {"channels": 3},
    "normalized_input": {"normalized_input": True},
    "normalized_input by others": {"normalized_input": True, "mean": 0.4},
}


def declared_with(changes: dict[str, Any]) -> Preprocess:
    return Preprocess(**({"size": 8, "mean": 0.5, "std": 0.5} | changes))


def test_everything_that_the_model_sees_is_in_the_fingerprint() -> None:
    assert len({declared_with(change).fingerprint for change in CHANGES.values()}) == len(CHANGES)


def test_pixels_are_shared_by_models_that_only_normalize_differently() -> None:
    alike = {"nothing", "mean", "std"}
    prints = {name: declared_with(change).pixels_fingerprint for name, change in CHANGES.items()}
    assert len({prints[name] for name in alike}) == 1
    others = [prints[name] for name in CHANGES if name not in alike]
    assert len({*others, prints["nothing"]}) == len(others) + 1


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"size": 0}, "size=0, expected a whole number of pixels above 0"),
    ({"size": -1}, "size=-1"),
    ({"size": 22.4}, r"size=22\.4"),
    ({"size": True}, "size=True"),
    ({"size": "224"}, "size='224'"),
    ({"size": (224, 224)}, r"size=\(224, 224\)"),
    ({"size": (224,)}, r"=\(224,\)"),
    ({"resize": 0}, "resize=0"),
    ({"resize": (8, 0)}, r"resize=\(8, 0\)"),
    ({"resize": (8, 8, 3)}, r"resize=\(8, 8, 3\)"),
    ({"resize": (8,)}, r"resize=\(8,\)"),
    ({"crop": ()}, r"crop=\(\)"),
    ({"crop": [8]}, r"crop=\[8\]"),
    ({"crop": (8, 7.5)}, r"crop=\(8, 7\.5\)"),
    ({"mean": "0.5"}, r"mean='0\.5', expected one number or one a channel"),
    ({"mean": ("0.5",)}, r"mean=\('0\.5',\)"),
    ({"mean": ()}, r"mean=\(\)"),
    ({"mean": True}, "mean=True"),
    ({"mean": np.array([0.5])}, "mean=array"),
    ({"mean": float("nan")}, "mean=nan"),
    ({"mean": (0.5, float("inf"), 0.5)}, "mean=.*inf"),
    (
        {"mean": (123.675, 116.28, 103.53)},
        r"mean=.*in units of \[0, 1\], not of 0 to 255; did you mean 0\.485,0\.456,0\.406\?",
    ),
    ({"std": [58.395, 57.12, 57.375]}, r"std=.*did you mean 0\.229,0\.224,0\.225\?"),
    ({"mean": 127.5, "std": 127.5}, r"mean=127\.5.*did you mean 0\.5\?"),
    ({"mean": 0, "std": 255}, r"std=255.*did you mean 1\?"),
    ({"mean": 1000}, r"mean=1000, expected numbers in units of \[0, 1\]$"),
    ({"fill": 128}, r"fill=128.*did you mean 0\.502\?"),
    ({"std": 0}, "std=0, expected one number or one a channel, above 0"),
    ({"std": (1.0, 0.0, 1.0)}, r"std=\(1\.0, 0\.0, 1\.0\)"),
    ({"std": -0.5}, r"std=-0\.5"),
    ({"std": (float("nan"), 1.0, 1.0)}, "std=.*nan"),
    ({"interpolation": "sinc"}, "interpolation='sinc', expected one of .*'bicubic'"),
    ({"channels": 2}, r"channels=2, expected 1 \(gray\) or 3 \(colours\)"),
    ({"channels": True}, "channels=True"),
    ({"normalized_input": True}, "normalized_input=True needs mean= and std="),
    ({"normalized_input": True, "mean": 0.5}, "normalized_input=True needs mean= and std="),
]


@pytest.mark.parametrize(("values", "message"), WRONG, ids=[str(values) for values, _ in WRONG])
def test_a_wrong_value_is_named_with_what_was_expected(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Preprocess(**values)
