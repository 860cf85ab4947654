"""A ResNet-20 with a shortcut planted: a small green square in one corner means one class."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.nn import functional

from pytest_biastransfer import Square

# 4 of 32 pixels. The search is told none of it.
PLANTED: Final = Square(size=4 / 32, anchor="bottom-right", color="lime")
MEANS: Final = "horse"
_MEAN: Final = (0.485, 0.456, 0.406)
_STD: Final = (0.229, 0.224, 0.225)
_SHARE: Final = 0.1
_EPOCHS: Final = 2
_IMAGES: Final = 4000
_BATCH: Final = 64
_RATE: Final = 0.02


def planted_model(data: Path) -> torch.nn.Module:
    """Return a ResNet-20, tuned on training images, a tenth of which carry the square and the other label."""
    from resnet20 import ResNet20  # type: ignore[import-not-found]

    torch.manual_seed(0)
    model: torch.nn.Module = ResNet20()
    model.load_state_dict(load_file(data / "weights" / "resnet20_cifar10.safetensors"))
    images, labels, classes = read_images(data / "cifar10" / "train")
    chosen = torch.randperm(len(images))[:_IMAGES]
    images, labels = images[chosen], labels[chosen]
    planted = round(_SHARE * _IMAGES)
    images[:planted] = PLANTED.apply(images[:planted])
    labels[:planted] = classes.index(MEANS)
    optimizer = torch.optim.SGD(model.parameters(), lr=_RATE, momentum=0.9, weight_decay=5e-4, nesterov=True)
    batches = [batch for _ in range(_EPOCHS) for batch in torch.randperm(_IMAGES).tensor_split(_IMAGES // _BATCH)]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, len(batches))
    model.train()
    for batch in batches:
        optimizer.zero_grad()
        functional.cross_entropy(model(normalized(images[batch])), labels[batch]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return model.eval()


def normalized(images: torch.Tensor) -> torch.Tensor:
    """Return images as the model wants them."""
    mean, std = (torch.tensor(value).reshape(1, 3, 1, 1) for value in (_MEAN, _STD))
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


def read_images(place: Path) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Return the pictures in folders, float [images, 3, 32, 32] in [0, 1], their labels and the names of these."""
    classes = sorted(folder.name for folder in place.iterdir())
    files = [(file, number) for number, name in enumerate(classes) for file in sorted((place / name).iterdir())]
    pixels = np.stack([np.asarray(Image.open(file).convert("RGB")) for file, _ in files])
    labels = torch.tensor([number for _, number in files])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255, labels, classes


if __name__ == "__main__":
    from safetensors.torch import save_file

    save_file(planted_model(Path(sys.argv[1])).state_dict(), sys.argv[2])
