"""Interventions: their contract as properties, and agreement with independent implementations."""

from __future__ import annotations

import dataclasses
import math
import pickle
import random
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from scipy import ndimage
from torchvision.transforms import v2

import pytest_biastransfer
from pytest_biastransfer import (
    JPEG,
    Blur,
    Border,
    Brightness,
    Checkerboard,
    Circle,
    ColorCast,
    Composition,
    Contrast,
    Custom,
    GaussianPattern,
    Grayscale,
    Intervention,
    LineGrid,
    Noise,
    OneOf,
    Pixelate,
    Rectangle,
    Ring,
    Saturation,
    Square,
    Stripes,
    Tint,
    Triangle,
    Vignette,
)  # fmt: skip
from pytest_biastransfer.errors import InterventionError
from pytest_biastransfer.interventions import BUILT_IN, BatchInfo
from pytest_biastransfer.interventions.colors import rgb

quick = settings(max_examples=40, deadline=None)

ANCHORS = [
    "top-left",
    "top",
    "top-right",
    "left",
    "center",
    "right",
    "bottom-left",
    "bottom",
    "bottom-right",
]
LUMA = (0.2989, 0.587, 0.114)
# A blur adds up to 9,000 products in single precision, in whatever order is fastest; a level of 8 bits is 4e-3.
ROUNDING = 5e-6


def negative(images: torch.Tensor) -> torch.Tensor:
    return 1 - images


def noisy(images: torch.Tensor) -> torch.Tensor:
    return images + 0.3 * torch.rand_like(images)


# --------------------------------------------------------------------------------------- strategies

colors = st.one_of(
    st.tuples(*[st.integers(0, 255)] * 3),
    st.sampled_from(["red", "Yellow", "#00ff7f", "#ABCDEF"]),
    st.lists(st.integers(0, 255), min_size=3, max_size=3),
)
# At the smallest side of 4 pixels, 0.13 still rounds to one.
shape_fields = {"size": st.floats(0.13, 1.0), "anchor": st.sampled_from(ANCHORS), "color": colors}
squares = st.builds(Square, **shape_fields)
circles = st.builds(Circle, **shape_fields)
tints = st.builds(Tint, color=colors, strength=st.floats(0.01, 1.0))
blurs = st.builds(Blur, sigma=st.floats(0.01, 0.6))
mixings = {"opacity": st.floats(0.05, 1.0), "blend": st.sampled_from(["over", "add", "multiply", "screen"])}
placings = shape_fields | mixings | {"angle": st.floats(-400, 400), "margin": st.floats(0.0, 0.3)}
factors = st.floats(0.0, 3.0).filter(lambda factor: factor != 1)
numbers = st.floats(-1.0, 2.0)
# The largest shapes of 4 pixels still have one in each direction.
gallery: st.SearchStrategy[Intervention] = st.one_of(
    *(st.builds(kind, **placings) for kind in (Square, Circle, Triangle)),
    st.builds(LineGrid, **placings, spacing=st.floats(0.1, 1.0), thickness=st.just(1.0)),
    st.builds(Rectangle, **placings | {"size": st.floats(0.5, 1.0)}, aspect=st.floats(0.5, 2.0)),
    st.builds(Ring, **placings | {"size": st.floats(0.5, 1.0)}, thickness=st.floats(0.75, 1.0)),
    st.builds(Checkerboard, **placings, cells=st.just(1)),
    st.builds(Stripes, **mixings, period=st.floats(0.5, 1.0), color=colors, angle=st.floats(-90, 90)),
    st.builds(GaussianPattern, scale=st.floats(0.01, 1.0), cells=st.integers(1, 40), seed=st.integers(0, 5)),
    st.builds(Noise, scale=st.floats(0.01, 1.0), seed=st.integers(0, 5)),
    st.builds(ColorCast, matrix=st.tuples(numbers, numbers, numbers).filter((1.0, 1.0, 1.0).__ne__)),
    st.builds(ColorCast, matrix=st.tuples(*[st.tuples(numbers, numbers, numbers)] * 3)),
    *(st.builds(kind, factor=factors) for kind in (Brightness, Contrast, Saturation)),
    st.builds(Pixelate, cells=st.integers(1, 50)),
    st.builds(Border, width=st.floats(0.13, 0.5), color=colors),
    st.builds(Vignette, strength=st.floats(0.01, 1.0)),
)
declared = st.one_of(squares, circles, tints, blurs, st.just(Grayscale()), gallery)
jpegs = st.builds(JPEG, quality=st.integers(1, 100))
customs = st.builds(Custom, st.sampled_from([negative, noisy]), seed=st.integers(0, 9))
singles = st.one_of(declared, customs, jpegs)
choices = st.builds(OneOf, st.lists(st.one_of(declared, customs), min_size=1, max_size=3), seed=st.integers(0, 9))
compositions = st.lists(singles, min_size=2, max_size=3).map(lambda steps: Composition(steps=tuple(steps)))
interventions: st.SearchStrategy[Intervention] = st.one_of(singles, compositions, choices)


