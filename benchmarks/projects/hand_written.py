"""The same four tests as they would be written without a plugin."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from resnet20 import ResNet20  # type: ignore[import-not-found]
from safetensors.torch import load_file
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MAX_FLIP_RATE = 1.0

Intervention = Callable[[torch.Tensor], torch.Tensor]


@pytest.fixture(scope="session")
def model() -> torch.nn.Module:
    """Return the model under test."""
    module: torch.nn.Module = ResNet20()
    module.load_state_dict(load_file(Path(os.environ["BENCHMARK_WEIGHTS"])))
    return module.eval()


def yellow_square(images: torch.Tensor) -> torch.Tensor:
    """Put a yellow square of a quarter of the side into the top left corner."""
    side = images.shape[-1] // 4
    images = images.clone()
    images[:, :, :side, :side] = torch.tensor([1.0, 1.0, 0.0]).reshape(1, 3, 1, 1)
    return images


def disc(images: torch.Tensor, size: float, top: float, left: float) -> torch.Tensor:
    """Put a yellow-green disc of a share of the side at a share of the free space from the top and the left."""
    side = images.shape[-1]
    extent = round(size * side)
    offset = torch.arange(extent) - (extent - 1) / 2
    inside = offset[:, None] ** 2 + offset[None, :] ** 2 <= (extent / 2) ** 2
    row, column = int(top * (side - extent)), int(left * (side - extent))
    color = torch.tensor([0xCC, 0xFF, 0x00]).reshape(1, 3, 1, 1) / 255
    images = images.clone()
    region = images[:, :, row : row + extent, column : column + extent]
    region.copy_(torch.where(inside, color, region))
    return images


def tennis_ball(images: torch.Tensor) -> torch.Tensor:
    """Put a large disc into the middle."""
    return disc(images, size=0.5, top=0.5, left=0.5)


def ball_in_the_corner(images: torch.Tensor) -> torch.Tensor:
    """Put a smaller disc into the bottom right corner."""
    return disc(images, size=0.3, top=1, left=1)


grayscale = v2.Grayscale(num_output_channels=3)


@pytest.mark.parametrize("intervention", [yellow_square, tennis_ball, grayscale, ball_in_the_corner])
def test_flip_rate(model: torch.nn.Module, intervention: Intervention) -> None:
    """Compare the predicted classes with and without the intervention."""
    to_float = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    dataset = ImageFolder(os.environ["BENCHMARK_IMAGES"], transform=to_float)
    normalize = v2.Normalize(MEAN, STD)
    flips = 0
    with torch.inference_mode():
        for images, _ in DataLoader(dataset, batch_size=64, num_workers=0):
            clean = model(normalize(images)).argmax(dim=1)
            intervened = model(normalize(intervention(images))).argmax(dim=1)
            flips += int((clean != intervened).sum())
    assert flips / len(dataset) <= MAX_FLIP_RATE
