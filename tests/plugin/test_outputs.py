"""Sessions whose model has several heads: another head has predictions of its own in the store, in workers too."""

from __future__ import annotations

import pytest

from tests.conftest import Run, each_mode

# Under a yellow square, five of twenty images turn red for the first head; the second one sees blue alone.
HEADS = """
import torch
from conftest import BrightestChannel


class Heads(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.color = BrightestChannel()

    def forward(self, images):
        logits = self.color(images)
        return {"color": logits, "blue": logits * torch.tensor([0.0, 0.0, 1.0])}
"""

FIXTURES = """
import pytest
from heads import Heads
from pytest_biastransfer import Model, Preprocess

@pytest.fixture(scope="session")
def transferred_model():
    return Model(Heads(), Preprocess(mean=0, std=1), classes=["red", "green", "blue"], output="color")

@pytest.fixture(scope="session")
def blue_model():
    return Model(Heads(), Preprocess(mean=0, std=1), classes=["red", "green", "blue"], output="blue")
"""

TESTS = """
@pytest.mark.bias_intervention("yellow-square", max_asr=0.5)
def test_color(bias):
    assert bias.asr == 0.25

@pytest.mark.bias_intervention("yellow-square", model="blue_model", max_asr=0.5)
def test_blue(bias):
    assert bias.asr == 0
"""


@each_mode
def test_another_output_has_predictions_of_its_own(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(heads=HEADS)
    colors.makepyfile(test_heads=FIXTURES + TESTS)
    for _ in range(2):
        run().assert_outcomes(passed=2)