@given(intervention=declared, shape=st.tuples(st.integers(1, 4), st.just(3), st.integers(4, 48), st.integers(4, 48)))
@quick
def test_nothing_waits_for_the_device(intervention: Intervention, shape: tuple[int, ...]) -> None:
    """A tensor of the meta device has no values: whoever asks for one gets an error. On a GPU, that would be a wait."""
    images = torch.empty(shape, device="meta")
    changed = intervention.apply(images)
    assert (changed.shape, changed.dtype, changed.device) == (images.shape, images.dtype, images.device)
    normalized = pytest_biastransfer.Preprocess(mean=(0.1, 0.2, 0.3), std=0.5).normalize(changed)
    assert normalized.device == images.device


@st.composite
def batches(
    draw: st.DrawFn, channels: Sequence[int] = (1, 3), dtypes: Sequence[torch.dtype] = (torch.float32,)
) -> torch.Tensor:
    """Draw images [1 to 4, channels, 4 to 48, 4 to 48] in [0, 1]; some of them 8-bit pictures, some flat."""
    shape = (
        draw(st.integers(1, 4)),
        draw(st.sampled_from(channels)),
        draw(st.integers(4, 48)),
        draw(st.integers(4, 48)),
    )
    kind = draw(st.sampled_from(["uniform", "8 bits", "black", "white"]))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if kind == "uniform":
        pixels = generator.random(shape)
    elif kind == "8 bits":
        pixels = generator.integers(0, 256, shape) / 255
    else:
        pixels = np.full(shape, float(kind == "white"))
    return torch.tensor(pixels, dtype=draw(st.sampled_from(dtypes)))


any_batch = batches(dtypes=(torch.float32, torch.float64))


def steps_of(intervention: Intervention) -> tuple[Intervention, ...]:
    return intervention.steps if isinstance(intervention, Composition) else (intervention,)


def draws_only(intervention: Intervention) -> bool:
    return all(isinstance(step, Square | Circle) for step in steps_of(intervention))


# ----------------------------------------------------------------------------------------- contract


@settings(max_examples=100, deadline=None)
@given(interventions, any_batch)
def test_result_is_a_new_tensor_of_the_same_form_in_range(intervention: Intervention, images: torch.Tensor) -> None:
    given_images = images.clone()
    changed = intervention.apply(images)
    assert changed.shape == images.shape
    assert changed.dtype == images.dtype
    assert changed.device == images.device
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert torch.equal(images, given_images)
    assert changed.untyped_storage().data_ptr() != images.untyped_storage().data_ptr()


@quick
@given(interventions, any_batch)
def test_the_same_images_always_change_in_the_same_way(intervention: Intervention, images: torch.Tensor) -> None:
    first = intervention.apply(images)
    torch.rand(1), np.random.random(), random.random()
    assert torch.equal(intervention.apply(images), first)


@settings(max_examples=60, deadline=None)
@given(interventions, batches())
def test_a_batch_changes_as_its_images_do_one_by_one(intervention: Intervention, images: torch.Tensor) -> None:
    together = intervention.apply(images)
    alone = torch.cat([intervention.apply(images[i : i + 1], [i]) for i in range(len(images))])
    if draws_only(intervention):
        assert torch.equal(together, alone)
    else:
        torch.testing.assert_close(together, alone, rtol=0, atol=ROUNDING)


@quick
@given(st.one_of(declared, st.lists(declared, min_size=2, max_size=3)), batches(dtypes=(torch.float64,)))
def test_single_and_double_precision_agree(
    intervention: Intervention | list[Intervention], images: torch.Tensor
) -> None:
    if isinstance(intervention, list):
        intervention = Composition(steps=tuple(intervention))
    double, single = intervention.apply(images), intervention.apply(images.float())
    torch.testing.assert_close(single.double(), double, rtol=0, atol=2 * ROUNDING)


def other_layouts(images: torch.Tensor) -> list[torch.Tensor]:
    turned = images.transpose(2, 3).contiguous().transpose(2, 3)
    return [images.to(memory_format=torch.channels_last), turned]


@quick
@given(declared, batches())
def test_the_layout_in_memory_decides_nothing(intervention: Intervention, images: torch.Tensor) -> None:
    expected = intervention.apply(images)
    for laid_out in other_layouts(images):
        torch.testing.assert_close(intervention.apply(laid_out), expected, rtol=0, atol=ROUNDING)


