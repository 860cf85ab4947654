"""The fixtures: models, dataset, device, and the measurement of the running test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.metrics.measurement import Measurement
    from pytest_biastransfer.models import Model


@pytest.fixture(scope="session")
def source_model(request: pytest.FixtureRequest) -> Model:
    """The pre-trained model: from ini `bias_source_model`, or override this fixture in a conftest.

    Return a spec string, a torch.nn.Module, or pytest_biastransfer.Model(module, preprocess=Preprocess(...),
    classes=[...]).
    """
    from pytest_biastransfer.given import configured_model

    return configured_model(request)


@pytest.fixture(scope="session")
def transferred_model(request: pytest.FixtureRequest) -> Model:
    """The model under test: from ini `bias_transferred_model`, or override this fixture in a conftest.

    Return a spec string, a torch.nn.Module, or pytest_biastransfer.Model(module, preprocess=Preprocess(...),
    classes=[...]).
    """
    from pytest_biastransfer.given import configured_model

    return configured_model(request)


@pytest.fixture(scope="session")
def control_model(request: pytest.FixtureRequest) -> Model:
    """A model of the same task that never saw the source: from ini `bias_control_model`, or override this fixture.

    Return a spec string, a torch.nn.Module, or pytest_biastransfer.Model(module, preprocess=Preprocess(...),
    classes=[...]).
    """
    from pytest_biastransfer.given import configured_model

    return configured_model(request)


@pytest.fixture(scope="session")
def bias_dataset(request: pytest.FixtureRequest) -> LabelledImages:
    """The images to measure on: from ini `bias_dataset`, or override this fixture in a conftest.

    Return a spec string, or any map-style dataset of (image, label) or (image, label, attributes); an image is a
    PIL image, or a tensor [channels, height, width] of uint8 or of floats in [0, 1].
    """
    from pytest_biastransfer.given import configured_dataset

    return configured_dataset(request)


@pytest.fixture(scope="session")
def bias_device(request: pytest.FixtureRequest) -> str:
    """The name of the device that bias tests run on, such as "cuda": from --bias-device, or ini `bias_device`."""
    from pytest_biastransfer.given import configured_device

    return configured_device(request)


@pytest.fixture
def bias(request: pytest.FixtureRequest) -> Measurement:
    """All figures of this test's intervention: asr, skew, most_gained, accuracy_drop, ... (a Measurement).

    Only in tests with the marker `bias_intervention`, which does not need it: its limits are judged anyway.
    """
    from pytest_biastransfer.runtest import measure_test

    return measure_test(request)
