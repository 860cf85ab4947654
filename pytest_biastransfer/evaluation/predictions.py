"""The predictions of one model under one intervention, gathered from the store and computed where missing."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_biastransfer.evaluation.forward_reads import ReadsMoreError
from pytest_biastransfer.evaluation.progress import Progress
from pytest_biastransfer.evaluation.visiting_order import chunks
from pytest_biastransfer.store import StoreDirectory
from pytest_biastransfer.store.chunks import ChunkStore, Content

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.evaluation.chunk_runner import ChunkRunner
    from pytest_biastransfer.evaluation.environment import Environment
    from pytest_biastransfer.evaluation.keys import PredictionKey


@dataclass(frozen=True)
class Predictions:
    """What a model predicted.

    Attributes
    ----------
    classes
        Predicted classes, int32 of shape [images], in the order of `indices`.
    indices
        The images' places in the dataset, int64 of shape [images]; a prefix of the visiting order.
    outputs
        The number of classes of the model.
    computed
        How many of the images were run through the model for it; the others came from the store, or were there.
    """

    classes: npt.NDArray[np.int32]
    indices: npt.NDArray[np.int64]
    outputs: int
    computed: int


@dataclass
class PartialPredictions:
    """What has been gathered under a key: the classes of the first `done` images of the order."""

    order: npt.NDArray[np.int64]
    classes: npt.NDArray[np.int32]
    outputs: int = 0
    done: int = 0

    @classmethod
    def nothing(cls, order: npt.NDArray[np.int64]) -> PartialPredictions:
        """Return the state before anything was gathered."""
        return cls(order, np.empty(len(order), dtype=np.int32))


class Collection:
    """Gathers predictions, chunk by chunk in the visiting order: each from whichever process had it first.

    Parameters
    ----------
    begin
        Starts to compute, at the first image that has no prediction yet.
    gathered
        The predictions that are there already, and are added to.
    stack
        Keeps the model ready to evaluate, from the first image that has to be computed until it is closed.
    """

    def __init__(
        self,
        environment: Environment,
        key: PredictionKey,
        begin: Callable[[], contextlib.AbstractContextManager[ChunkRunner]],
        *,
        gathered: PartialPredictions,
        stack: contextlib.ExitStack,
    ) -> None:
        self._computed = 0
        self._environment = environment
        self._key = key
        self._begin = begin
        self._gathered = gathered
        self._stack = stack
        self._store = environment.store.predictions if key.portable else ChunkStore(StoreDirectory(None))
        self._pass: ChunkRunner | None = None

    @property
    def looks(self) -> list[int]:
        """How many images there can be at a time: the ends of the chunks, the last one all of them."""
        return [chunk.stop for chunk in chunks(len(self._gathered.order))]

    def gather(self, count: int) -> Predictions:
        """Return the predictions of the first `count` images, one of `looks`."""
        gathered, start = self._gathered, time.monotonic()
        total = len(gathered.order)
        missing = [chunk for chunk in chunks(total) if gathered.done <= chunk.start < count]
        done = gathered.done
        for chunk, content in collected(self._store, self._key.text, missing, self._compute, are_predictions):
            gathered.classes[chunk.start : chunk.stop] = content["classes"]
            gathered.outputs = int(content["outputs"][0])
            done += len(chunk)
            if self._pass and self._environment.on_progress:
                seconds = time.monotonic() - start
                self._environment.on_progress(Progress(self._key.text, done, total, self._computed, seconds))
        gathered.done = max(gathered.done, count)
        return Predictions(gathered.classes[:count], gathered.order[:count], gathered.outputs, self._computed)

    def _compute(self, chunk: range) -> Content:
        if self._pass is None:
            self._pass = self._stack.enter_context(self._begin())
        content = self._pass.predictions(chunk)
        self._computed += len(chunk)
        return content


def collected(
    store: ChunkStore,
    key: str,
    missing: Sequence[range],
    compute: Callable[[range], Content],
    is_whole: Callable[[range, Content], bool],
) -> Iterator[tuple[range, Content]]:
    """Yield chunks as the store does; none is kept where the model turns out to read what its key does not tell."""
    left = list(missing)
    try:
        for chunk, content in store.collect(key, missing, compute, is_whole):
            left.remove(chunk)
            yield chunk, content
    except ReadsMoreError:
        yield from ChunkStore(StoreDirectory(None)).collect(key, left, compute, is_whole)


def are_predictions(chunk: range, content: Content) -> bool:
    """Whether arrays are what `Predictor.classes` returns."""
    if content.keys() != {"classes", "outputs"}:
        return False
    classes, outputs = content["classes"], content["outputs"]
    return (
        classes.dtype == outputs.dtype == np.int32
        and (classes.shape, outputs.shape) == ((len(chunk),), (1,))
        and bool(classes.min() >= 0 and classes.max() < outputs[0])
    )