@quick
@given(declared)
def test_images_that_share_memory_are_changed_each(intervention: Intervention) -> None:
    image = torch.rand(1, 3, 9, 7)
    expanded = image.expand(3, -1, -1, -1)
    expected = intervention.apply(expanded.contiguous())
    torch.testing.assert_close(intervention.apply(expanded), expected, rtol=0, atol=ROUNDING)
    gray = torch.rand(2, 1, 9, 7)
    expected = intervention.apply(gray.expand(-1, 3, -1, -1).contiguous())
    torch.testing.assert_close(intervention.apply(gray.expand(-1, 3, -1, -1)), expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize(
    "intervention",
    [Square(), Circle(), Grayscale(), Blur(), Tint(), Custom(negative), Custom(noisy), Grayscale() | Square()],
    ids=lambda intervention: intervention.label,
)
def test_no_images_change_to_no_images(intervention: Intervention) -> None:
    assert intervention.apply(torch.empty(0, 3, 8, 8)).shape == (0, 3, 8, 8)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(
    "intervention",
    [Square(), Circle(anchor="center"), Grayscale(), Blur(), Tint(), Custom(negative), Custom(noisy)],
    ids=lambda intervention: intervention.label,
)
def test_images_stay_on_their_gpu_and_change_as_on_the_cpu(intervention: Intervention) -> None:
    images = torch.rand(3, 3, 20, 16)
    changed = intervention.apply(images.cuda())
    assert changed.device.type == "cuda"
    if intervention != Custom(noisy):
        torch.testing.assert_close(changed.cpu(), intervention.apply(images), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("images", "found"),
    [
        (torch.zeros(3, 8, 8), r"torch.float32 \[3, 8, 8\]"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "torch.uint8"),
        (np.zeros((1, 3, 8, 8), dtype=np.float32), "ndarray"),
    ],
)
@pytest.mark.parametrize("intervention", [Square(), Grayscale(), Custom(negative)])
def test_what_is_not_a_batch_of_float_images_is_an_error_that_says_what_was_found(
    intervention: Intervention, images: Any, found: str
) -> None:
    with pytest.raises(InterventionError, match=f"{found}.*expected a float tensor"):
        intervention.apply(images)


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("intervention", [Square(), Circle(), Tint(), Grayscale()])
def test_images_without_colours_are_an_error(intervention: Intervention, channels: int) -> None:
    with pytest.raises(InterventionError, match=f"{channels} channels.*expected 1 or 3"):
        intervention.apply(torch.zeros(1, channels, 8, 8))


# ------------------------------------------------------------------------------------------- shapes


def region(anchor: object, extent: int, height: int, width: int) -> tuple[int, int]:
    """Return (top, left) of a square, told by the words of its anchor."""
    words = set(str(anchor).split("-"))
    top = 0 if "top" in words else height - extent if "bottom" in words else (height - extent) // 2
    left = 0 if "left" in words else width - extent if "right" in words else (width - extent) // 2
    return top, left


def levels_of(color: str | Sequence[int], channels: int) -> npt.NDArray[np.float64]:
    """Return a colour in [0, 1], or its luma, in which the three weights add up to one."""
    unit = np.array(rgb(color)) / 255
    return unit if channels == 3 else np.array([np.average(unit, weights=LUMA)])


def pixels_of(shape: Square | Circle, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Decide about each pixel by itself whether its centre is in the shape."""
    extent = round(shape.size * min(height, width))
    top, left = region(shape.anchor, extent, height, width)
    covered = np.zeros((height, width), dtype=bool)
    for y in range(height):
        for x in range(width):
            down, right = y + 0.5 - top, x + 0.5 - left
            if isinstance(shape, Square):
                covered[y, x] = 0 < down < extent and 0 < right < extent
            else:
                covered[y, x] = math.dist((down, right), (extent / 2, extent / 2)) <= extent / 2
    return covered


@settings(max_examples=80, deadline=None)
@given(st.one_of(squares, circles), batches())
def test_a_shape_covers_its_pixels_with_its_colour_and_leaves_all_others(
    shape: Square | Circle, images: torch.Tensor
) -> None:
    covered = torch.from_numpy(pixels_of(shape, *images.shape[2:]))
    assert covered.any()
    changed = shape.apply(images)
    for channel, level in enumerate(levels_of(shape.color, images.shape[1])):
        assert changed[:, channel][:, covered].sub(level).abs().max() <= 1e-7
    assert torch.equal(changed[:, :, ~covered], images[:, :, ~covered])


@quick
@given(squares, st.integers(4, 48), st.integers(4, 48), st.integers(0, 1000))
def test_a_square_is_the_rectangle_that_pillow_draws(square: Square, height: int, width: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    extent = round(square.size * min(height, width))
    top, left = region(square.anchor, extent, height, width)
    corners = (left, top, left + extent - 1, top + extent - 1)
    ImageDraw.Draw(picture).rectangle(corners, fill=rgb(square.color))
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    drawn = (square.apply(images)[0] * 255).round().byte().permute(1, 2, 0).numpy()
    assert np.array_equal(drawn, np.asarray(picture))


@pytest.mark.parametrize("anchor", ANCHORS)
def test_a_circle_is_symmetric_and_touches_the_sides_that_its_anchor_names(anchor: str) -> None:
    drawn = Circle(size=0.5, anchor=anchor, color="white").apply(torch.zeros(1, 3, 21, 33))[0, 0] == 1
    rows, columns = drawn.any(dim=1).nonzero().flatten(), drawn.any(dim=0).nonzero().flatten()
    box = drawn[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert box.shape == (10, 10)
    for turned in (box.flip(0), box.flip(1), box.T):
        assert torch.equal(box, turned)
    touched = {
        "top": rows.min() == 0,
        "bottom": rows.max() == 20,
        "left": columns.min() == 0,
        "right": columns.max() == 32,
    }
    assert {side for side, touches in touched.items() if touches} == set(anchor.split("-")) - {"center"}


@pytest.mark.parametrize("level", [0, 1, 128, 254, 255])
def test_a_gray_on_gray_images_is_exactly_that_gray(level: int) -> None:
    drawn = Square(size=1.0, color=(level, level, level)).apply(torch.full((1, 1, 4, 4), 0.3))
    assert (drawn * 255).flatten().tolist() == pytest.approx([level] * 16, abs=1e-4)


@pytest.mark.parametrize("extent", [8, 56, 112, 301])
def test_a_circle_has_the_area_of_a_circle(extent: int) -> None:
    image = torch.zeros(1, 1, extent, extent)
    area = Circle(size=1.0, color="white").apply(image).sum().item()
    assert area == pytest.approx(math.pi * extent**2 / 4, rel=2 / extent)


def test_the_yellow_square_is_that_of_salman_et_al() -> None:
    images = torch.rand(2, 3, 224, 224) * 0.9
    changed = BUILT_IN.named("yellow-square").apply(images)
    yellow = torch.tensor([1.0, 1.0, 0.0]).reshape(1, 3, 1, 1).expand(2, 3, 56, 56)
    assert torch.equal(changed[:, :, :56, :56], yellow)
    different = (changed != images).any(dim=1)
    assert different[:, :56, :56].all()
    assert different.sum() == 2 * 56 * 56


@pytest.mark.parametrize(("side", "pixels"), [(32, 8), (96, 24), (224, 56), (384, 96)])
def test_a_size_is_a_fraction_of_the_shorter_side(side: int, pixels: int) -> None:
    for height, width in ((side, side), (side, side + 20), (side + 20, side)):
        drawn = Square(size=0.25, color="white").apply(torch.zeros(1, 3, height, width))
        assert drawn[0, 0].sum() == pixels**2


@pytest.mark.parametrize("shape", [Square, Circle])
def test_a_shape_too_small_to_be_seen_names_the_resolution_and_the_least_size(
    shape: type[Square] | type[Circle],
) -> None:
    with pytest.raises(InterventionError, match=r"no pixel on images of 48×32; make size at least 0\.0312"):
        shape(size=0.01).apply(torch.zeros(1, 3, 48, 32))
    # What the message advises is enough.
    assert shape(size=0.0312, color="white").apply(torch.zeros(1, 3, 48, 32))[0, 0].sum() == 1


# --------------------------------------------------------------------------------------- appearance


@quick
@given(any_batch)
def test_grayscale_is_that_of_torchvision(images: torch.Tensor) -> None:
    expected = v2.functional.rgb_to_grayscale(images, images.shape[1])
    torch.testing.assert_close(Grayscale().apply(images), expected, rtol=0, atol=1e-6)


@quick
@given(batches(channels=(1,)))
def test_grayscale_leaves_gray_images_as_they_are(images: torch.Tensor) -> None:
    assert torch.equal(Grayscale().apply(images), images)


@quick
@given(batches(channels=(3,)))
def test_grayscale_makes_all_channels_equal(images: torch.Tensor) -> None:
    gray = Grayscale().apply(images)
    assert torch.equal(gray[:, 0], gray[:, 1])
    assert torch.equal(gray[:, 0], gray[:, 2])


@quick
@given(blurs, any_batch)
def test_blur_is_the_gaussian_filter_of_scipy_and_of_torchvision(blur: Blur, images: torch.Tensor) -> None:
    side = min(images.shape[2:])
    sigma = blur.sigma * side
    radius = min(math.ceil(3 * sigma), side - 1)
    blurred = blur.apply(images)
    by_scipy = ndimage.gaussian_filter(images.double().numpy(), sigma, mode="mirror", radius=radius, axes=(2, 3))
    rounding = 2 * ROUNDING if images.dtype == torch.float32 else 1e-12
    torch.testing.assert_close(blurred.double(), torch.from_numpy(by_scipy), rtol=0, atol=rounding)
    by_torchvision = v2.functional.gaussian_blur(images, [2 * radius + 1] * 2, [sigma, sigma])
    torch.testing.assert_close(blurred, by_torchvision, rtol=0, atol=ROUNDING)


@quick
@given(tints, any_batch)
def test_tint_mixes_its_colour_into_every_pixel(tint: Tint, images: torch.Tensor) -> None:
    color = levels_of(tint.color, images.shape[1])
    pixels = images.double().numpy()
    expected = (1 - tint.strength) * pixels + tint.strength * color.reshape(1, -1, 1, 1)
    assert tint.apply(images).double().numpy() == pytest.approx(expected, abs=1e-6)


@quick
@given(st.lists(singles, min_size=1, max_size=3), batches())
def test_a_composition_is_its_steps_one_after_the_other(steps: list[Intervention], images: torch.Tensor) -> None:
    expected = images
    for step in steps:
        expected = step.apply(expected)
    assert torch.equal(Composition(steps=tuple(steps)).apply(images), expected)


def test_a_composition_reads_from_left_to_right() -> None:
    images = torch.rand(1, 3, 8, 8)
    gray_first, square_first = (Grayscale() | Square(size=0.5)), (Square(size=0.5) | Grayscale())
    assert gray_first.apply(images)[0, :, 0, 0].tolist() == [1.0, 1.0, 0.0]
    assert square_first.apply(images)[0, :, 0, 0].tolist() == pytest.approx([LUMA[0] + LUMA[1]] * 3)


# ------------------------------------------------------------------------------------- declarations

PUBLIC = {name: getattr(pytest_biastransfer, name) for name in pytest_biastransfer.__all__}
stages = st.sampled_from(["input", "source"])
staged: st.SearchStrategy[Intervention] = st.one_of(
    st.builds(Square, stage=stages, **shape_fields),
    st.builds(Circle, stage=stages, **shape_fields),
    st.builds(Tint, stage=stages, color=colors, strength=st.floats(0.01, 1.0)),
    st.builds(Blur, stage=stages, sigma=st.floats(0.01, 1.0)),
    st.builds(Grayscale, stage=stages),
    st.lists(declared, min_size=2, max_size=3).map(lambda steps: Composition(steps=tuple(steps))),
)


@settings(max_examples=60, deadline=None)
@given(staged)
def test_the_text_of_a_declaration_makes_it_again(intervention: Intervention) -> None:
    again = eval(repr(intervention), dict(PUBLIC))
    assert again == intervention
    assert hash(again) == hash(intervention)
    assert again.fingerprint == intervention.fingerprint
    assert again.label == intervention.label


@quick
@given(staged)
def test_a_declaration_survives_pickling(intervention: Intervention) -> None:
    again = pickle.loads(pickle.dumps(intervention))
    assert again == intervention
    assert again.fingerprint == intervention.fingerprint


# Few values, so that equal declarations are drawn often, in several spellings.
spellings: st.SearchStrategy[Intervention] = st.one_of(
    st.builds(
        Square,
        size=st.sampled_from([0.5, 1, 1.0]),
        anchor=st.sampled_from(["top", "left"]),
        color=st.sampled_from([(255, 0, 0), [255, 0, 0], "red", "RED", "#ff0000", "#FF0000", "blue"]),
        stage=stages,
    ),
    st.builds(Circle, size=st.sampled_from([0.5, 1, 1.0, np.float64(0.5)])),
    st.builds(Tint, strength=st.sampled_from([0.25, 1, 1.0])),
    st.builds(Blur, sigma=st.sampled_from([0.02, 0.25, 1, 1.0])),
    st.builds(Grayscale, stage=stages),
    st.builds(Custom, st.sampled_from([negative, noisy]), seed=st.integers(0, 1)),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(spellings, min_size=2, max_size=2), st.lists(spellings, min_size=1, max_size=2))
def test_fingerprints_are_equal_if_and_only_if_the_declarations_are(
    pair: list[Intervention], more: list[Intervention]
) -> None:
    one, other = pair
    assert (one.fingerprint == other.fingerprint) == (one == other)
    if one == other:
        assert hash(one) == hash(other)
    steps = (one, other, *more)
    if {step.stage for step in steps} == {"input"}:
        assert Composition(steps=steps).fingerprint != Composition(steps=steps[:2]).fingerprint


@pytest.mark.parametrize(
    ("whole", "decimal"),
    [
        (Square(size=1), Square(size=1.0)),
        (Circle(size=1), Circle(size=1.0)),
        (Tint(strength=1), Tint(strength=1.0)),
        (Blur(sigma=1), Blur(sigma=1.0)),
        (Square(size=np.float64(0.5)), Square(size=0.5)),
    ],
)
def test_equal_numbers_in_another_type_are_the_same_declaration(whole: Intervention, decimal: Intervention) -> None:
    assert whole == decimal
    assert repr(whole) == repr(decimal)
    assert whole.fingerprint == decimal.fingerprint


def test_types_with_the_same_fields_are_different_declarations() -> None:
    square: Intervention = Square()
    assert square != Circle()
    assert square.fingerprint != Circle().fingerprint
    assert len({square, Circle(), Square(size=0.25), Circle()}) == 2


def test_the_content_of_a_custom_function_is_part_of_its_fingerprint() -> None:
    def brighter(by: float) -> Custom:
        return Custom(lambda images: images + by, name="brighter")

    assert brighter(0.1).fingerprint == brighter(0.1).fingerprint
    assert brighter(0.1).fingerprint != brighter(0.2).fingerprint
    jitters = [Custom(v2.ColorJitter(brightness=value)).fingerprint for value in (0.1, 0.1, 0.2)]
    assert jitters[0] == jitters[1] != jitters[2]


@pytest.mark.parametrize(
    "intervention", [Square(), Circle(), Grayscale(), Blur(), Tint(), Custom(negative), Square() | Circle()]
)
def test_a_declaration_cannot_be_changed(intervention: Intervention) -> None:
    for field in dataclasses.fields(intervention):
        if field.init:
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(intervention, field.name, None)


def test_composition_is_associative() -> None:
    one, two, three = Grayscale(), Square(size=0.5), Blur()
    assert (one | two) | three == one | (two | three) == Composition(steps=(one, two, three))


def test_composition_with_something_else_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="unsupported operand"):
        Square() | negative


def test_steps_of_different_stages_do_not_compose() -> None:
    with pytest.raises(InterventionError, match=r"several stages.*give all of them the same stage="):
        Square() | Square(stage="source")


@pytest.mark.parametrize(
    ("intervention", "label"),
    [
        (Square(), "square"),
        (Square(size=0.5, color="red"), "square-0.5-ff0000"),
        (Circle(anchor="center", stage="source"), "circle-center-source"),
        (Tint(strength=0.1), "tint-0.1"),
        (Grayscale() | Circle(size=0.125), "grayscale+circle-0.125"),
        (Custom(negative), "negative"),
        (Custom(lambda images: images), "lambda"),
        (Custom(v2.ColorJitter()), "colorjitter"),
        (Custom(negative, name="inverted"), "inverted"),
    ],
)
def test_labels_say_the_type_and_what_is_not_default(intervention: Intervention, label: str) -> None:
    # The order of the fields is no part of the promise.
    assert sorted(intervention.label.split("-")) == sorted(label.split("-"))


def test_registered_names_resolve_and_describe_themselves() -> None:
    assert "yellow-square" in BUILT_IN.names
    for name in BUILT_IN.names:
        assert BUILT_IN.described(BUILT_IN.named(name)).startswith(f"{name} = ")
    assert BUILT_IN.described(Square(size=0.3)) == repr(Square(size=0.3))
    with pytest.raises(InterventionError, match="did you mean yellow-square"):
        BUILT_IN.named("yelow-square")


BAD: list[tuple[Callable[[], Intervention], str]] = [
    (lambda: Square(size=0), r"Square: size=0, expected a number above 0 and at most 1"),
    (lambda: Square(size=-0.5), r"Square: size=-0\.5"),
    (lambda: Square(size=1.5), r"Square: size=1\.5, expected a number above 0 and at most 1"),
    (lambda: Circle(size=math.nan), r"Circle: size=nan"),
    (lambda: Square(size=True), r"Square: size=True"),
    (lambda: Square(size="0.25"), r"Square: size='0\.25'"),  # type: ignore[arg-type]
    (lambda: Square(anchor="topleft"), r"anchor='topleft'; did you mean top-left\? Valid: .*bottom-right"),
    (lambda: Square(anchor=["top"]), r"Square: anchor=\['top'\]"),  # type: ignore[arg-type]
    (lambda: Square(anchor=None), r"Square: anchor=None"),  # type: ignore[arg-type]
    (lambda: Square(color="yelow"), r"color 'yelow'.*did you mean yellow\?"),
    (lambda: Square(color="#ff00"), r"color '#ff00': expected '#rrggbb'"),
    (lambda: Circle(color=(255, 255)), r"color \(255, 255\): expected three whole numbers from 0 to 255"),
    (lambda: Circle(color=(0, 0, 256)), r"color \(0, 0, 256\)"),
    (lambda: Circle(color=(0.0, 0.5, 1.0)), r"color \(0\.0, 0\.5, 1\.0\)"),  # type: ignore[arg-type]
    (lambda: Tint(color=(0, 0, -1)), r"color \(0, 0, -1\)"),
    (lambda: Tint(color=7), r"color 7"),  # type: ignore[arg-type]
    (lambda: Tint(strength=0), r"Tint: strength=0, expected"),
    (lambda: Tint(strength=1.01), r"Tint: strength=1\.01"),
    (lambda: Blur(sigma=0.0), r"Blur: sigma=0\.0, expected"),
    (lambda: Blur(sigma=2), r"Blur: sigma=2"),
    (lambda: Grayscale(stage="before"), r"Grayscale: stage='before', expected 'input' or 'source'"),  # type: ignore[arg-type]
    (lambda: Custom(3), r"Custom: got 3, expected a callable"),  # type: ignore[arg-type]
    (lambda: Custom(negative, name=3), r"Custom: name=3, expected a word"),  # type: ignore[arg-type]
    (lambda: Custom(negative, seed=-1), r"Custom: seed=-1, expected a whole number from 0 on"),
    (lambda: Custom(negative, seed=0.5), r"Custom: seed=0\.5"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("declare", "message"), BAD, ids=[message for _, message in BAD])
def test_a_wrong_declaration_says_the_field_the_value_and_what_was_expected(
    declare: Callable[[], Intervention], message: str
) -> None:
    with pytest.raises(InterventionError, match=message):
        declare()


def test_declaring_comparing_and_fingerprinting_needs_no_torch() -> None:
    code = (
        "import sys; from pytest_biastransfer import *\n"
        "from pytest_biastransfer.interventions import Square, Grayscale, Circle, BUILT_IN\n"
        "one = Grayscale() | Square(color='red')\n"
        "print(repr(one), one.label, one.fingerprint, hash(one), BUILT_IN.named('tennis-ball'))\n"
        "print(sorted({'numpy', 'torch', 'torchvision', 'PIL'} & sys.modules.keys()))"
    ).replace("from pytest_biastransfer import *", "import pytest_biastransfer")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


# ------------------------------------------------------------------------------------------- custom


class NumpySpeckle:
    """A callable object that draws from numpy's global generator."""

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        speckle = np.random.standard_normal(tuple(images.shape))
        return images + torch.from_numpy(speckle).to(images.dtype) / 10


def python_flip(images: torch.Tensor) -> torch.Tensor:
    return images.flip(-1) if random.random() < 0.5 else images


def all_three(images: torch.Tensor) -> torch.Tensor:
    return images * random.random() + np.random.random() * torch.rand(()) / 2


def in_place(images: torch.Tensor) -> torch.Tensor:
    return images.add_(torch.rand(1)).div_(2)


RANDOM: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "RandomErasing": v2.RandomErasing(p=1),
    "ColorJitter": v2.ColorJitter(brightness=0.5, contrast=0.5),
    "RandomHorizontalFlip": v2.RandomHorizontalFlip(),
    "RandomCrop": v2.RandomCrop((12, 10), padding=3),
    "GaussianNoise": v2.GaussianNoise(),
    "torch": noisy,
    "numpy": NumpySpeckle(),
    "random": python_flip,
    "all three": all_three,
    "in place": in_place,
}
random_functions = pytest.mark.parametrize("function", RANDOM.values(), ids=RANDOM.keys())
INDICES = [5, 0, 123456, 17, 3, 2, 999]


def some_images() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(5).random((len(INDICES), 3, 12, 10), dtype=np.float32))


