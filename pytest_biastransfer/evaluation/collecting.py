"""The predictions of one model under one intervention, gathered from the store and computed where missing."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_biastransfer.evaluation.evaluator import Evaluator, Key, Progress
from pytest_biastransfer.evaluation.order import chunks, visiting_order
from pytest_biastransfer.store import Place
from pytest_biastransfer.store.chunks import ChunkStore, Content

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.passes import Pass
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.models import Model


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
        How many of the images were run through the model now; the others came from the store.
    """

    classes: npt.NDArray[np.int32]
    indices: npt.NDArray[np.int64]
    outputs: int
    computed: int


def collect(
    evaluator: Evaluator, key: Key, model: Model, images: LabelledImages, intervention: Intervention | None
) -> Predictions:
    """Return all predictions under `key`, each from whichever process had it first."""
    order = visiting_order(len(images))[: evaluator.max_images]
    classes = np.empty(len(order), dtype=np.int32)
    store = evaluator.store.predictions if key.lasting else ChunkStore(Place(None))
    done = outputs = computed = 0
    start = time.monotonic()

    with contextlib.ExitStack() as stack:
        begun: Pass | None = None

        def compute(chunk: range) -> Content:
            nonlocal begun, computed
            begun = begun or stack.enter_context(_begin(evaluator, key, model, images, intervention, order))
            content = begun.predictions(chunk)
            computed += len(chunk)
            return content

        for chunk, content in store.collect(key.text, chunks(len(order)), compute):
            classes[chunk.start : chunk.stop] = content["classes"]
            outputs = int(content["outputs"][0])
            done += len(chunk)
            if begun and evaluator.on_progress:
                evaluator.on_progress(Progress(key.text, done, len(order), computed, time.monotonic() - start))
    return Predictions(classes, order, outputs, computed)


def _begin(
    evaluator: Evaluator,
    key: Key,
    model: Model,
    images: LabelledImages,
    intervention: Intervention | None,
    order: npt.NDArray[np.int64],
) -> contextlib.AbstractContextManager[Pass]:
    """Start computing: only now torch and the model are needed."""
    if evaluator.prepare:
        evaluator.prepare()
    import torch

    from pytest_biastransfer.evaluation.passes import Pass, running

    device = torch.device(evaluator.device)
    work = Pass(
        model,
        images,
        intervention,
        order,
        pixels=evaluator.pixels,
        device=device,
        precision=evaluator.precision,
        batch_size=evaluator.batch_size(key),
    )
    return running(work, model, device)
