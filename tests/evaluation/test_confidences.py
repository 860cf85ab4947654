"""Confidences of predictions, against a plain pass through the module."""

from __future__ import annotations

import pytest
import torch

from pytest_biastransfer import Model, Preprocess
from pytest_biastransfer.data import as_images
from pytest_biastransfer.evaluation.confidences import confidences_of
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.measurement.decisions import decision_of
from pytest_biastransfer.store import Store


def test_they_are_the_softmax_of_the_predicted_class_of_each_version() -> None:
    torch.manual_seed(0)
    clean, changed = torch.rand(7, 3, 4, 4), torch.rand(7, 3, 4, 4)
    # Dropout in training mode would change every pass.
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(48, 5)).train()
    model = Model(module, preprocess=Preprocess(mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.3)))
    images = as_images([(image, 0) for image in clean], "test")
    versions, probability = (clean, changed), decision_of(model, images, (), 5).probability
    confidences = confidences_of(Evaluator("cpu", Store(None)), model, images, versions, probability)
    assert module.training
    module.eval()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.4, 0.5, 0.6), (0.2, 0.2, 0.3)))
    for version, pixels in enumerate((clean, changed)):
        expected = torch.softmax(module((pixels - mean) / std), dim=1).max(dim=1).values
        assert [pair[version] for pair in confidences] == pytest.approx(expected.tolist(), abs=1e-6)
