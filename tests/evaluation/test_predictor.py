"""The predictor gives a device its work without waiting for it."""

from __future__ import annotations

import pytest
import torch

from pytest_biastransfer import Grayscale, Model, Preprocess, Square
from pytest_biastransfer.evaluation.batch_size import BatchSize
from pytest_biastransfer.evaluation.predictor import InputChange, Predictor, are_finite
from pytest_biastransfer.interventions import BatchInfo, Intervention


@pytest.mark.parametrize("intervention", [None, Square() | Grayscale()])
def test_predicting_waits_for_nothing(intervention: Intervention | None) -> None:
    # Tensors of the meta device have no values: whoever asks for one gets an error. On a GPU, that would be a wait.
    device = torch.device("meta")
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).to(device)
    model = Model(module.eval(), preprocess=Preprocess(mean=0.5, std=(0.1, 0.2, 0.3)))
    # Only autocast, which knows no meta device, asks the predictor where it is.
    predictor = Predictor(model, torch.device("cpu"), BatchSize(4, "meta"))
    pixels = torch.empty(10, 3, 8, 8, dtype=torch.uint8, device=device)
    change = None if intervention is None else InputChange(intervention, BatchInfo(range(10), {}))
    logits = predictor.logits(pixels, change)
    assert logits.shape == (10, 4)
    assert predictor.classes(logits).shape == are_finite(logits).shape == (10,)
    assert predictor.batches == [range(0, 4), range(4, 8), range(8, 10)]
