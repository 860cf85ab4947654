"""Real photographs, real ImageNet weights, and a model that was transferred from them to CIFAR-10."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from linear_head import with_linear_head
from resnet20 import ResNet20
from safetensors.torch import load_file, save_model
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from pytest_biastransfer import Model, Preprocess, load_dataset, load_model

HERE = Path(__file__).parent
SIDE = 128
HALF = Preprocess(size=SIDE, mean=0.5, std=0.5)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder with cifar10/, imagenet_sample/ and weights/."""
    folder = os.environ.get("BIASTRANSFER_DATA")
    if folder is None:
        pytest.skip("set BIASTRANSFER_DATA to the folder that has cifar10/, imagenet_sample/ and weights/")
    return Path(folder).resolve()


class ImageNetSample(ImageFolder):  # type: ignore[misc]
    """Photographs of every fourth ImageNet class; a folder's name is the number of its class and the class' name."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        # Labels are matched with a model's classes by name.
        folders: list[str] = sorted(path.name for path in directory.iterdir())
        self.classes = [folder.partition("_")[2] for folder in folders]
        self.class_to_idx = {name: label for label, name in enumerate(self.classes)}


@pytest.fixture(scope="session")
def imagenet_sample(data: Path) -> ImageNetSample:
    return ImageNetSample(data / "imagenet_sample")


@pytest.fixture(scope="session")
def source_model(data: Path) -> Model:
    weights = data / "weights"
    return load_model(
        f"checkpoint:{weights}/mobilenet_v2_imagenet.safetensors?arch=torchvision:mobilenet_v2"
        f"&crop=224&mean=0.5&std=0.5&classes={weights}/imagenet_classes.json"
    )


@pytest.fixture(scope="session")
def transferred_model(request: pytest.FixtureRequest, data: Path, source_model: Model) -> Model:
    """A linear head for CIFAR-10 on the frozen ImageNet features, fitted to 5,000 of its training images.

    The fitted model is kept in pytest's cache directory, so that a second run fits nothing.
    """
    source = dataclasses.replace(source_model, preprocess=HALF)
    code = hashlib.sha256((HERE / "linear_head.py").read_bytes() + torch.__version__.encode()).hexdigest()[:16]
    kept = Path(request.config.cache.mkdir("imagenet-to-cifar10")) / f"{code}.safetensors"
    train = ImageFolder(data / "cifar10" / "train", transform=v2.Compose([v2.Resize(SIDE), v2.ToImage(), SCALE]))
    half: Any = torch.utils.data.Subset(train, range(0, len(train), 2))
    if kept.exists():
        module = with_linear_head(source, [half[0]], classes=10)
        module.load_state_dict(load_file(kept))
    else:
        module = with_linear_head(source, half, classes=10)
        save_model(module, str(kept.with_suffix(".part")))
        kept.with_suffix(".part").replace(kept)
    return Model(module, preprocess=HALF, classes=train.classes, name="MobileNetV2, linear head")


SCALE = v2.ToDtype(torch.float32, scale=True)


@pytest.fixture(scope="session")
def control_model(data: Path) -> Model:
    """A model of the same task that never saw ImageNet."""
    module = ResNet20()
    module.load_state_dict(load_file(data / "weights" / "resnet20_cifar10.safetensors"))
    normalization = Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    return Model(module, preprocess=normalization, name="ResNet-20")


@pytest.fixture(scope="session")
def bias_dataset(data: Path) -> Any:
    return load_dataset(f"imagefolder:{data}/cifar10/test")
