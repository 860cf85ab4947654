"""What each image adds to the figures of groups: against all pairs of images, and against the areas themselves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_biastransfer.metrics.score_gaps import calibration_gaps
from pytest_biastransfer.metrics.statistics.auc import areas
from pytest_biastransfer.metrics.statistics.components import (
    Components,
    area_components,
    calibration_components,
    joint_covariance,
)

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Marked = npt.NDArray[np.bool_]

quick = settings(max_examples=40, deadline=None)


class Images:
    """Two models' scores of images of three groups, each with two positives and two negatives or more."""

    def __init__(self, rows: list[tuple[int, bool, int, int]]) -> None:
        least = [(code, is_positive, code, 2 * code) for code in range(3) for is_positive in (True, False)] * 2
        codes, positive, *scores = map(np.array, zip(*least, *rows, strict=True))
        self.codes: Integers = codes
        self.positive: Marked = positive
        self.scores: list[Floats] = [one.astype(np.float64) for one in scores]

    def components(self, model: int, shared: bool, compared: tuple[int, ...] = (0, 1, 2)) -> Components:
        scores = self.scores[model]
        return area_components(scores, self.positive, self.codes, np.array(compared), shared=shared)


# Few values, so that scores are often equal.
images = st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.integers(-3, 3), st.integers(-3, 3)), max_size=40).map(
    Images
)


def won(positives: Floats, negatives: Floats) -> Floats:
    """Return 1 where a positive scores higher than a negative, 1/2 where it scores the same, by two loops."""
    matrix = [[float(one > other) + float(one == other) / 2 for other in negatives] for one in positives]
    return np.array(matrix)


@quick
@given(images, st.booleans())
def test_components_are_the_means_over_all_pairs_of_an_image(some: Images, shared: bool) -> None:
    found = some.components(0, shared, (2, 0))
    for group, figure, (of_positives, of_negatives) in zip((2, 0), found.figures, found.samples, strict=True):
        here = some.codes == group
        pairs = won(some.scores[0][some.positive & here], some.scores[0][~some.positive & (here | shared)])
        assert of_positives == pytest.approx(pairs.mean(axis=1), abs=1e-12)
        assert of_negatives == pytest.approx(pairs.mean(axis=0), abs=1e-12)
        assert figure == pytest.approx(pairs.mean(), abs=1e-12)


@quick
@given(images, st.booleans())
def test_figures_and_covariance_are_those_of_the_areas_of_two_models(some: Images, shared: bool) -> None:
    expected = areas(some.scores, some.positive, some.codes, 3, shared=shared)
    before, now = (some.components(model, shared) for model in (0, 1))
    assert np.array([before.figures, now.figures]).tolist() == expected.values.tolist()
    assert joint_covariance(before, now) == pytest.approx(expected.covariance, abs=1e-12)


@quick
@given(images)
def test_a_calibration_is_the_mean_of_its_components(some: Images) -> None:
    probabilities = [1 / (1 + np.exp(-scores)) for scores in some.scores]
    before, now = (calibration_components(each, some.positive, some.codes, np.arange(3)) for each in probabilities)
    gaps = calibration_gaps(probabilities[1], some.positive, some.codes, ["a", "b", "c"], min_group_size=1)
    assert now.figures == pytest.approx([float(group.estimate) for group in gaps.groups], abs=1e-12)
    covariance = joint_covariance(before, now)
    for group in range(3):
        here = some.codes == group
        rows = [each[here] - some.positive[here] for each in probabilities]
        assert covariance[:, group, :, group] == pytest.approx(np.cov(rows) / here.sum(), abs=1e-12)
        assert not covariance[:, group, :, group - 1].any()


def test_the_covariance_is_that_of_many_data_sets() -> None:
    generator = np.random.default_rng(2)
    positive, codes = np.arange(400) % 2 == 1, np.arange(400) // 200

    def drawn(shared: bool) -> list[Components]:
        first = generator.standard_normal(400) + positive
        second = first + 0.5 * generator.standard_normal(400)
        return [area_components(each, positive, codes, np.arange(2), shared=shared) for each in (first, second)]

    for shared in (False, True):
        many = np.array([[part.figures for part in drawn(shared)] for _ in range(600)]).reshape(600, 4)
        estimated = np.mean([joint_covariance(*drawn(shared)).reshape(4, 4) for _ in range(20)], axis=0)
        # The standard error of a covariance of 600 is 6 % of the variances.
        assert estimated == pytest.approx(np.cov(many.T), abs=0.2 * estimated.max())
        assert (abs(estimated[0, 1]) > 0.2 * estimated[0, 0]) == shared
