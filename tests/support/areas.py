"""Simulated areas under the ROC curve of groups, by two models on the same images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pytest_biastransfer.metrics.statistics.components import Components, area_components


def two_areas(
    generator: np.random.Generator,
    before: Sequence[float],
    now: Sequence[float],
    positives: int,
    agreement: float,
    *,
    shared: bool = False,
) -> list[Components]:
    """Return the components of areas of groups before and now, with as many negatives as positives in each group.

    Scores are normal with standard deviation 1. Positives are higher by the group's separation on average. The scores
    before and now of positives, and of negatives, have a correlation of `agreement`.
    """
    scores, positive, codes = two_scores(generator, before, now, positives, agreement)
    groups = np.arange(len(before))
    return [area_components(each, positive, codes, groups, shared=shared) for each in scores]


def two_scores(
    generator: np.random.Generator, before: Sequence[float], now: Sequence[float], positives: int, agreement: float
) -> tuple[list[np.ndarray[tuple[int], np.dtype[np.float64]]], np.ndarray, np.ndarray]:
    """Return the scores before and now, which images are positive, and their groups; see `two_areas`."""
    codes = np.repeat(np.arange(len(before)), 2 * positives)
    positive = np.arange(len(codes)) % 2 == 1
    first, other = generator.standard_normal((2, len(codes)))
    second = agreement * first + np.sqrt(1 - agreement**2) * other
    scores = [
        noise + positive * np.array(separations)[codes] for noise, separations in ((first, before), (second, now))
    ]
    return scores, positive, codes
