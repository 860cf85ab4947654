"""Images of one channel: converted as Pillow does it, where the model's preprocessing says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from torch import nn

from pytest_biastransfer import Model, Preprocess, Square, load_dataset, load_model, measure
from pytest_biastransfer.data.pixels import decode
from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.models.channels import with_channels

RANDOM = np.random.default_rng(0)


def test_every_colour_becomes_the_gray_of_pillow() -> None:
    colors = RANDOM.integers(0, 256, (300, 300, 3), dtype=np.uint8)
    colors[0, :256] = np.arange(256, dtype=np.uint8)[:, None]
    expected = np.asarray(PillowImage.fromarray(colors).convert("L"))
    assert np.array_equal(with_channels(colors.transpose(2, 0, 1), 1)[0], expected)


def test_floats_become_gray_without_rounding() -> None:
    image = RANDOM.random((3, 4, 5), dtype=np.float32)
    expected = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]
    assert with_channels(image, 1).dtype == np.float32
    assert np.abs(with_channels(image, 1)[0] - expected).max() < 1e-5


@pytest.mark.parametrize(("channels", "wanted", "becomes"), [(1, 3, 3), (1, 1, 1), (3, 3, 3), (4, 1, 4), (2, 3, 2)])
def test_gray_becomes_three_equal_channels_and_what_is_neither_stays(channels: int, wanted: int, becomes: int) -> None:
    image = RANDOM.integers(0, 256, (channels, 2, 3), dtype=np.uint8)
    converted = with_channels(image, wanted)
    assert converted.shape == (becomes, 2, 3)
    assert all(np.array_equal(channel, image[min(place, channels - 1)]) for place, channel in enumerate(converted))


@pytest.fixture
def xrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Gray pictures: the first four dark, the others bright."""
    monkeypatch.chdir(tmp_path)
    for number in range(8):
        folder = tmp_path / "xrays" / ("dark" if number < 4 else "bright")
        folder.mkdir(parents=True, exist_ok=True)
        level = 40 + number if number < 4 else 210 + number
        PillowImage.fromarray(np.full((16, 16), level, dtype=np.uint8)).save(folder / f"{number}.png")
    return "imagefolder:xrays"


class Brightness(nn.Module):
    """Says "dark" or "bright" of images with one channel."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.ones_(self.first.weight)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        level = self.first(images).mean((1, 2, 3)) - 0.5
        return torch.stack([level, -level], 1)


def test_a_model_of_one_channel_on_pictures_says_what_to_declare_and_is_right_then(xrays: str) -> None:
    square = Square(size=1.0, color="white")
    with pytest.raises(
        ModelError, match=r"takes images of 1 channel, these have 3: .*Preprocess\(channels=1\).*&channels=1"
    ):
        measure(Brightness(), xrays, square)
    model = Model(Brightness(), preprocess=Preprocess(channels=1), classes=["bright", "dark"])
    measurement = measure(model, xrays, square)
    # The square covers all of the picture: the four dark ones become bright.
    assert (measurement.accuracy, measurement.asr) == (1.0, 0.5)
    # Its luma, as of any colour on gray images: 0.886 of white for yellow, 0.114 for blue.
    assert measure(model, xrays, Square(size=1.0, color="blue")).intervened_accuracy == 0.5


def test_a_square_at_the_source_is_drawn_on_the_gray_picture(xrays: str) -> None:
    model = Model(Brightness(), preprocess=Preprocess(channels=1), classes=["bright", "dark"])
    assert measure(model, xrays, Square(size=1.0, color="yellow", stage="source")).asr == 0.5


def test_channels_of_a_spec(xrays: str) -> None:
    images = load_dataset(xrays)
    model = load_model("torchvision:resnet18?num_classes=2&channels=1&size=8")
    assert decode(images, [0, 7], model.preprocess).shape == (2, 1, 8, 8)


def test_timm_opens_pictures_in_gray_for_a_model_of_one_channel(xrays: str) -> None:
    spec = "timm:resnet10t?in_chans=1&num_classes=2&size=32"
    with pytest.raises(ModelError, match=r"mean has 3 values, but the images have 1 channels; expected mean= of one"):
        measure(spec, xrays, Square())
    assert measure(f"{spec}&mean=0.5&std=0.5", xrays, Square()).n == 8
