"""The predictions of one model under one intervention."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_biastransfer.evaluation.visiting_order import chunks

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_biastransfer.evaluation.chunk_collector import ChunkCollector
    from pytest_biastransfer.evaluation.prediction_kinds import PredictionKind


@dataclass(frozen=True)
class Predictions:
    """What a model predicted.

    Attributes
    ----------
    values
        Predicted classes, int32 of shape [images]; or the outputs of a model with one output a label, float32 of shape
        [images, labels]. In the order of `indices`.
    indices
        The images' indices in the dataset, int64 of shape [images]; a prefix of the visiting order.
    outputs
        The number of outputs of the model.
    computed
        How many of the images were run through the model for it; the others came from the store or from memory.
    """

    values: npt.NDArray[Any]
    indices: npt.NDArray[np.int64]
    outputs: int
    computed: int

    def in_order(self) -> Predictions:
        """Return the same predictions in the dataset's order."""
        import numpy as np

        positions = np.arange(len(self.indices))
        if self.indices.max(initial=-1) >= len(positions):
            order = self.indices.argsort()
            return replace(self, values=self.values[order], indices=self.indices[order])
        # Of all images: the inverse of the permutation, without sorting.
        order = np.empty_like(positions)
        order[self.indices] = positions
        return replace(self, values=self.values[order], indices=positions)

    def of_output(self, output: int) -> Predictions:
        """Return one output of a model that has one a label: values float32 of shape [images, 1]."""
        return replace(self, values=self.values[:, output : output + 1])

    @property
    def classes(self) -> npt.NDArray[np.int32]:
        """Predicted classes; of models with a softmax alone."""
        assert self.values.ndim == 1
        return self.values


@dataclass
class PartialPredictions:
    """The predictions of the first `done` images of the visiting order."""

    order: npt.NDArray[np.int64]
    values: npt.NDArray[Any] | None = None
    outputs: int = 0
    done: int = 0

    def put(self, chunk: range, values: npt.NDArray[Any]) -> None:
        """Set the predictions of a chunk."""
        import numpy as np

        if self.values is None:
            self.values = np.empty((len(self.order), *values.shape[1:]), values.dtype)
        self.values[chunk.start : chunk.stop] = values


class PredictionCollector:
    """Collects predictions chunk by chunk, in the visiting order, so that a test may stop early.

    Parameters
    ----------
    partial
        The predictions of the session so far; new ones are added to them.
    chunk_collector
        Has the others.
    kind
        What is predicted.
    """

    def __init__(self, partial: PartialPredictions, chunk_collector: ChunkCollector, kind: PredictionKind) -> None:
        self._partial = partial
        self._chunks = chunk_collector
        self._kind = kind

    @property
    def looks(self) -> list[int]:
        """The numbers of images that can be collected: the ends of the chunks."""
        return [chunk.stop for chunk in chunks(len(self._partial.order))]

    def collect(self, count: int) -> Predictions:
        """Return the predictions of the first `count` images, one of `looks`."""
        partial = self._partial
        missing = [chunk for chunk in chunks(len(partial.order)) if partial.done <= chunk.start < count]
        for chunk, content in self._chunks.collect(missing, partial.done):
            partial.put(chunk, self._kind.values(content))
            partial.outputs = self._kind.outputs(content)
        # Only now: if a chunk fails, those that came before it out of order do not form a prefix.
        partial.done = max(partial.done, count)
        assert partial.values is not None
        return Predictions(partial.values[:count], partial.order[:count], partial.outputs, self._chunks.computed)
