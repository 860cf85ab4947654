"""Other figures of each image than its predicted class, such as features: stored as predictions are."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_biastransfer.evaluation.visiting_order import chunks
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.store import StoreDirectory
from pytest_biastransfer.store.chunks import ChunkStore, Content

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.chunk_task import OutputReader
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.models import Model


@dataclass(frozen=True)
class PerImageOutputs:
    """Figures of images.

    Attributes
    ----------
    rows
        [images, ...], in the dataset's order; 0 for images that were not evaluated.
    indices
        The evaluated images' indices in the dataset, int64, ascending.
    computed
        How many of the images were run through the model for it.
    """

    rows: npt.NDArray[Any]
    indices: npt.NDArray[np.int64]
    computed: int


def per_image_outputs(
    evaluator: Evaluator,
    model: Model,
    images: LabelledImages,
    reader: OutputReader,
    *,
    limit: int | None = None,
) -> PerImageOutputs:
    """Return what a reader makes of the model's outputs, which must be finite numbers.

    With a `limit` only of the first so many images of the visiting order.
    """
    (key,) = evaluator.keys(model, images, [None])
    evaluation = evaluator.evaluation(model, images, None, key, limit, reader)
    # Rows have no canary: where everything is verified, none are taken from the store.
    store = ChunkStore(StoreDirectory(None)) if evaluator.verifies_all else evaluator.store.rows
    rows: npt.NDArray[Any] | None = None

    def are_rows(chunk: range, content: Content) -> bool:
        array = content.get("rows")
        return (
            array is not None
            and array.shape[:1] == (len(chunk),)
            and (rows is None or array.shape[1:] == rows.shape[1:])
            and (array.dtype.kind != "f" or bool(np.isfinite(array).all()))
        )

    with contextlib.ExitStack() as stack:
        collector = evaluator.chunk_collector(evaluation, store, fingerprint(key.text, reader.kind), are_rows, stack)
        for chunk, content in collector.collect(chunks(evaluation.count)):
            array = content["rows"]
            if rows is None:
                rows = np.zeros((len(images), *array.shape[1:]), array.dtype)
            rows[evaluation.order[chunk.start : chunk.stop]] = array
    assert rows is not None
    return PerImageOutputs(rows, np.sort(evaluation.order), collector.computed)
