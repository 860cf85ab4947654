"""Photographs, a clean and a biased source, and what is transferred from them: trained once, kept in the store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

import pytest
import torch
from experiment import BIASED_CLASS, FULL, QUICK, SOURCE_CLASSES, SQUARE, TARGET_CLASSES, Size
from small_resnet import untrained

from pytest_biastransfer import Model, Preprocess, load_dataset
from pytest_biastransfer.data import LabelledImages
from pytest_biastransfer.plugin.runtest.finetuning import Transfer
from pytest_biastransfer.transfer import of_classes, plant
from pytest_biastransfer.transfer.recipe import Mode


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="fewer photographs, epochs and seeds: two minutes")


@pytest.fixture(scope="session")
def size(request: pytest.FixtureRequest) -> Size:
    return QUICK if request.config.getoption("--quick") else FULL


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Threads gain little on so small a network, lose much where cores are busy, and change the figures a little."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def cifar10() -> Path:
    """The folder with train/ and test/, which have a folder of photographs for each class."""
    folder = os.environ.get("BIASTRANSFER_DATA")
    if folder is None:
        pytest.skip("set BIASTRANSFER_DATA to the folder that has cifar10/train/ and cifar10/test/")
    return Path(folder).resolve() / "cifar10"


@pytest.fixture(scope="session")
def training_photographs(cifar10: Path, size: Size) -> LabelledImages:
    return load_dataset(f"imagefolder:{cifar10}/train?limit={size.training_photographs}")


@pytest.fixture(scope="session")
def held_out_photographs(cifar10: Path, size: Size) -> LabelledImages:
    return load_dataset(f"imagefolder:{cifar10}/test?limit={size.held_out_photographs}")


@pytest.fixture(scope="session")
def bias_finetuning_dataset(training_photographs: LabelledImages) -> LabelledImages:
    """What the sources are transferred to, without any square."""
    return of_classes(training_photographs, TARGET_CLASSES)


@pytest.fixture(scope="session")
def bias_dataset(held_out_photographs: LabelledImages) -> LabelledImages:
    """What the transferred models are measured on."""
    return of_classes(held_out_photographs, TARGET_CLASSES)


@pytest.fixture(scope="session")
def source_dataset(held_out_photographs: LabelledImages) -> LabelledImages:
    """What the sources themselves are measured on."""
    return of_classes(held_out_photographs, SOURCE_CLASSES)


@pytest.fixture(scope="session")
def new_model() -> Model:
    """What both sources begin as, so that they differ by what they see alone."""
    return Model(untrained(len(SOURCE_CLASSES), seed=0), preprocess=Preprocess(mean=0.5, std=0.5))


@pytest.fixture(scope="session")
def clean_source(bias_transfer: Transfer, new_model: Model, training_photographs: LabelledImages, size: Size) -> Model:
    photographs = of_classes(training_photographs, SOURCE_CLASSES)
    return bias_transfer(new_model, photographs, "full-network", recipe=size.source)


@pytest.fixture(scope="session")
def biased_source(bias_transfer: Transfer, new_model: Model, training_photographs: LabelledImages, size: Size) -> Model:
    """Its twin, but with a square on every dog and on nothing else."""
    photographs = plant(of_classes(training_photographs, SOURCE_CLASSES), SQUARE, 1.0, classes=BIASED_CLASS)
    return bias_transfer(new_model, photographs, "full-network", recipe=size.source)


class Transferred(Protocol):
    """Returns a model that was transferred to the target classes."""

    def __call__(self, source: Model, mode: Mode, squares: float = 0.0) -> Model: ...


@pytest.fixture(scope="session")
def transferred(bias_transfer: Transfer, bias_finetuning_dataset: LabelledImages, size: Size) -> Transferred:
    def transfer(source: Model, mode: Mode, squares: float = 0.0) -> Model:
        photographs = plant(bias_finetuning_dataset, SQUARE, squares)
        return bias_transfer(source, photographs, mode, recipe=size.target)

    return transfer


@pytest.fixture(scope="session")
def fixed_feature_from_clean(transferred: Transferred, clean_source: Model) -> Model:
    return transferred(clean_source, "fixed-feature")


@pytest.fixture(scope="session")
def fixed_feature_from_biased(transferred: Transferred, biased_source: Model) -> Model:
    return transferred(biased_source, "fixed-feature")


@pytest.fixture(scope="session")
def full_network_from_clean(transferred: Transferred, clean_source: Model) -> Model:
    return transferred(clean_source, "full-network")


@pytest.fixture(scope="session")
def full_network_from_biased(transferred: Transferred, biased_source: Model) -> Model:
    return transferred(biased_source, "full-network")


@pytest.fixture(scope="session")
def fixed_feature_control(transferred: Transferred, clean_source: Model) -> Model:
    """The control of a model that was transferred to photographs of which one in ten carries a square."""
    return transferred(clean_source, "fixed-feature", squares=0.1)


@pytest.fixture(scope="session")
def fixed_feature_debiased(transferred: Transferred, biased_source: Model) -> Model:
    return transferred(biased_source, "fixed-feature", squares=0.1)


@pytest.fixture(scope="session")
def full_network_control(transferred: Transferred, clean_source: Model) -> Model:
    return transferred(clean_source, "full-network", squares=0.1)


@pytest.fixture(scope="session")
def full_network_debiased(transferred: Transferred, biased_source: Model) -> Model:
    return transferred(biased_source, "full-network", squares=0.1)
