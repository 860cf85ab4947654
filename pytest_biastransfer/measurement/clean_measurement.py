"""A model on the unchanged images of a dataset: its accuracy and predicted classes, without any intervention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_biastransfer.metrics.measurement import Provenance
from pytest_biastransfer.plain_text import in_one_line

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.predictions import Predictions
    from pytest_biastransfer.metrics.clean_performance import CleanPerformance
    from pytest_biastransfer.models import Model


@dataclass(frozen=True)
class CleanMeasurement:
    """What `pytest_biastransfer.Measurement` says of unchanged images, for models that are only looked at there.

    Attributes
    ----------
    model, dataset
        Their names, in one line.
    provenance
        The fingerprint of the dataset.
    clean
        The figures.
    total
        How many images the dataset has; the figures may depend on a sample of them.
    """

    model: str
    dataset: str
    provenance: Provenance
    clean: CleanPerformance
    total: int


def clean_measurement(
    model: Model, images: LabelledImages, predictions: Predictions, positive: Sequence[int | str] = ()
) -> CleanMeasurement:
    """Return the figures of a model on unchanged images, computed from its predictions there.

    `positive` says which decision is judged; see `decision_of`.
    """
    # numpy is imported where figures are computed: `init` and `scan` reject a wrong option without it.
    from pytest_biastransfer.measurement.decisions import decision_of
    from pytest_biastransfer.measurement.from_predictions import clean_performance_of

    return CleanMeasurement(
        in_one_line(model.name),
        in_one_line(images.name),
        Provenance(None, images.fingerprint),
        clean_performance_of(model, images, predictions, decision_of(model, images, positive, predictions.outputs)),
        len(images),
    )
