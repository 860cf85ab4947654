"""Predictions with and without an intervention: what a metric on predicted classes is computed from."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy.typing as npt

    Classes = npt.NDArray[Any]

# What a metric needs besides the predictions of one model.
Need = Literal["labels", "target", "control"]


class PairedPredictions(NamedTuple):
    """The predictions of one model with and without an intervention.

    Attributes
    ----------
    clean, intervened
        Predicted classes, integers of shape [images].
    labels
        True classes in the model's numbering, of the same shape, -1 for an unknown one; None if all are unknown.
    """

    clean: Classes
    intervened: Classes
    labels: Classes | None


class MetricInputs(NamedTuple):
    """All that a metric on predicted classes can be computed from.

    Attributes
    ----------
    model
        The predictions of the model under test.
    control
        Those of a control model on the same images in the same order; None without a control model.
    target
        The numbers of the target classes.
    confidence
        Coverage of the interval, in (0, 1).
    """

    model: PairedPredictions
    control: PairedPredictions | None = None
    target: Collection[int] = ()
    confidence: float = 0.95

    @property
    def available(self) -> frozenset[Need]:
        """What there is besides the model's predictions."""
        available: dict[Need, bool] = {
            "labels": self.model.labels is not None,
            "target": len(self.target) > 0,
            "control": self.control is not None,
        }
        return frozenset(need for need, is_there in available.items() if is_there)

    @property
    def clean(self) -> Classes:
        """The model's predicted classes without the intervention."""
        return self.model.clean

    @property
    def intervened(self) -> Classes:
        """The model's predicted classes with the intervention."""
        return self.model.intervened

    @property
    def labels(self) -> Classes:
        """The true classes; for metrics that need ``"labels"``."""
        assert self.model.labels is not None
        return self.model.labels

    @property
    def labelled(self) -> tuple[Classes, Classes, Classes]:
        """The predicted classes without and with the intervention, and the true ones, of images with a known label."""
        known = self.labels >= 0
        return self.clean[known], self.intervened[known], self.labels[known]

    @property
    def control_clean(self) -> Classes:
        """The control model's predicted classes without the intervention; for metrics that need ``"control"``."""
        assert self.control is not None
        return self.control.clean

    @property
    def control_intervened(self) -> Classes:
        """The control model's predicted classes with the intervention; for metrics that need ``"control"``."""
        assert self.control is not None
        return self.control.intervened
