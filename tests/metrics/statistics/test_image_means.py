"""The mean of one value for each image, and its interval."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_biastransfer.metrics.statistics.image_means import Floats, mean_of_images

VALUES = st.lists(st.sampled_from([-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1]), min_size=1, max_size=300)


@given(st.integers(1, 2000), st.data(), st.sampled_from([0.9, 0.95, 0.99]))
def test_of_a_share_it_is_the_exact_interval(images: int, data: st.DataObject, confidence: float) -> None:
    count = data.draw(st.integers(0, images))
    mean = mean_of_images(np.ones(count), images, confidence)
    exact = stats.binomtest(count, images).proportion_ci(confidence, method="exact")
    assert (mean, mean.n, mean.confidence) == (count / images, images, confidence)
    assert (mean.low, mean.high) == pytest.approx((exact.low, exact.high), abs=1e-9)


@given(VALUES)
def test_a_signed_mean_is_mirrored_and_contained(numbers: list[float]) -> None:
    values = np.array(numbers)
    mean = mean_of_images(values[values != 0], len(values), is_signed=True)
    mirrored = mean_of_images(-values[values != 0], len(values), is_signed=True)
    assert mean == pytest.approx(values.mean(), abs=1e-12)
    assert (mean.low, mean.high) == pytest.approx((-mirrored.high, -mirrored.low), abs=1e-9)
    assert -1 <= mean.low <= mean + 1e-12
    assert mean - 1e-12 <= mean.high <= 1


@given(VALUES, st.integers(1, 3000))
def test_more_images_that_do_not_count_lower_it(numbers: list[float], more: int) -> None:
    values = np.abs([number for number in numbers if number])
    few, many = (mean_of_images(values, len(numbers) + added) for added in (0, more))
    assert few >= many
    assert few.high >= many.high - 1e-9
    assert few.low >= many.low - 1e-9


def test_without_images_it_is_undefined() -> None:
    for is_signed in (False, True):
        mean = mean_of_images(np.empty(0), 0, is_signed=is_signed)
        assert math.isnan(mean)
        assert (mean.low, mean.high) == (-is_signed, 1)


@pytest.mark.parametrize("is_signed", [False, True])
def test_of_many_images_it_is_that_of_the_bootstrap(is_signed: bool) -> None:
    random = np.random.default_rng(3)
    values = random.choice([-0.5, 0.0, 0.25, 1.0] if is_signed else [0.0, 0.25, 0.5, 1.0], 4000, p=[0.1, 0.6, 0.2, 0.1])
    mean = mean_of_images(values[values != 0], len(values), is_signed=is_signed)
    resampled = random.choice(values, (2000, len(values))).mean(axis=1)
    # The standard error of a quantile of 2,000 resamples is 3 % of the interval's length.
    assert (mean.low, mean.high) == pytest.approx(np.quantile(resampled, [0.025, 0.975]), abs=0.0025)


def flips(random: np.random.Generator, curve: list[float], images: int, nested: float) -> Floats:
    """Return which image flips at which strength; a share `nested` of them has one threshold for all strengths."""
    own = random.random(images)
    drawn = [np.where(random.random(images) < nested, own, random.random(images)) < share for share in curve]
    return np.array(drawn, dtype=np.float64)


@pytest.mark.parametrize("nested", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("images", [50, 400])
@pytest.mark.parametrize("curve", [[0.0, 0.002, 0.01, 0.02], [0.01, 0.04, 0.12, 0.3], [0.001, 0.1, 0.6, 0.95]])
def test_the_interval_covers_the_mean(curve: list[float], images: int, nested: float) -> None:
    random = np.random.default_rng(5)
    covered = 0
    for _ in range(400):
        values = flips(random, curve, images, nested).mean(axis=0)
        mean = mean_of_images(values[values > 0], images)
        covered += mean.low <= sum(curve) / len(curve) <= mean.high
    # Two and a half standard errors of 400 simulated datasets below 0.95.
    assert covered / 400 >= 0.923


@pytest.mark.parametrize("nested", [0.0, 1.0])
@pytest.mark.parametrize(("gains", "losses"), [([0.02, 0.1, 0.3], [0.01, 0.02, 0.02]), ([0.1, 0.3], [0.1, 0.3])])
def test_the_interval_covers_a_difference(gains: list[float], losses: list[float], nested: float) -> None:
    random = np.random.default_rng(6)
    truth, covered = (sum(gains) - sum(losses)) / len(gains), 0
    for _ in range(400):
        lost, won = flips(random, gains, 200, nested), flips(random, losses, 200, nested)
        values = (lost - won).mean(axis=0)
        mean = mean_of_images(values[values != 0], 200, is_signed=True)
        covered += mean.low <= truth <= mean.high
    assert covered / 400 >= 0.923


def test_rare_large_values_that_were_not_seen_are_allowed_for() -> None:
    # A twentieth of the images flips at the strongest strength of five, and 3 of 1,000 at all: 5 % of samples of 1,000
    # have none of these.
    random = np.random.default_rng(7)
    missed = 0
    for _ in range(1000):
        values = random.choice([0.0, 0.2, 1.0], 1000, p=[0.987, 0.01, 0.003])
        missed += mean_of_images(values[values > 0], 1000).high < 0.005
    assert missed / 1000 <= 0.04
