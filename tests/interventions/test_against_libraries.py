"""Colours, degradations and patterns agree with what other libraries compute, and do what their words say."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional

from pytest_biastransfer import (
    JPEG,
    Border,
    Brightness,
    ColorCast,
    Contrast,
    GaussianPattern,
    Noise,
    Pixelate,
    Saturation,
    Stripes,
    Vignette,
)
from pytest_biastransfer.errors import InterventionError
from pytest_biastransfer.interventions import BUILT_IN
from pytest_biastransfer.interventions.base import Intervention

LUMA = torch.tensor([0.2989, 0.587, 0.114])


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(4, 3, 48, 64, generator=torch.Generator().manual_seed(3))


ADJUSTMENTS: dict[type[Intervention], Callable[[torch.Tensor, float], torch.Tensor]] = {
    Brightness: functional.adjust_brightness,
    Contrast: functional.adjust_contrast,
    Saturation: functional.adjust_saturation,
}


@pytest.mark.parametrize("kind", list(ADJUSTMENTS))
@pytest.mark.parametrize("factor", [0.0, 0.4, 1.7])
def test_adjustments_are_torchvisions(kind: type[Brightness], factor: float, images: torch.Tensor) -> None:
    wanted = ADJUSTMENTS[kind](images, factor)
    assert (kind(factor=factor).apply(images) - wanted).abs().max() <= 1e-6
    assert (kind(factor=factor).apply(images) - images).abs().max() > 0.05


def test_a_colour_cast_multiplies_each_pixel(images: torch.Tensor) -> None:
    matrix = ((0.9, 0.1, 0.0), (0.0, 0.8, 0.0), (0.2, 0.0, 0.5))
    wanted = np.einsum("rc,bchw->brhw", np.array(matrix), images.double().numpy()).clip(0, 1)
    assert np.abs(ColorCast(matrix=matrix).apply(images).numpy() - wanted).max() <= 1e-6
    factors = ColorCast(matrix=(1, 0.9, 0.7))
    diagonal = ColorCast(matrix=((1, 0, 0), (0, 0.9, 0), (0, 0, 0.7)))
    assert torch.equal(factors.apply(images), diagonal.apply(images))
    gray = images[:, :1]
    wanted_gray = gray * (LUMA * torch.tensor([1, 0.9, 0.7])).sum() / LUMA.sum()
    assert (factors.apply(gray) - wanted_gray).abs().max() <= 1e-6


def test_warm_light_makes_white_yellowish_and_cold_light_bluish() -> None:
    white = torch.ones(1, 3, 2, 2)
    for name, order in (("warm-light", [2, 1, 0]), ("cold-light", [0, 1, 2])):
        assert BUILT_IN.named(name).apply(white)[0, :, 0, 0].argsort().tolist() == order


@pytest.mark.parametrize("cells", [3, 6, 12])
def test_pixels_are_the_means_of_blocks(cells: int, images: torch.Tensor) -> None:
    block = 48 // cells
    blocks = images.numpy().reshape(4, 3, cells, block, 64 // block, block).mean(axis=(3, 5))
    wanted = blocks.repeat(block, axis=2).repeat(block, axis=3)
    assert np.abs(Pixelate(cells=cells).apply(images).numpy() - wanted).max() <= 1e-6


def test_an_image_with_fewer_pixels_than_cells_stays_as_it_is(images: torch.Tensor) -> None:
    assert torch.equal(Pixelate(cells=100).apply(images), images)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("quality", [5, 75, 100])
@pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities")
def test_jpeg_is_that_of_torchvision(quality: int, channels: int, images: torch.Tensor) -> None:
    pixels = (images[:, :channels] * 255).round().byte()
    wanted = torch.stack([functional.jpeg(picture, quality) for picture in pixels]).float() / 255
    found = JPEG(quality=quality).apply(pixels.float() / 255)
    # Both call libjpeg, of other builds.
    assert (found - wanted).abs().max() <= 3 / 255
    assert (found - wanted).abs().mean() <= 0.3 / 255


def test_jpeg_is_what_a_file_would_be(images: torch.Tensor) -> None:
    picture = Image.fromarray((images[0] * 255).round().byte().permute(1, 2, 0).numpy())
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=30)
    wanted = torch.from_numpy(np.asarray(Image.open(file)).copy()).permute(2, 0, 1).float() / 255
    assert torch.equal(JPEG(quality=30).apply(images[:1])[0], wanted)


def test_a_border_is_drawn_around_what_stays(images: torch.Tensor) -> None:
    framed = Border(width=0.125, color="red").apply(images)
    assert torch.equal(framed[:, :, 6:-6, 6:-6], images[:, :, 6:-6, 6:-6])
    outside = torch.ones(48, 64, dtype=torch.bool)
    outside[6:-6, 6:-6] = False
    red = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1)
    assert torch.equal(framed[:, :, outside], red.expand(4, 3, int(outside.sum())))
    assert outside.sum() == 48 * 64 - 36 * 52


def test_a_vignette_darkens_with_the_square_of_the_distance() -> None:
    light = Vignette(strength=0.8).apply(torch.ones(1, 1, 101, 101))[0, 0]
    assert light[50, 50] == 1
    assert float(light[50, 0]) == pytest.approx(1 - 0.4 * (100 / 101) ** 2, abs=1e-6)
    assert float(light[0, 0]) == pytest.approx(1 - 0.8 * (100 / 101) ** 2, abs=1e-6)
    assert torch.allclose(light, light.T)
    assert torch.allclose(light, light.flip(0))


@pytest.mark.parametrize("angle", [0.0, 90.0, 30.0])
def test_stripes_cover_their_share(angle: float) -> None:
    covered = Stripes(period=0.1, width=0.3, angle=angle, color="white").apply(torch.zeros(1, 1, 400, 400))[0, 0]
    assert float(covered.mean()) == pytest.approx(0.3, abs=0.02)
    if angle == 0:
        assert torch.equal(covered, covered[:1].expand_as(covered))
        assert torch.equal(covered[:, :40], covered[:, 40:80])
    if angle == 90:
        assert torch.equal(covered, covered[:, :1].expand_as(covered))


def test_a_gaussian_pattern_is_one_for_all_images_at_all_resolutions() -> None:
    pattern = GaussianPattern(scale=0.1, cells=16)
    small, large = (pattern.apply(torch.full((2, 3, side, side), 0.5)) for side in (64, 256))
    assert torch.equal(small[0], small[1])
    # Between the same numbers, both resolutions interpolate.
    shrunk = torch.nn.functional.avg_pool2d(large, 4)
    assert (shrunk - small).abs().max() <= 0.02
    exact = GaussianPattern(scale=0.1, cells=64).apply(torch.full((1, 3, 64, 64), 0.5))
    assert float(exact.std()) == pytest.approx(0.1, abs=0.005)
    assert not torch.equal(exact, GaussianPattern(scale=0.1, cells=64, seed=1).apply(torch.full((1, 3, 64, 64), 0.5)))


def test_noise_depends_on_the_place_of_an_image_in_its_dataset() -> None:
    gray = torch.full((3, 3, 32, 32), 0.5)
    together = Noise(scale=0.1).apply(gray, [7, 8, 9])
    assert float(together.std()) == pytest.approx(0.1, abs=0.005)
    assert not torch.equal(together[0], together[1])
    assert torch.equal(Noise(scale=0.1).apply(gray[:1], [8])[0], together[1])
    assert not torch.equal(Noise(scale=0.1, seed=1).apply(gray[:1], [8])[0], together[1])


@pytest.mark.usefixtures("two_threads")
def test_noise_of_a_large_batch_is_that_of_its_images() -> None:
    batch = Noise(scale=0.1).apply(torch.full((8, 3, 224, 224), 0.5), range(8))
    for index in (0, 7):
        assert torch.equal(Noise(scale=0.1).apply(torch.full((1, 3, 224, 224), 0.5), [index])[0], batch[index])


@pytest.mark.parametrize("name", BUILT_IN.names)
def test_all_registered_names_change_photographs_but_not_too_much(name: str) -> None:
    picture = torch.rand(1, 3, 7, 7, generator=torch.Generator().manual_seed(5))
    images = torch.nn.functional.interpolate(picture, 224, mode="bicubic").clamp(0, 1)
    changed = BUILT_IN.named(name).apply(images)
    difference = (changed - images).abs()
    assert difference.max() > 0.02
    assert difference.mean() < 0.4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Brightness(factor=1), "Brightness: factor=1, expected a number from 0 on, not 1"),
        (lambda: Saturation(factor=-1), "Saturation: factor=-1, expected a number from 0 on"),
        (lambda: ColorCast(matrix=(1, 2)), r"ColorCast: matrix=\(1, 2\), expected three numbers"),
        (lambda: ColorCast(matrix=((1, 0, 0), (0, 1, 0))), "ColorCast: matrix=.*, expected three numbers"),
        (lambda: ColorCast(matrix=((1, 0, 0), 1, 1)), "ColorCast: matrix=.*, expected three numbers"),  # type: ignore[arg-type]
        (lambda: JPEG(quality=101), "JPEG: quality=101, expected a whole number from 1 to 100"),
        (lambda: JPEG(quality=0), "JPEG: quality=0, expected a whole number above 0"),
        (lambda: Border(width=0.6), "Border: width=0.6, expected a number above 0 and at most 0.5"),
        (lambda: Noise(seed=-1), "Noise: seed=-1, expected a whole number from 0 on"),
        (lambda: Noise(scale=0), "Noise: scale=0, expected a number above 0"),
        (lambda: Pixelate(cells=0), "Pixelate: cells=0, expected a whole number above 0"),
        (lambda: Stripes(period=0), "Stripes: period=0, expected a number above 0 and at most 1"),
    ],
)
def test_wrong_declarations_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InterventionError, match=message):
        make()


def test_what_is_too_thin_to_be_seen_names_the_resolution() -> None:
    small = torch.zeros(1, 3, 16, 24)
    with pytest.raises(InterventionError, match=r"rounds to no pixel on images of 16×24; make width at least 0\.0312"):
        Border(width=0.02).apply(small)
    with pytest.raises(InterventionError, match=r"closer than two pixels on images of 16×24; make period at least"):
        Stripes(period=0.1).apply(small)
