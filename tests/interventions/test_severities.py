"""The severities of ImageNet-C, against what its corruptions are defined by, on images of 224 pixels."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from scipy import ndimage

from pytest_biastransfer import severities
from pytest_biastransfer.errors import InterventionError

Pixels = npt.NDArray[np.uint8]
SIDE = 224


@pytest.fixture(scope="module")
def picture() -> Pixels:
    """Return a picture with edges and with smooth areas."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (7, 7, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)).copy()
    smooth[60:120, 40:150] = (255, 200, 0)
    return smooth


def corrupted(corruption: str, picture: Pixels) -> list[npt.NDArray[np.float64]]:
    """Return the picture at the five severities, in units of 0 to 255."""
    images = torch.from_numpy(picture).permute(2, 0, 1)[None].double() / 255
    steps = severities(corruption).steps
    return [(step.apply(images)[0].permute(1, 2, 0) * 255).numpy() for step in steps]


def test_a_jpeg_is_that_of_pillow(picture: Pixels) -> None:
    for quality, ours in zip((25, 18, 15, 10, 7), corrupted("jpeg_compression", picture), strict=True):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=quality)
        np.testing.assert_allclose(ours, np.asarray(Image.open(file)), atol=1e-9)


def test_a_blur_is_that_of_pixels_away_from_the_border(picture: Pixels) -> None:
    for sigma, ours in zip((1, 2, 3, 4, 6), corrupted("gaussian_blur", picture), strict=True):
        theirs = ndimage.gaussian_filter(picture.astype(np.float64), (sigma, sigma, 0), mode="nearest", truncate=4)
        inner = np.s_[4 * sigma : -4 * sigma, 4 * sigma : -4 * sigma]
        # Their kernel ends at four standard deviations, ours at three.
        assert np.abs(ours - theirs)[inner].max() < 0.3
        assert np.abs(ours - theirs).max() < 3


def test_a_coarse_picture_is_that_of_box_filters(picture: Pixels) -> None:
    box = Image.Resampling.BOX
    for share, ours in zip((0.6, 0.5, 0.4, 0.3, 0.25), corrupted("pixelate", picture), strict=True):
        cells = int(SIDE * share)
        theirs = np.asarray(Image.fromarray(picture).resize((cells, cells), box).resize((SIDE, SIDE), box))
        difference = np.abs(ours - theirs)
        # Where blocks are no whole number of pixels, the two disagree about to which block a pixel on an edge belongs.
        if SIDE % cells == 0:
            assert difference.max() <= 1.0001
        assert (difference > 3).mean() < 0.07


def test_noise_has_the_standard_deviations() -> None:
    gray = np.full((SIDE, SIDE, 3), 128, dtype=np.uint8)
    for scale, ours in zip((0.08, 0.12, 0.18, 0.26, 0.38), corrupted("gaussian_noise", gray), strict=True):
        theirs = np.clip(gray / 255 + np.random.default_rng(0).normal(size=gray.shape, scale=scale), 0, 1) * 255
        assert ours.std() == pytest.approx(theirs.std(), rel=0.01)
        assert ours.mean() == pytest.approx(theirs.mean(), abs=1)


def test_another_corruption_is_an_error() -> None:
    with pytest.raises(InterventionError, match="severities: no corruption 'pixelat' here; did you mean pixelate"):
        severities("pixelat")
