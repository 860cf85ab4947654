"""What happened to which image: what a later measurement on the same images is compared with."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.metrics.paired_predictions import PairedPredictions
from pytest_biastransfer.metrics.statistics.transitions import Transitions

Images = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Outcomes:
    """Images by what happened to them, as ascending places in the dataset, int64.

    Attributes
    ----------
    flips, control_flips
        The images whose prediction changed, with the classes from and to; of the control model, if there is one.
    hits
        The images of other classes that the intervention puts into a target class, if there are target classes.
    lost, won
        The images that only without, and only with the intervention are classified rightly, if that can be told.
    misclassified
        The images that are classified wrongly without the intervention, if that can be told.
    """

    flips: Transitions
    control_flips: Transitions | None
    hits: Images | None
    lost: Images | None
    won: Images | None
    misclassified: Images | None


def outcomes_of(
    seen: PairedPredictions, indices: Images, control: PairedPredictions | None = None, target: Collection[int] = ()
) -> Outcomes:
    """Return what happened to the images at the places `indices`, which are those of the observations."""
    hits = lost = won = misclassified = None
    if seen.labels is not None:
        before, after = seen.clean == seen.labels, seen.intervened == seen.labels
        lost, won, misclassified = indices[before & ~after], indices[after & ~before], indices[~before]
        if target:
            inside = [np.isin(classes, list(target)) for classes in (seen.intervened, seen.labels)]
            hits = indices[inside[0] & ~inside[1]]
    control_flips = None if control is None else _moves(control, indices)
    return Outcomes(_moves(seen, indices), control_flips, hits, lost, won, misclassified)


def _moves(seen: PairedPredictions, indices: Images) -> Transitions:
    moves = Transitions.between(seen.clean, seen.intervened)
    return moves._replace(images=indices[moves.images])
