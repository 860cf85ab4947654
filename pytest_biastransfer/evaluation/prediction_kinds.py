"""What is predicted, stored and compared of a model's outputs: a class for each image, or a score for each label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_biastransfer.evaluation.chunk_task import OutputReader
from pytest_biastransfer.fingerprints import fingerprint

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

    from pytest_biastransfer.names import Outputs
    from pytest_biastransfer.store.chunks import Content


@dataclass(frozen=True)
class PredictionKind:
    """How the predictions of a kind of outputs are computed and stored.

    Attributes
    ----------
    name
        Part of the key of stored predictions; empty for classes.
    reader
        What reads them from outputs; None for classes.
    accepts
        Whether arrays have their form.
    values
        Returns them from arrays of that form: int32 [images], or float32 [images, labels].
    outputs
        Returns the number of outputs of the model.
    """

    name: str
    reader: OutputReader | None
    accepts: Callable[[range, Content], bool]
    values: Callable[[Content], npt.NDArray[Any]]
    outputs: Callable[[Content], int]

    def key(self, text: str) -> str:
        """Return the key of the stored predictions, from that of the evaluation."""
        return fingerprint(text, self.name) if self.name else text


def kind_of(outputs: Outputs) -> PredictionKind:
    """Return the kind of predictions of a model with such outputs."""
    return CLASSES if outputs == "softmax" else SCORES


def are_classes(chunk: range, content: Content) -> bool:
    """Whether arrays have the form of predicted classes; see `ChunkTask`."""
    if content.keys() != {"classes", "outputs"}:
        return False
    classes, outputs = content["classes"], content["outputs"]
    return (
        classes.dtype == outputs.dtype == np.int32
        and (classes.shape, outputs.shape) == ((len(chunk),), (1,))
        and bool(classes.min() >= 0 and classes.max() < outputs[0])
    )


def are_scores(chunk: range, content: Content) -> bool:
    """Whether arrays have the form of scores of labels: finite floats [images, labels]."""
    if content.keys() != {"rows"}:
        return False
    rows = content["rows"]
    return (
        rows.dtype == np.float32
        and rows.ndim == 2
        and len(rows) == len(chunk)
        and rows.shape[1] > 0
        and bool(np.isfinite(rows).all())
    )


def _as_float32(outputs: torch.Tensor) -> torch.Tensor:
    # Not in 16 bits: a threshold may be anywhere, and a curve depends on the order of all scores.
    return outputs.float()


CLASSES: Final = PredictionKind(
    "", None, are_classes, lambda content: content["classes"], lambda content: int(content["outputs"][0])
)
SCORES: Final = PredictionKind(
    "scores",
    OutputReader("scores of labels", _as_float32),
    are_scores,
    lambda content: content["rows"],
    lambda content: content["rows"].shape[1],
)