def in_batches(intervention: Intervention, images: torch.Tensor, size: int) -> torch.Tensor:
    starts = range(0, len(images), size)
    return torch.cat([intervention.apply(images[i : i + size], INDICES[i : i + size]) for i in starts])


@random_functions
def test_a_random_function_gives_the_same_in_batches_of_any_size(
    function: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    images, custom = some_images(), Custom(function)
    together = custom.apply(images, INDICES)
    for size in (1, 2, 3):
        assert torch.equal(in_batches(custom, images, size), together)


@random_functions
def test_a_random_function_gives_the_same_in_any_order(
    function: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    images, custom = some_images(), Custom(function)
    together = custom.apply(images, INDICES)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(INDICES)).tolist()
        assert torch.equal(custom.apply(images[order], [INDICES[i] for i in order]), together[order])


@random_functions
def test_a_random_function_gives_the_same_for_any_layout_in_memory(
    function: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    images, custom = some_images(), Custom(function)
    expected = custom.apply(images, INDICES)
    for laid_out in other_layouts(images):
        torch.testing.assert_close(custom.apply(laid_out, INDICES), expected, rtol=0, atol=1e-6)


@random_functions
def test_random_numbers_depend_on_seed_and_index(function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    image = some_images()[:1]
    by_index = [Custom(function).apply(image, [index]) for index in range(12)]
    by_seed = [Custom(function, seed=seed).apply(image, [0]) for seed in range(12)]
    for drawn in (by_index, by_seed):
        assert len({one.numpy().tobytes() for one in drawn}) > 1


def random_states() -> tuple[bytes, object, str]:
    return (torch.get_rng_state().numpy().tobytes(), random.getstate(), str(np.random.get_state(legacy=False)))


@random_functions
def test_random_generators_of_the_session_are_left_as_they_were(
    function: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    # An odd number of normal draws leaves a second one in the generators' memory.
    random.gauss(0, 1), np.random.standard_normal(), torch.randn(1)
    before = random_states()
    Custom(function).apply(some_images())
    assert random_states() == before


def test_random_generators_are_left_as_they_were_after_an_error_too() -> None:
    def fails(images: torch.Tensor) -> torch.Tensor:
        all_three(images)
        raise ValueError("no")

    before = random_states()
    with pytest.raises(InterventionError):
        Custom(fails).apply(some_images())
    assert random_states() == before


def test_a_custom_function_on_the_cpu_looks_at_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    # As on a machine with several: to save the state of their generators would start each of them.
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert Custom(noisy).apply(some_images()).shape == some_images().shape


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_custom_function_on_the_cpu_does_not_start_the_gpu() -> None:
    code = (
        "import torch; from pytest_biastransfer import Custom\n"
        "Custom(lambda images: images + torch.rand(1)).apply(torch.zeros(2, 3, 4, 4))\n"
        "print(torch.cuda.is_initialized())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_a_function_without_random_numbers_is_called_once_for_a_whole_batch() -> None:
    shapes: list[tuple[int, ...]] = []

    def watched(images: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(images.shape))
        return negative(images)

    images = some_images()
    assert torch.equal(Custom(watched).apply(images), 1 - images)
    assert shapes == [(7, 3, 12, 10)]


def test_what_a_function_writes_into_its_argument_does_not_reach_the_images() -> None:
    images = some_images()
    before = images.clone()
    changed = Custom(lambda given_images: given_images.zero_()).apply(images)
    assert torch.equal(images, before)
    assert changed.max() == 0


def test_what_a_function_returns_is_clipped() -> None:
    images = some_images()
    changed = Custom(lambda given_images: given_images * 4 - 1).apply(images)
    assert torch.equal(changed, (images * 4 - 1).clamp(0, 1))


def tail_not_found(images: torch.Tensor) -> torch.Tensor:
    raise LookupError("no tail found")


def dog_filter(images: torch.Tensor) -> torch.Tensor:
    return tail_not_found(images)


@pytest.mark.parametrize(
    "intervention",
    [Custom(dog_filter, name="dog-filter"), Grayscale() | Custom(dog_filter, name="dog-filter")],
    ids=["alone", "composed"],
)
def test_an_error_in_a_function_carries_its_name_and_the_users_own_traceback(
    intervention: Intervention,
) -> None:
    with pytest.raises(InterventionError) as caught:
        intervention.apply(some_images())
    message = str(caught.value)
    assert re.search(r"\bdog-filter raised LookupError: no tail found", message)
    assert "[7, 3, 12, 10]" in message
    assert "return tail_not_found(images)" in message
    assert 'raise LookupError("no tail found")' in message
    assert __file__ in message
    assert "interventions/custom.py" not in message
    assert isinstance(caught.value.__cause__, LookupError)


def with_a_nan(images: torch.Tensor) -> torch.Tensor:
    images[-1, 0, 0, 0] = torch.nan
    return images


WRONG: list[tuple[Callable[[torch.Tensor], Any], str]] = [
    (lambda images: images[:, :1], r"returned shape \[7, 1, 12, 10\] for images of shape \[7, 3, 12, 10\]"),
    (lambda images: images[0], r"returned shape \[3, 12, 10\]"),
    (lambda images: images.double(), r"returned dtype torch\.float64 .*torch\.float32"),
    (lambda images: (images * 255).byte(), r"returned dtype torch\.uint8"),
    (lambda images: images.numpy(), r"returned ndarray, expected a torch\.Tensor"),
    (lambda images: None, r"returned NoneType, expected a torch\.Tensor"),
    (lambda images: images.to("meta"), r"returned device meta for images of device cpu"),
    (with_a_nan, r"returned NaN or infinite values"),
    (lambda images: images / 0.0, r"returned NaN or infinite values"),
]


@pytest.mark.parametrize(("function", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_function_that_returns_no_images_is_named_with_what_it_returned(
    function: Callable[[torch.Tensor], Any], message: str
) -> None:
    with pytest.raises(InterventionError, match=message) as caught:
        Custom(function, name="culprit").apply(some_images())
    assert "culprit" in str(caught.value)


def test_a_random_function_that_returns_no_tensor_is_named_too() -> None:
    def returns_nothing(images: torch.Tensor) -> Any:
        torch.rand(1)

    with pytest.raises(InterventionError, match=r"returned NoneType, expected a torch\.Tensor"):
        Custom(returns_nothing, name="culprit").apply(some_images())


def test_a_random_function_that_returns_images_of_random_sizes_is_named_too() -> None:
    def cut(images: torch.Tensor) -> torch.Tensor:
        return images[:, :, : random.randint(1, 11)]

    with pytest.raises(InterventionError, match=r"returned shape \[\d, 3, \d+, 10\]") as caught:
        Custom(cut, name="culprit").apply(some_images())
    assert "culprit" in str(caught.value)


def test_an_intervention_of_the_users_own_is_checked_like_ours() -> None:
    class Cropped(Intervention):
        def render(self, images: torch.Tensor, origin: BatchInfo) -> torch.Tensor:
            return images[:, :, 1:]

    with pytest.raises(InterventionError, match=r"Cropped\(\) returned shape \[7, 3, 11, 10\]"):
        Cropped().apply(some_images())
