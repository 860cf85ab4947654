"""The models under test, trained when first needed and cached by pytest, and the test images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import digits
import pytest
import torch
import training
from digits import SOURCE_DIGITS, TARGET_DIGITS, Digits
from filelock import FileLock
from training import PREPROCESS, DigitNet, Mode, train_source, transfer

from pytest_biastransfer import Model

SEED = 0


@pytest.fixture(scope="session")
def bias_dataset() -> Digits:
    """The images that all models are tested on; none of the models was trained on them."""
    return digits.load(TARGET_DIGITS, held_out=True)


@pytest.fixture(scope="session")
def fixed_feature_from_clean(transferred: Transferred) -> Model:
    return transferred("clean", "fixed-feature")


@pytest.fixture(scope="session")
def fixed_feature_from_biased(transferred: Transferred) -> Model:
    return transferred("biased", "fixed-feature")


@pytest.fixture(scope="session")
def full_network_from_clean(transferred: Transferred) -> Model:
    return transferred("clean", "full-network")


@pytest.fixture(scope="session")
def full_network_from_biased(transferred: Transferred) -> Model:
    return transferred("biased", "full-network")


@pytest.fixture(scope="session")
def full_network_debiased(transferred: Transferred) -> Model:
    """From the biased source, too, but one in ten of the finetuning images carries a square."""
    return transferred("biased", "full-network", squares=0.1)


class Transferred(Protocol):
    """Return a model that was transferred to the digits 5 to 9."""

    def __call__(self, source: str, mode: Mode, *, squares: float = 0.0) -> Model: ...


@pytest.fixture(scope="session")
def transferred(sources: Mapping[str, DigitNet], kept: Kept) -> Transferred:
    def build(source: str, mode: Mode, *, squares: float = 0.0) -> Model:
        name = f"{mode} from {source}" + (f" with {squares:.0%} squares" if squares else "")

        def train() -> DigitNet:
            data = digits.load(TARGET_DIGITS, held_out=False)
            return transfer(sources[source], digits.square_on_share(data, squares, SEED), mode=mode, seed=SEED)

        return Model(kept(name, train), preprocess=PREPROCESS, classes=TARGET_DIGITS, name=name)

    return build


@pytest.fixture(scope="session")
def sources(kept: Kept) -> Mapping[str, DigitNet]:
    """The two sources: the same recipe and the same images, except for a yellow square on every 3."""
    data = digits.load(SOURCE_DIGITS, held_out=False)
    return {
        "clean": kept("clean source", lambda: train_source(data, SEED)),
        "biased": kept("biased source", lambda: train_source(digits.square_on_class(data, "3"), SEED)),
    }


# Returns the network of a name: trained by the function, now or in an earlier session.
Kept = Callable[[str, Callable[[], DigitNet]], DigitNet]


@pytest.fixture(scope="session")
def kept(request: pytest.FixtureRequest) -> Kept:
    cache: pytest.Cache | None = getattr(request.config, "cache", None)
    if cache is None:  # pytest -p no:cacheprovider
        return lambda name, train: train()
    folder = cache.mkdir("quickstart-digits") / _recipe()
    folder.mkdir(exist_ok=True)

    def load_or_train(name: str, train: Callable[[], DigitNet]) -> DigitNet:
        path = folder / f"{name}.pt"
        # Under pytest -n2, the other worker waits for these weights instead of training them as well.
        with FileLock(folder / f"{name}.lock"):
            if not path.exists():
                _write(train(), path)
        model = DigitNet()
        model.load_state_dict(torch.load(path, weights_only=True))
        return model.eval()

    return load_or_train


def _recipe() -> str:
    """Return a hash of everything that the weights depend on."""
    code = [Path(str(module.__file__)).read_bytes() for module in (digits, training)]
    return hashlib.sha256(b"\0".join([*code, f"{SEED} {torch.__version__}".encode()])).hexdigest()[:16]


def _write(model: DigitNet, path: Path) -> None:
    # A killed run leaves a temporary file, never incomplete weights.
    temporary = path.with_suffix(".tmp")
    torch.save(model.state_dict(), temporary)
    temporary.replace(path)
