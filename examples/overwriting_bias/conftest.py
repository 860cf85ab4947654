"""The photographs, the sources that are trained on them, and the models that are finetuned from the sources."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import photographs
import pytest
import torch
from experiment import (
    BIASED_SOURCE_LEVEL,
    FINETUNING,
    FINETUNING_LEVEL,
    FULL,
    INDEPENDENT,
    QUICK,
    RARE_IN_FINETUNING,
    RARE_IN_SOURCE,
    Size,
    correlated,
    shifted,
    with_swapped,
)
from network import untrained
from photographs import SOURCE_KINDS, SWAPPED, TARGET_KINDS, TINT, Photographs

from pytest_biastransfer import Model, Preprocess
from pytest_biastransfer.plugin.runtest.finetuning import Transfer
from pytest_biastransfer.transfer import plant, reweighted

SEED = 0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="a smaller experiment: fewer seeds, levels and images")


@pytest.fixture(scope="session")
def size(request: pytest.FixtureRequest) -> Size:
    return QUICK if request.config.getoption("--quick") else FULL


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Several gain little on so small a network, wait for each other where cores are busy, and change the figures."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def cifar10() -> Path:
    """The folder with train/ and test/, which have one folder a class."""
    folder = os.environ.get("BIASTRANSFER_DATA")
    if folder is None:
        pytest.skip("set BIASTRANSFER_DATA to the folder that has cifar10/train/ and cifar10/test/")
    return Path(folder).resolve() / "cifar10"


@pytest.fixture(scope="session")
def source_photographs(cifar10: Path) -> Photographs:
    return photographs.load(cifar10 / "train", SOURCE_KINDS)


@pytest.fixture(scope="session")
def target_photographs(cifar10: Path) -> Photographs:
    return photographs.load(cifar10 / "train", TARGET_KINDS)


@pytest.fixture(scope="session")
def held_out_photographs(cifar10: Path) -> Photographs:
    return photographs.load(cifar10 / "test", TARGET_KINDS)


@pytest.fixture(scope="session")
def tinted(target_photographs: Photographs) -> Any:
    """What can be finetuned on: half of it is tinted, so that each correlation can be drawn from it."""
    return plant(target_photographs, TINT, 0.5, attribute="tint", seed=1)


@pytest.fixture(scope="session")
def tinted_test(held_out_photographs: Photographs) -> Any:
    """What models are judged on: here the tint tells nothing."""
    planted = plant(held_out_photographs, TINT, 0.5, attribute="tint", seed=2)
    return correlated(planted, INDEPENDENT, size=1900)


@pytest.fixture(scope="session")
def swapped(target_photographs: Photographs) -> Any:
    return plant(target_photographs, SWAPPED, 0.5, attribute="swapped", seed=1)


@pytest.fixture(scope="session")
def swapped_test(held_out_photographs: Photographs) -> Any:
    return plant(held_out_photographs, SWAPPED, 0.5, attribute="swapped", seed=2)


# Returns a source that was trained on photographs, from random weights on.
Pretrain = Callable[[Any], Model]


@pytest.fixture(scope="session")
def pretrain(bias_transfer: Transfer, size: Size) -> Pretrain:
    """All sources begin as the same untrained network: what differs between twins is the data alone."""
    network = Model(
        untrained(size.width, SEED), preprocess=Preprocess(mean=0.5, std=0.25), classes=photographs.CLASSES, name="new"
    )
    return lambda data: bias_transfer(network, data, "full-network", recipe=size.source)


@pytest.fixture(scope="session")
def biased_source(pretrain: Pretrain, source_photographs: Photographs, size: Size) -> Model:
    """Almost all animals that it saw were tinted, and almost no vehicle."""
    planted = plant(source_photographs, TINT, 0.5, attribute="tint")
    return pretrain(correlated(planted, BIASED_SOURCE_LEVEL, size.source_images))


@pytest.fixture(scope="session")
def control_source(pretrain: Pretrain, source_photographs: Photographs, size: Size) -> Model:
    """Its twin, for which the tint told nothing."""
    planted = plant(source_photographs, TINT, 0.5, attribute="tint")
    return pretrain(correlated(planted, INDEPENDENT, size.source_images))


@pytest.fixture(scope="session")
def narrow_source(pretrain: Pretrain, source_photographs: Photographs, size: Size) -> Model:
    """It hardly saw a photograph with red and blue swapped."""
    planted = plant(source_photographs, SWAPPED, 0.5, attribute="swapped")
    return pretrain(with_swapped(planted, RARE_IN_SOURCE, size.source_images))


@pytest.fixture(scope="session")
def broad_source(pretrain: Pretrain, source_photographs: Photographs, size: Size) -> Model:
    """Its twin, which saw as many of them as of others."""
    planted = plant(source_photographs, SWAPPED, 0.5, attribute="swapped")
    return pretrain(with_swapped(planted, 0.5, size.source_images))


# Returns a model that was finetuned from a source, on data that are given.
Finetune = Callable[[Model, Any], Model]


@pytest.fixture(scope="session")
def finetune(bias_transfer: Transfer) -> Finetune:
    return lambda source, data: bias_transfer(source, data, "full-network", recipe=FINETUNING)


@pytest.fixture(scope="session")
def from_biased(finetune: Finetune, biased_source: Model, tinted: Any) -> Model:
    return finetune(biased_source, shifted(tinted, 0))


@pytest.fixture(scope="session")
def from_control(finetune: Finetune, control_source: Model, tinted: Any) -> Model:
    return finetune(control_source, shifted(tinted, 0))


@pytest.fixture(scope="session")
def overwritten(finetune: Finetune, biased_source: Model, tinted: Any) -> Model:
    """From the biased source too, on data whose correlation is lower by 20 points."""
    return finetune(biased_source, shifted(tinted, 0.2))


@pytest.fixture(scope="session")
def reweighed(finetune: Finetune, biased_source: Model, tinted: Any) -> Model:
    """From the biased source, on the correlated data, of which the rare combinations are drawn more often."""
    return finetune(biased_source, reweighted(correlated(tinted, FINETUNING_LEVEL), "tint"))


@pytest.fixture(scope="session")
def from_narrow(finetune: Finetune, narrow_source: Model, swapped: Any) -> Model:
    return finetune(narrow_source, with_swapped(swapped, RARE_IN_FINETUNING))


@pytest.fixture(scope="session")
def from_broad(finetune: Finetune, broad_source: Model, swapped: Any) -> Model:
    return finetune(broad_source, with_swapped(swapped, RARE_IN_FINETUNING))


@pytest.fixture(scope="session")
def broadened(finetune: Finetune, narrow_source: Model, swapped: Any) -> Model:
    """From the narrow source too, on data that have as many photographs with red and blue swapped as others."""
    return finetune(narrow_source, with_swapped(swapped, 0.5))
