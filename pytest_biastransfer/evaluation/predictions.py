"""The predictions of one model under one intervention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_biastransfer.evaluation.visiting_order import chunks

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.evaluation.chunk_collector import ChunkCollector
    from pytest_biastransfer.store.chunks import Content


@dataclass(frozen=True)
class Predictions:
    """What a model predicted.

    Attributes
    ----------
    classes
        Predicted classes, int32 of shape [images], in the order of `indices`.
    indices
        The images' indices in the dataset, int64 of shape [images]; a prefix of the visiting order.
    outputs
        The number of classes of the model.
    computed
        How many of the images were run through the model for it; the others came from the store or from memory.
    """

    classes: npt.NDArray[np.int32]
    indices: npt.NDArray[np.int64]
    outputs: int
    computed: int


@dataclass
class PartialPredictions:
    """The predicted classes of the first `done` images of the visiting order."""

    order: npt.NDArray[np.int64]
    classes: npt.NDArray[np.int32]
    outputs: int = 0
    done: int = 0

    @classmethod
    def none_of(cls, order: npt.NDArray[np.int64]) -> PartialPredictions:
        """Return the state before any chunk is collected."""
        return cls(order, np.empty(len(order), dtype=np.int32))


class PredictionCollector:
    """Collects predictions chunk by chunk, in the visiting order, so that a test may stop early.

    Parameters
    ----------
    partial
        The predictions of the session so far; new ones are added to them.
    chunk_collector
        Has the others.
    """

    def __init__(self, partial: PartialPredictions, chunk_collector: ChunkCollector) -> None:
        self._partial = partial
        self._chunks = chunk_collector

    @property
    def looks(self) -> list[int]:
        """The numbers of images that can be collected: the ends of the chunks."""
        return [chunk.stop for chunk in chunks(len(self._partial.order))]

    def collect(self, count: int) -> Predictions:
        """Return the predictions of the first `count` images, one of `looks`."""
        partial = self._partial
        missing = [chunk for chunk in chunks(len(partial.order)) if partial.done <= chunk.start < count]
        for chunk, content in self._chunks.collect(missing, partial.done):
            partial.classes[chunk.start : chunk.stop] = content["classes"]
            partial.outputs = int(content["outputs"][0])
        # Only now: if a chunk fails, those that came before it out of order do not form a prefix.
        partial.done = max(partial.done, count)
        return Predictions(partial.classes[:count], partial.order[:count], partial.outputs, self._chunks.computed)


def are_predictions(chunk: range, content: Content) -> bool:
    """Whether arrays have the form of predicted classes; see `ChunkTask`."""
    if content.keys() != {"classes", "outputs"}:
        return False
    classes, outputs = content["classes"], content["outputs"]
    return (
        classes.dtype == outputs.dtype == np.int32
        and (classes.shape, outputs.shape) == ((len(chunk),), (1,))
        and bool(classes.min() >= 0 and classes.max() < outputs[0])
    )
