"""Chunks of predictions as a task: everything that decides about its result, and nothing else.

Any process on any machine may compute any task. The result is the same on devices of one kind, such as one model of
GPU: bit by bit with a fixed batch size, up to the rounding of logits with one that is measured while it computes. An
image in another task, of fewer or more chunks, may be in a batch of another size: there, too, it is up to rounding.
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.evaluation.compact_pickles import compact_dumps
from pytest_biastransfer.evaluation.visiting_order import visiting_order

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from pytest_biastransfer.evaluation.keys import PredictionKey
    from pytest_biastransfer.evaluation.references import ImagesReference, ModelReference
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.names import Precision
    from pytest_biastransfer.store.chunks import Content

# The arrays of a result that have a row for each image.
_PER_IMAGE: Final = ("classes", "rows")
# What picklers raise, and the __reduce__ of objects that refuse.
_PICKLING_ERRORS: Final = (pickle.PickleError, AttributeError, TypeError, ValueError, RuntimeError)


@dataclass(frozen=True)
class OutputReader:
    """Reads other figures than the predicted class from a model's outputs.

    Attributes
    ----------
    kind
        Identifies the figures, also between processes.
    read
        Takes outputs [batch, outputs], and returns [batch, ...].
    of_logits
        Whether the outputs have to be logits.
    """

    kind: str
    read: Callable[[torch.Tensor], torch.Tensor] = field(compare=False)
    of_logits: bool = False


@dataclass(frozen=True)
class Evaluation:
    """What all chunks of one evaluation have in common: a model, a dataset and an intervention.

    Two evaluations are equal if their results are.

    Attributes
    ----------
    key
        The key of the predictions; covers the content of the model, the dataset and the intervention.
    model, images
        What is evaluated.
    intervention
        None for the clean images.
    count
        How many images are evaluated: the first ones of the visiting order.
    dataset_seed
        What fixes that order: computed once, so that other processes have the same.
    precision
        What the model computes in.
    batch_size
        Images a forward pass; None if whoever computes measures which size is fastest.
    reader
        None for predicted classes.
    compiled
        Whether the model is compiled.
    """

    key: PredictionKey
    model: ModelReference = field(compare=False)
    images: ImagesReference = field(compare=False)
    intervention: Intervention | None = field(compare=False)
    count: int
    dataset_seed: int
    precision: Precision = "float32"
    batch_size: int | None = None
    reader: OutputReader | None = None
    compiled: bool = False

    @functools.cached_property
    def order(self) -> npt.NDArray[np.int64]:
        """The indices of the images in the dataset, in the visiting order."""
        return visiting_order(len(self.images.get()), self.dataset_seed)[: self.count]

    def to_bytes(self, dumps: Callable[[Any], bytes] = compact_dumps) -> bytes:
        """Return the evaluation for another process, which reads it with `pickle.loads`.

        `dumps` may be another pickler, such as cloudpickle's. Raises `BiasTransferError` if a part of it cannot be
        pickled.
        """
        return _pickled(self, self, dumps)

    def __getstate__(self) -> dict[str, Any]:
        # The order is long, and follows from the rest.
        return {name: value for name, value in vars(self).items() if name != "order"}


@dataclass(frozen=True)
class ChunkTask:
    """One chunk of an evaluation, or neighbouring ones that are computed together.

    Its result are arrays by name: ``classes``, int32 [images], and ``outputs``, int32 [1], the number of classes of
    the model; with an `OutputReader` they are ``rows`` [images, ...].

    Attributes
    ----------
    positions
        Those of the images in the visiting order.
    companions
        Returns the evaluations that the same positions are needed of later; see `Companions.claim`. An executor that
        holds pixels which it would have to load again for them may compute them too. Then it yields their results
        before that of this task.
    """

    evaluation: Evaluation
    positions: range
    companions: Callable[[], Sequence[Evaluation]] = field(default=tuple, compare=False)

    @property
    def indices(self) -> list[int]:
        """The indices of the images in the dataset; randomized interventions depend on them."""
        indices: list[int] = self.evaluation.order[self.positions.start : self.positions.stop].tolist()
        return indices

    def __getstate__(self) -> dict[str, Any]:
        # Only this process has claimed their chunks.
        return {**vars(self), "companions": tuple}

    def to_bytes(self, dumps: Callable[[Any], bytes] = compact_dumps) -> bytes:
        """Return the task for another process; see `Evaluation.to_bytes`."""
        return _pickled(self, self.evaluation, dumps)


def part_of(content: Content, positions: range, chunk: range) -> Content:
    """Return the result of one chunk, from that of the task with these positions."""
    rows = slice(chunk.start - positions.start, chunk.stop - positions.start)
    return {name: array[rows] if name in _PER_IMAGE else array for name, array in content.items()}


def _pickled(subject: ChunkTask | Evaluation, evaluation: Evaluation, dumps: Callable[[Any], bytes]) -> bytes:
    try:
        return dumps(subject)
    except _PICKLING_ERRORS as error:
        raise BiasTransferError(_not_picklable(evaluation, dumps, error)) from error


def _not_picklable(evaluation: Evaluation, dumps: Callable[[Any], bytes], error: Exception) -> str:
    parts: dict[str, Any] = {
        f"model {evaluation.model.name}": evaluation.model,
        f"dataset {evaluation.images.name}": evaluation.images,
        f"intervention {evaluation.intervention}": evaluation.intervention,
        "reader of outputs": evaluation.reader,
    }
    for name, content in parts.items():
        try:
            dumps(content)
        except _PICKLING_ERRORS as cause:
            return (
                f"{name}: cannot be sent to another process ({cause}); expected an object that pickle takes. Give "
                f"its spec string instead of the object, define its class and functions at the top of a module, "
                f"or evaluate it in the test's process"
            )
    return f"an evaluation cannot be sent to another process: {error}"
