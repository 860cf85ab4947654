"""Predictions of one model with and without an intervention, and all estimates that they allow."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.metrics import flips
from pytest_biastransfer.metrics.statistics.estimate import Estimate


@dataclass(frozen=True)
class PairedPredictions:
    """The predictions of one model with and without an intervention.

    Attributes
    ----------
    clean, intervened
        Predicted classes, integers of shape [images].
    labels
        True classes in the model's numbering, of the same shape; None where they cannot be told.
    """

    clean: npt.NDArray[Any]
    intervened: npt.NDArray[Any]
    labels: npt.NDArray[Any] | None

    def count(self, metric: str, target: Collection[int] = ()) -> tuple[int, int] | None:
        """Return of how many images a metric is a share, after how many of them count; None if that cannot be told."""
        hit, among = self.clean != self.intervened, np.ones(len(self.clean), dtype=bool)
        if metric == "asr":
            pass
        elif self.labels is None:
            return None
        elif metric == "conditional_asr":
            among = self.clean == self.labels
        else:
            hit, among = np.isin(self.intervened, list(target)), ~np.isin(self.labels, list(target))
        return int(np.count_nonzero(hit & among)), int(np.count_nonzero(among))


def estimates_of(
    seen: PairedPredictions,
    control: PairedPredictions | None = None,
    target: Collection[int] = (),
    confidence: float = 0.95,
) -> dict[str, Estimate]:
    """Return every metric that the predictions, labels, target classes and control model allow."""
    clean, intervened, labels = seen.clean, seen.intervened, seen.labels
    found = {
        "asr": flips.asr(clean, intervened, confidence),
        "skew": flips.skew(clean, intervened, confidence),
    }
    if labels is not None:
        found |= {
            "conditional_asr": flips.conditional_asr(clean, intervened, labels, confidence),
            "accuracy": flips.accuracy(clean, labels, confidence),
            "intervened_accuracy": flips.accuracy(intervened, labels, confidence),
            "accuracy_drop": flips.accuracy_drop(clean, intervened, labels, confidence),
        }
        if target:
            found |= {
                "targeted_asr": flips.target_rate(intervened, labels, target, confidence),
                "clean_target_rate": flips.target_rate(clean, labels, target, confidence),
            }
    if control is not None:
        changed, control_changed = clean != intervened, control.clean != control.intervened
        found |= {
            "asr_excess": flips.asr_excess(changed, control_changed, confidence),
            "skew_excess": flips.skew_excess(clean, intervened, control.clean, control.intervened, confidence),
        }
    return found
