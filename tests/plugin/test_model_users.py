"""Models that stay on a device are where their fixtures have put them whenever code of the user looks at them."""

from __future__ import annotations

import sys

import pytest
import torch

from pytest_biastransfer.evaluation import device_models
from tests.conftest import Run

# The CPU plays the device.
FIXTURES = """
moves = []


@pytest.fixture(scope="session")
def net():
    return BrightestChannel()


@pytest.fixture(scope="session")
def transferred_model(net):
    return Model(net, preprocess=Preprocess(mean=0, std=1), classes=["red", "green", "blue"])


@pytest.fixture
def features(transferred_model):
    moves.append("features")


@pytest.fixture
def something(tmp_path):
    moves.append("something")
"""

TESTS = """
import pytest
from conftest import moves
from pytest_biastransfer import Square

def square(pixels):
    return pytest.mark.bias_intervention(Square(size=pixels / 16), max_asr=1)

@square(2)
def test_first(bias):
    moves.append("body")

@square(3)
def test_second():
    moves.append("body")

@square(4)
def test_with_features(features):
    moves.append("body")

@square(5)
def test_with_something(bias, something):
    moves.append("body")

@square(6)
def test_with_net(net, bias):
    moves.append("body")

def test_plain(net):
    moves.append("body")

def test_plainer():
    moves.append("body")

def test_moves():
    print("MOVES", *moves)
"""


def test_models_are_given_back_to_who_uses_them(
    run: Run, colors: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    conftest = colors.path / "conftest.py"
    conftest.write_text(conftest.read_text() + FIXTURES)
    colors.makepyfile(TESTS)

    class Stays(device_models.DeviceModels):
        def __init__(self, *, stay: bool = False) -> None:
            super().__init__(stay=True)

        def _move_back(self, module: torch.nn.Module) -> None:
            sys.modules["conftest"].moves.append("back")
            super()._move_back(module)

    monkeypatch.setattr("pytest_biastransfer.evaluation.device_memory.DeviceModels", Stays)
    result = run("-s", "--bias-device=auto")
    result.assert_outcomes(passed=8)
    (line,) = [line for line in result.outlines if "MOVES" in line]
    assert line.partition("MOVES ")[2].split() == [
        *("body", "body"),
        *("back", "features", "body"),
        *("something", "body"),
        *("back", "body"),
        "body",
        "body",
    ]
