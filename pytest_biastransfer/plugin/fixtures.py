"""The fixtures: models, dataset, device, and the measurement of the running test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.metrics.gap_measurement import GapMeasurement
    from pytest_biastransfer.metrics.ladder_measurement import LadderMeasurement
    from pytest_biastransfer.metrics.measurement import Measurement
    from pytest_biastransfer.models import Model
    from pytest_biastransfer.plugin.runtest.finetuning import Transfer
    from pytest_biastransfer.transfer.attribution_result import Attribution
    from pytest_biastransfer.transfer.seed_repeats import Repeated


@pytest.fixture(scope="session")
def source_model(request: pytest.FixtureRequest) -> Model:
    """The pre-trained model: from ini `bias_source_model`, or override this fixture in a conftest.

    Return a spec string, a torch.nn.Module, or pytest_biastransfer.Model(module, preprocess=Preprocess(...),
    classes=[...]).
    """
    from pytest_biastransfer.plugin.resources import configured_model

    return configured_model(request)


@pytest.fixture(scope="session")
def transferred_model(request: pytest.FixtureRequest) -> Model:
    """The model under test: from ini `bias_transferred_model`, or override this fixture in a conftest.

    Or it is made now: with ini `bias_transfer`, such as "fixed-feature", from `source_model` and
    `bias_finetuning_dataset`.

    Return a spec string, a torch.nn.Module, or pytest_biastransfer.Model(module, preprocess=Preprocess(...),
    classes=[...]).
    """
    from pytest_biastransfer.plugin.runtest.finetuning import configured_transferred_model

    return configured_transferred_model(request)


@pytest.fixture(scope="session")
def control_model(request: pytest.FixtureRequest) -> Model:
    """A model of the same task that never saw the source: from ini `bias_control_model`, or override this fixture.

    Return a spec string, a torch.nn.Module, or pytest_biastransfer.Model(module, preprocess=Preprocess(...),
    classes=[...]).
    """
    from pytest_biastransfer.plugin.resources import configured_model

    return configured_model(request)


@pytest.fixture(scope="session")
def bias_dataset(request: pytest.FixtureRequest) -> LabelledImages:
    """The images to measure on: from ini `bias_dataset`, or override this fixture in a conftest.

    Return a spec string, or any map-style dataset of (image, label) or (image, label, attributes); an image is a
    PIL image, or a tensor [channels, height, width] of uint8 or of floats in [0, 1].
    """
    from pytest_biastransfer.plugin.resources import configured_dataset

    return configured_dataset(request)


@pytest.fixture(scope="session")
def bias_finetuning_dataset(request: pytest.FixtureRequest) -> LabelledImages:
    """The images to finetune on: from ini `bias_finetuning_dataset`, or override this fixture in a conftest.

    Return a spec string, a dataset as in `bias_dataset`, or a view of pytest_biastransfer.transfer.curation.functions.
    """
    from pytest_biastransfer.plugin.resources import configured_dataset

    return configured_dataset(request)


@pytest.fixture(scope="session")
def bias_transfer(request: pytest.FixtureRequest) -> Transfer:
    """A function that makes transferred models: bias_transfer(source, dataset, mode="fixed-feature", recipe=Recipe()).

    It is pytest_biastransfer.transfer.transfer on this session's device and with its store, so that all workers and
    later sessions share what it has trained.
    """
    from pytest_biastransfer.plugin.runtest.finetuning import transfer_in_session

    return transfer_in_session(request)


@pytest.fixture
def bias_attribution(request: pytest.FixtureRequest) -> Callable[..., Attribution]:
    """A function that tells whether a bias is the source's fault: pytest_biastransfer.transfer.attribute_bias.

    Of one source and one control source, or of lists of several: only these tell it of other sources.
    On this session's device and with its store; what it finds is a section of the session's summary.
    """
    from pytest_biastransfer.plugin.runtest.finetuning import attribution_in_session

    return attribution_in_session(request)


@pytest.fixture
def bias_dose_response(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """A function that tells how much curation is enough: pytest_biastransfer.transfer.dose_response.

    Of one source or, by name, of several: {"our source": source_model, "control source": control_source}.
    On this session's device and with its store; what it finds is a section of the session's summary.
    """
    from pytest_biastransfer.plugin.runtest.finetuning import dose_response_in_session

    return dose_response_in_session(request)


@pytest.fixture
def bias_sweep(request: pytest.FixtureRequest) -> Callable[..., Repeated]:
    """A function that measures one point of a sweep, such as one weight decay: pytest_biastransfer.transfer.sweep.

    bias_sweep(source, finetuning, evaluation, asked, weight_decay=0.01, size=1000, save="sweep.svg"): with fields of
    Recipe, size=, level= with change=, mode= and the options of `attribute_bias`. The source may be the name of a
    fixture. What the tests of a function find is one table in the session's summary, and one file for each of save=.
    """
    from pytest_biastransfer.plugin.runtest.finetuning import sweep_in_session

    return sweep_in_session(request)


@pytest.fixture(scope="session")
def bias_device(request: pytest.FixtureRequest) -> str:
    """The name of the device that bias tests run on, such as "cuda": from --bias-device, or ini `bias_device`."""
    from pytest_biastransfer.plugin.resources import configured_device

    return configured_device(request)


@pytest.fixture
def bias(request: pytest.FixtureRequest) -> Measurement | GapMeasurement | LadderMeasurement:
    """All figures of this test: asr, skew, most_gained, ... (a Measurement), or gap, worst, ... (a GapMeasurement).

    Of a ladder, curve("asr"), mean("asr") and at(strength) (a LadderMeasurement).

    Only in tests with a marker such as `bias_intervention`, which does not need it: its limits are judged anyway.
    """
    from pytest_biastransfer.plugin.runtest.bias_test import measure_test

    return measure_test(request)
