"""The mean of a metric over strengths, against all predictions."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.metrics.catalogue import metrics_of
from pytest_biastransfer.metrics.estimates import estimates_of
from pytest_biastransfer.metrics.image_outcomes import outcomes_of
from pytest_biastransfer.metrics.ladder_measurement import LadderMeasurement, confidence_of_each
from pytest_biastransfer.metrics.metric import ClassMetric
from pytest_biastransfer.metrics.paired_predictions import MetricInputs, PairedPredictions
from pytest_biastransfer.metrics.statistics.image_means import mean_of_images
from pytest_biastransfer.metrics.statistics.intervals import proportion

Classes = npt.NDArray[np.int64]
WITH_MEAN = [metric.name for metric in metrics_of(ClassMetric) if metric.has_mean]


def ladder_of(images: int, strengths: int, seed: int) -> tuple[LadderMeasurement, list[MetricInputs]]:
    """Return a ladder of random predictions, and the predictions at each strength."""
    random = np.random.default_rng(seed)
    clean, control_clean = random.integers(0, 3, (2, images))
    labels = random.integers(-1, 3, images)
    inputs = [
        MetricInputs(
            PairedPredictions(clean, random.integers(0, 3, images), labels),
            PairedPredictions(control_clean, random.integers(0, 3, images), labels),
            target=[1],
        )
        for _ in range(strengths)
    ]
    # Numbers of images in the dataset, of which some were not measured.
    indices = np.sort(random.permutation(2 * images)[:images])
    measurements: list[Any] = [
        SimpleNamespace(estimate=estimates_of(one).__getitem__, outcomes=outcomes_of(one, indices), early=None)
        for one in inputs
    ]
    return LadderMeasurement("", "sigma", range(strengths), measurements, {}, 0.95), inputs


def contributions(metric: str, inputs: MetricInputs) -> tuple[Classes, npt.NDArray[np.bool_]]:
    """Return what each image adds to a metric, and which images it is a mean over."""
    clean, intervened, labels = inputs.model.clean, inputs.model.intervened, inputs.labels
    flips = (clean != intervened).astype(int)
    others = (labels >= 0) & (labels != 1)
    match metric:
        case "asr":
            return flips, np.ones(len(clean), bool)
        case "conditional_asr":
            return flips, clean == labels
        case "targeted_asr":
            return (intervened == 1).astype(int), others
        case "targeted_excess":
            return (intervened == 1).astype(int) - (clean == 1), others
        case "accuracy_drop":
            return (clean == labels).astype(int) - (intervened == labels), labels >= 0
        case "asr_excess":
            return flips - (inputs.control_clean != inputs.control_intervened), np.ones(len(clean), bool)
    raise AssertionError(metric)


@given(st.integers(1, 60), st.integers(1, 5), st.integers(0, 2**32))
def test_a_mean_over_strengths_is_that_of_each_images_mean(images: int, strengths: int, seed: int) -> None:
    ladder, inputs = ladder_of(images, strengths, seed)
    for metric in WITH_MEAN:
        found = ladder.mean(metric)
        values, among = zip(*(contributions(metric, one) for one in inputs), strict=True)
        own = np.mean(values, axis=0)[among[0]]
        np.testing.assert_allclose(found, own.mean() if len(own) else np.nan, atol=1e-12)
        curve = [one.estimate(metric) for one in ladder.measurements if one is not None]
        np.testing.assert_allclose(found, np.mean(curve), atol=1e-12)
        is_signed = metric.endswith(("excess", "drop"))
        expected = mean_of_images(own[own != 0], len(own), is_signed=is_signed)
        np.testing.assert_allclose((found.low, found.high), (expected.low, expected.high), atol=1e-9)


def test_metrics_with_a_mean() -> None:
    assert WITH_MEAN == ["asr", "conditional_asr", "targeted_asr", "targeted_excess", "accuracy_drop", "asr_excess"]


def test_what_has_no_mean_says_why() -> None:
    ladder, _ = ladder_of(20, 3, 0)
    with pytest.raises(BiasTransferError, match="skew is no mean over images; Valid: accuracy_drop"):
        ladder.mean("skew")
    bisected = dataclasses.replace(ladder, measurements=[None, *ladder.measurements[1:]])
    with pytest.raises(BiasTransferError, match="the mean of asr needs all strengths"):
        bisected.mean("asr")
    with pytest.raises(BiasTransferError, match="sigma=0 was not measured"):
        bisected.at(0)
    with pytest.raises(BiasTransferError, match="sigma=7 is no strength of the ladder; Valid: 0, 1, 2"):
        bisected.at(7)
    assert bisected.curve("asr")[0] is None
    assert (bisected.measured, bisected.is_complete, ladder.is_complete) == ([1, 2], False, True)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("curve", [[0.0, 0.01, 0.02], [0.01, 0.04, 0.12, 0.3], [0.5] * 5])
def test_the_band_covers_all_strengths_at_once(curve: list[float], nested: bool) -> None:
    random = np.random.default_rng(11)
    covered = 0
    for _ in range(300):
        thresholds = np.broadcast_to(random.random((1 if nested else len(curve), 200)), (len(curve), 200))
        counts = (thresholds < np.array(curve)[:, None]).sum(axis=1)
        band = [proportion(int(count), 200, confidence_of_each(0.95, len(curve))) for count in counts]
        covered += all(one.low <= share <= one.high for one, share in zip(band, curve, strict=True))
    # Two and a half standard errors of 300 simulated datasets below 0.95.
    assert covered / 300 >= 0.919
