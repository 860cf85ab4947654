"""What happened to which image: what a later measurement on the same images is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.metrics.catalogue import metrics_of
from pytest_biastransfer.metrics.metric import ClassMetric
from pytest_biastransfer.metrics.paired_predictions import MetricInputs
from pytest_biastransfer.metrics.statistics.transitions import Transitions

Images = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Outcomes:
    """Images by what happened to them, as ascending indices in the dataset, int64.

    Attributes
    ----------
    flips, control_flips
        The images whose prediction changed, with the classes from and to; of the control model, if there is one.
    image_sets
        The sets of images that the tests of change compare, by their names in the baseline: those that the labels,
        the target classes and the control model allow.
    """

    flips: Transitions
    control_flips: Transitions | None
    image_sets: Mapping[str, Images]


def outcomes_of(inputs: MetricInputs, indices: Images) -> Outcomes:
    """Return what happened to images; `indices` are their indices in the dataset, in the order of the predictions."""
    available = inputs.available
    sets = {
        image_set.name: image_set
        for metric in metrics_of(ClassMetric)
        if metric.needs <= available
        for image_set in metric.change.image_sets
    }
    control = None
    if inputs.control is not None:
        control = _transitions(inputs.control_clean, inputs.control_intervened, indices)
    return Outcomes(
        flips=_transitions(inputs.clean, inputs.intervened, indices),
        control_flips=control,
        image_sets={name: indices[image_set.mask(inputs)] for name, image_set in sets.items()},
    )


def _transitions(clean: npt.NDArray[np.generic], intervened: npt.NDArray[np.generic], indices: Images) -> Transitions:
    transitions = Transitions.between(clean, intervened)
    return transitions._replace(images=indices[transitions.images])
