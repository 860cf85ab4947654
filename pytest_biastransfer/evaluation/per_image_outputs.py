"""An array of figures for each image that a model computes, such as its features: through the store as predictions are.

Unlike predictions they are of all images at once, in the dataset's order.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_biastransfer.evaluation.predictions import collected
from pytest_biastransfer.evaluation.progress import Progress
from pytest_biastransfer.evaluation.visiting_order import chunks, visiting_order
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.store import StoreDirectory
from pytest_biastransfer.store.chunks import ChunkStore, Content

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.chunk_runner import ChunkRunner
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.evaluation.keys import PredictionKey
    from pytest_biastransfer.models import Model


def rows_of(
    evaluator: Evaluator,
    model: Model,
    images: LabelledImages,
    kind: str,
    read: Callable[[torch.Tensor], torch.Tensor],
    *,
    limit: int | None = None,
) -> npt.NDArray[Any]:
    """Return what `read` makes of the model's outputs, [images, ...], in the dataset's order.

    Parameters
    ----------
    kind
        Tells what `read` does from what others do.
    read
        Takes outputs [batch, outputs], and returns [batch, ...]. Outputs must be finite numbers.
    limit
        Only the first so many images of the visiting order, the others are 0.
    """
    (key,) = evaluator.keys(model, images, [None])
    order = visiting_order(len(images))[:limit]
    with contextlib.ExitStack() as stack:
        work = _Work(evaluator, key, model, images, order, read, stack)
        store = (
            evaluator.store.rows if key.portable and not evaluator.verifies_all else ChunkStore(StoreDirectory(None))
        )
        found: npt.NDArray[Any] | None = None
        shape: tuple[int, ...] | None = None

        def are_rows(chunk: range, content: Content) -> bool:
            rows = content.get("rows")
            return (
                rows is not None
                and rows.shape[:1] == (len(chunk),)
                and shape in (None, rows.shape[1:])
                and (rows.dtype.kind != "f" or bool(np.isfinite(rows).all()))
            )

        rows_key = fingerprint(key.text, kind)
        for chunk, content in collected(store, rows_key, chunks(len(order)), work.compute, are_rows):
            part = content["rows"]
            shape = part.shape[1:]
            if found is None:
                found = np.zeros((len(images), *part.shape[1:]), part.dtype)
            found[order[chunk.start : chunk.stop]] = part
            work.tell(len(chunk))
    assert found is not None
    return found


class _Work:
    """What is computed here, because no other process or session has done it."""

    def __init__(
        self,
        evaluator: Evaluator,
        key: PredictionKey,
        model: Model,
        images: LabelledImages,
        order: npt.NDArray[np.int64],
        read: Callable[[torch.Tensor], torch.Tensor],
        stack: contextlib.ExitStack,
    ) -> None:
        self._evaluator, self._key, self._given, self._order = evaluator, key, (model, images, None), order
        self._read = read
        self._stack = stack
        self._pass: ChunkRunner | None = None
        self._start = time.monotonic()
        self._done = self._computed = 0

    def compute(self, chunk: range) -> Content:
        """Return the rows of a chunk."""
        if self._pass is None:
            self._pass = self._stack.enter_context(self._evaluator.begin(self._key, *self._given, self._order))
        self._computed += len(chunk)
        return {"rows": self._pass.rows(chunk, self._read)}

    def tell(self, images: int) -> None:
        """Tell that so many images more are there."""
        self._done += images
        if self._pass and self._evaluator.on_progress:
            seconds = time.monotonic() - self._start
            told = Progress(self._key.text, self._done, len(self._order), self._computed, seconds)
            self._evaluator.on_progress(told)
