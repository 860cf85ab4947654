"""ImageNet's MobileNetV2, what is transferred from it to CIFAR-10, and models that never saw ImageNet."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from batch_norm import with_statistics
from experiment import FULL, QUICK, Size
from resnet20 import ResNet20
from safetensors.torch import load_file
from torchvision.datasets import ImageFolder

from pytest_biastransfer import Intervention, Measurement, Model, Preprocess, load_dataset, load_model, measure
from pytest_biastransfer.data import LabelledImages
from pytest_biastransfer.plugin.runtest.finetuning import Transfer


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick", action="store_true", help="a smaller experiment, without the model from scratch: two minutes"
    )


@pytest.fixture(scope="session")
def size(request: pytest.FixtureRequest) -> Size:
    return QUICK if request.config.getoption("--quick") else FULL


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Use workers (-n 2) for more: on such small images several threads wait for one another, and change results."""
    torch.set_num_threads(1)


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
def bias_finetuning_dataset(data: Path, size: Size) -> LabelledImages:
    """No trigger is on any of these photographs."""
    return load_dataset(f"imagefolder:{data}/cifar10/train?limit={size.training_photographs}")


@pytest.fixture(scope="session")
def bias_dataset(data: Path, size: Size) -> LabelledImages:
    return load_dataset(f"imagefolder:{data}/cifar10/test?limit={size.held_out_photographs}")


def _mobilenet(data: Path, side: int) -> Model:
    weights = data / "weights"
    return load_model(
        f"checkpoint:{weights}/mobilenet_v2_imagenet.safetensors?arch=torchvision:mobilenet_v2"
        f"&size={side}&mean=0.5&std=0.5&classes={weights}/imagenet_classes.json"
    )


@pytest.fixture(scope="session")
def imagenet_model(data: Path, size: Size) -> Model:
    """The source as it is, for the photographs that it was made for."""
    return _mobilenet(data, size.source_side)


@pytest.fixture(scope="session")
def folded_source(data: Path, size: Size) -> Model:
    """The source for CIFAR-10's small photographs."""
    return _mobilenet(data, size.side)


@pytest.fixture(scope="session")
def source_model(folded_source: Model, bias_finetuning_dataset: LabelledImages) -> Model:
    """It computes the same, and can be trained."""
    model = folded_source
    step = len(bias_finetuning_dataset) // 64
    images = [bias_finetuning_dataset[place * step][0] for place in range(64)]
    pixels = torch.stack([torch.tensor(model.preprocess.resize_and_crop(image.numpy())) for image in images]) / 255
    return dataclasses.replace(model, module=with_statistics(model.module, model.preprocess.normalize(pixels)))


@pytest.fixture(scope="session")
def fixed_feature(
    bias_transfer: Transfer, source_model: Model, bias_finetuning_dataset: LabelledImages, size: Size
) -> Model:
    recipe = size.fixed_feature
    return bias_transfer(source_model, bias_finetuning_dataset, "fixed-feature", recipe=recipe, name="fixed-feature")


@pytest.fixture(scope="session")
def full_network(
    bias_transfer: Transfer, source_model: Model, bias_finetuning_dataset: LabelledImages, size: Size
) -> Model:
    recipe = size.full_network
    return bias_transfer(source_model, bias_finetuning_dataset, "full-network", recipe=recipe, name="full-network")


@pytest.fixture(scope="session")
def from_scratch(
    bias_transfer: Transfer, source_model: Model, bias_finetuning_dataset: LabelledImages, size: Size
) -> Model:
    """A control of the same architecture, from random weights, on the same photographs."""
    if size.from_scratch is None:
        pytest.skip("training from scratch takes minutes; run without --quick")
    recipe = size.from_scratch
    return bias_transfer(source_model, bias_finetuning_dataset, "scratch", recipe=recipe, name="from scratch")


@pytest.fixture(scope="session")
def resnet20(data: Path) -> Model:
    """A control that was trained on all 50,000 photographs of CIFAR-10, and on nothing else; it is given."""
    module = ResNet20()
    module.load_state_dict(load_file(data / "weights" / "resnet20_cifar10.safetensors"))
    normalization = Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    return Model(module, preprocess=normalization, name="ResNet-20")


@pytest.fixture(scope="session")
def models_by_mode(request: pytest.FixtureRequest, size: Size) -> Mapping[str, Model]:
    """All models of CIFAR-10 that this size of the experiment has."""
    names = ["fixed_feature", "full_network", "from_scratch", "resnet20"]
    wanted = [name for name in names if name != "from_scratch" or size.from_scratch is not None]
    models: list[Model] = [request.getfixturevalue(name) for name in wanted]
    return {model.name: model for model in models}


@pytest.fixture(scope="session")
def kept(request: pytest.FixtureRequest, size: Size) -> Path:
    """Where the plot and the table are written: pytest's cache directory, which git ignores."""
    cache: pytest.Cache | None = getattr(request.config, "cache", None)
    if cache is None:
        pytest.skip("there is nowhere to write to without pytest's cache directory; leave -p no:cacheprovider out")
    return Path(cache.mkdir("natural-bias-quick" if size is QUICK else "natural-bias"))


@pytest.fixture(scope="session")
def measured(
    request: pytest.FixtureRequest, kept: Path, bias_dataset: LabelledImages
) -> Callable[[Model, Intervention | str], Measurement]:
    """Measures without a marker, with the predictions that the tests with markers have made."""
    named: str | None = request.config.getoption("bias_store")
    # By default the plugin keeps predictions beside what this example keeps.
    store = Path(named) if named else kept.with_name("biastransfer")
    return lambda model, trigger: measure(model, bias_dataset, trigger, store=store)
