"""What each image adds to the figures of groups, so that two measurements of the same images can be compared.

A figure is the mean of its components. An area under the ROC curve is that of its positives' components, and that of
its negatives' as well: the structural components of DeLong, DeLong and Clarke-Pearson (1988), which are the placement
values of the images. A calibration is the mean of the differences of probability and label.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.metrics.statistics.placements import (
    Integers,
    Scores,
    ascending,
    group_parts,
    overtaken,
    places,
)

Floats = npt.NDArray[np.float64]


class Components(NamedTuple):
    """The figures of groups, and what each image adds to them.

    Attributes
    ----------
    figures
        Float64 of shape [groups].
    samples
        For each group one array for each of its samples of images, float64 of shape [images]: of an area the positives
        and the negatives, of a calibration all images. The figure is the mean of each array.
    is_shared
        Whether the last sample of all groups is of the same images: negatives that all groups share.
    """

    figures: Floats
    samples: Sequence[Sequence[Floats]]
    is_shared: bool = False

    @property
    def sizes(self) -> list[list[int]]:
        """The number of images of each sample of each group."""
        return [[len(part) for part in group] for group in self.samples]


def area_components(
    scores: Scores, positive: npt.NDArray[np.bool_], codes: Integers, compared: Integers, *, shared: bool = False
) -> Components:
    """Return the components of the areas under the ROC curve of some groups.

    That of a positive is the share of negatives with a lower score, that of a negative is the share of positives with
    a higher one; an equal score counts half. They are in the order of the images.

    Parameters
    ----------
    scores
        Higher ones for positives, floats of shape [images].
    positive
        Which images are positive, bool of shape [images].
    codes
        The group of each image, int64 of shape [images].
    compared
        The groups, each with a positive and a negative, int64 of shape [groups].
    shared
        Whether each group's positives are compared with the negatives of all groups, also those that are not compared.

    Examples
    --------
    >>> positive, alone = np.array([True, True, False, False]), np.zeros(4, dtype=np.int64)
    >>> found = area_components(np.array([0.9, 0.3, 0.5, 0.1]), positive, alone, np.array([0]))
    >>> found.figures, found.samples
    (array([0.75]), [(array([1. , 0.5]), array([0.5, 1. ]))])
    """
    parts = group_parts(positive, codes, int(codes.max()) + 1)
    figures, samples = [], []
    for group in compared:
        positives, negatives = scores[parts[2 * group + 1]], scores[~positive if shared else parts[2 * group]]
        ranked, order = ascending(negatives, keeps_order=True)
        low, high = places(ranked, positives, keeps_order=True)
        higher = np.empty(len(negatives))
        higher[order] = overtaken(low, high, len(negatives))
        below = low + high
        figures.append(int(below.sum()) / (2 * len(negatives) * len(positives)))
        samples.append((below / (2 * len(negatives)), 1 - higher / (2 * len(positives))))
    return Components(np.array(figures), samples, shared)


def calibration_components(
    probabilities: Floats, positive: npt.NDArray[np.bool_], codes: Integers, compared: Integers
) -> Components:
    """Return the components of the calibration in the large of some groups; the arguments are as of `area_components`.

    >>> calibration_components(np.array([0.75, 0.5]), np.array([True, False]), np.array([0, 0]), np.array([0]))
    Components(figures=array([0.125]), samples=[(array([-0.25,  0.5 ]),)], is_shared=False)
    """
    differences = probabilities - positive
    samples = [(differences[codes == group],) for group in compared]
    return Components(np.array([float(only.mean()) for (only,) in samples]), samples)


def joint_covariance(before: Components, now: Components) -> Floats:
    """Return the covariance of the figures of two measurements, float64 of shape [2, groups, 2, groups].

    The measurements are of the same images: an image's two components are paired. With shared negatives the figures of
    all groups are correlated.

    Examples
    --------
    >>> one = Components(np.array([0.5]), [(np.array([0.0, 1.0, 0.5]),)])
    >>> joint_covariance(one, one).ravel().round(4)
    array([0.0833, 0.0833, 0.0833, 0.0833])
    """
    groups = len(now.figures)
    covariance = np.zeros((2, groups, 2, groups))
    own = -1 if now.is_shared else None
    for group in range(groups):
        for pair in zip(before.samples[group][:own], now.samples[group][:own], strict=True):
            covariance[:, group, :, group] += _of_means(np.stack(pair))
    if now.is_shared:
        rows = np.stack([sample[-1] for each in (before, now) for sample in each.samples])
        covariance += _of_means(rows).reshape(covariance.shape)
    return covariance


def _of_means(rows: Floats) -> Floats:
    """Return the covariance of the means of rows, which are of the same images."""
    n = rows.shape[1]
    deviations = rows - rows.mean(axis=1, keepdims=True)
    covariance: Floats = deviations @ deviations.T / max(1, n - 1) / n
    return covariance
