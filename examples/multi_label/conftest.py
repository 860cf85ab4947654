"""The pictures, the sources that are trained on them, and the models that are finetuned from the sources."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pictures
import pytest
import torch
from experiment import (
    BIASED_SOURCE_LEVEL,
    FINETUNING,
    FULL,
    INDEPENDENT,
    OVERWRITING,
    QUICK,
    SOURCE_PICTURES,
    Size,
    correlated,
)
from network import untrained
from pictures import LABELS, Pictures

from pytest_biastransfer import Model, Preprocess
from pytest_biastransfer.plugin.runtest.finetuning import Transfer

SEED = 0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="a smaller experiment: fewer seeds, levels and pictures")


@pytest.fixture(scope="session")
def size(request: pytest.FixtureRequest) -> Size:
    return QUICK if request.config.getoption("--quick") else FULL


@pytest.fixture(scope="session")
def plots(request: pytest.FixtureRequest, size: Size) -> Path:
    """Where the plots are written: pytest's cache directory, which git ignores."""
    return Path(request.config.cache.mkdir("multi-label-quick" if size is QUICK else "multi-label"))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Several gain little on so small a network, wait for each other where cores are busy, and change the figures."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def cifar10() -> Path:
    """The folder with train/ and test/, which have one folder a kind."""
    folder = os.environ.get("BIASTRANSFER_DATA")
    if folder is None:
        pytest.skip("set BIASTRANSFER_DATA to the folder that has cifar10/train/ and cifar10/test/")
    return Path(folder).resolve() / "cifar10"


# No photograph is in two of the following sets of pictures.


@pytest.fixture(scope="session")
def source_pictures(cifar10: Path) -> Pictures:
    return pictures.compose(cifar10 / "train", slice(500), count=7000, seed=0)


@pytest.fixture(scope="session")
def new_pictures(cifar10: Path) -> Pictures:
    """What can be finetuned on: enough of each combination that each correlation can be drawn from it."""
    return pictures.compose(cifar10 / "train", slice(500, 1000), count=4000, seed=1)


@pytest.fixture(scope="session")
def bias_dataset(cifar10: Path) -> Any:
    """What models are judged on: here a ship tells nothing about frogs."""
    return correlated(pictures.compose(cifar10 / "test", slice(300), count=3000, seed=2), INDEPENDENT, size=2000)


@pytest.fixture(scope="session")
def validation_pictures(cifar10: Path) -> Any:
    """What thresholds are found on."""
    return correlated(pictures.compose(cifar10 / "test", slice(300, 500), count=1500, seed=3), INDEPENDENT, size=1000)


# Returns a source that was trained on pictures with a correlation, from random weights on.
Pretrain = Callable[[float, str], Model]


@pytest.fixture(scope="session")
def pretrain(bias_transfer: Transfer, source_pictures: Pictures, size: Size) -> Pretrain:
    """Both sources begin as the same untrained network: what differs is the data alone."""
    network = Model(
        untrained(size.width, len(LABELS), SEED),
        preprocess=Preprocess(mean=0.5, std=0.25),
        outputs="sigmoid",
        classes=list(LABELS),
        name="new",
    )

    def pretrained(level: float, name: str) -> Model:
        data = correlated(source_pictures, level, SOURCE_PICTURES)
        return bias_transfer(network, data, "full-network", recipe=size.source, name=name)

    return pretrained


@pytest.fixture(scope="session")
def biased_source(pretrain: Pretrain) -> Model:
    """Almost all pictures with a frog that it saw had a ship beside it, and almost no other picture had one."""
    return pretrain(BIASED_SOURCE_LEVEL, "biased source")


@pytest.fixture(scope="session")
def control_source(pretrain: Pretrain) -> Model:
    """Its twin, for which a ship told nothing about frogs."""
    return pretrain(INDEPENDENT, "control source")


# Returns a model that was finetuned from a source, on pictures with a correlation.
Finetune = Callable[[Model, float], Model]


@pytest.fixture(scope="session")
def finetune(bias_transfer: Transfer, new_pictures: Pictures) -> Finetune:
    def finetuned(source: Model, level: float) -> Model:
        data, name = correlated(new_pictures, level), f"from {source.name}, level {level:g}"
        # As many pictures are called trucks as show one: hardly any has a probability above 0.5.
        return bias_transfer(source, data, "full-network", recipe=FINETUNING, threshold="prevalence", name=name)

    return finetuned


@pytest.fixture(scope="session")
def from_biased(finetune: Finetune, biased_source: Model) -> Model:
    return finetune(biased_source, INDEPENDENT)


@pytest.fixture(scope="session")
def from_control(finetune: Finetune, control_source: Model) -> Model:
    return finetune(control_source, INDEPENDENT)


@pytest.fixture(scope="session")
def overwritten(finetune: Finetune, biased_source: Model) -> Model:
    """From the biased source too, on pictures whose correlation is the opposite of its own, but weaker."""
    return finetune(biased_source, OVERWRITING)


@pytest.fixture(scope="session")
def overcorrected(finetune: Finetune, biased_source: Model) -> Model:
    """From the biased source too, on pictures in which a frog is never beside a ship."""
    return finetune(biased_source, 0.0)
