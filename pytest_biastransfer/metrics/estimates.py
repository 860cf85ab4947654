"""Every metric that predictions allow, by the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_biastransfer.metrics.catalogue import metrics_of
from pytest_biastransfer.metrics.metric import ClassMetric

if TYPE_CHECKING:
    from pytest_biastransfer.metrics.paired_predictions import MetricInputs
    from pytest_biastransfer.metrics.statistics.estimate import Estimate


def estimates_of(inputs: MetricInputs) -> dict[str, Estimate]:
    """Return every metric that the predictions, labels, target classes and control model allow.

    >>> import numpy as np
    >>> from pytest_biastransfer.metrics.paired_predictions import MetricInputs, PairedPredictions
    >>> unlabelled = PairedPredictions(clean=np.array([0, 0, 1, 1]), intervened=np.array([0, 1, 1, 1]), labels=None)
    >>> estimates_of(MetricInputs(unlabelled))["asr"]
    0.25 [0.00631, 0.806]
    """
    available = inputs.available
    return {metric.name: metric.estimator(inputs) for metric in metrics_of(ClassMetric) if metric.needs <= available}
