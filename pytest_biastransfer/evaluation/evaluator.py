"""Predictions of any model on any images, each computed once: through the store, chunk by chunk."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_biastransfer import __version__
from pytest_biastransfer.data.pixels import decode
from pytest_biastransfer.errors import StoreWarning
from pytest_biastransfer.evaluation.order import chunks, visiting_order
from pytest_biastransfer.evaluation.predict import Predictor, ready_to_evaluate, source_change
from pytest_biastransfer.evaluation.store import ChunkStore, Content
from pytest_biastransfer.fingerprints import NotFingerprintableError, fingerprint
from pytest_biastransfer.models import Model

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.models import Preprocess

# Part of every key: predictions of another release may come from another rendering.
_FORMAT: Final = f"1/{__version__}"
# The decoded pixels of larger datasets are not kept: they would fill the disk.
_MOST_PIXEL_BYTES: Final = 4 * 2**30


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
        How many of the images this call ran through the model; the others came from the store.
    """

    classes: npt.NDArray[np.int32]
    indices: npt.NDArray[np.int64]
    outputs: int
    computed: int


class Evaluator:
    """Evaluates models on one device, with one store.

    Parameters
    ----------
    device
        Where the models run.
    store
        Directory of the predictions that are kept between sessions; None keeps nothing.
    batch_size
        Images a forward pass; default by device. Halved when the device's memory does not suffice.
    max_images
        Evaluate only this many images of each dataset: a fixed random sample.
    """

    def __init__(
        self,
        device: torch.device,
        store: Path | None = None,
        batch_size: int | None = None,
        max_images: int | None = None,
    ) -> None:
        self._device = device
        self._batch_size = batch_size
        self._max_images = max_images
        self._predictions = ChunkStore(store and store / "predictions")
        self._pixels = ChunkStore(store and store / "pixels")
        self._memo: dict[str, Predictions] = {}
        self._kept: list[object] = []

    def predictions(
        self, model: Model, images: LabelledImages, intervention: Intervention | None = None
    ) -> Predictions:
        """Return the model's predictions on the images, changed by the intervention if there is one."""
        content, lasting = zip(self._content(model), self._content(intervention), strict=True)
        key = fingerprint(
            content,
            model.preprocess.fingerprint,
            images.fingerprint,
            "float32",  # the precision
            self._device.type,
            _FORMAT,
        )
        known = self._memo.get(key)
        if known is not None:
            return dataclasses.replace(known, computed=0)
        store = self._predictions if all(lasting) else ChunkStore(None)
        self._memo[key] = found = self._collect(store, key, model, images, intervention)
        return found

    def _content(self, thing: Model | Intervention | None) -> tuple[str, bool]:
        """Return what a model or intervention is, and whether that can be told in other sessions too."""
        try:
            return ("clean" if thing is None else thing.fingerprint), True
        except NotFingerprintableError as error:
            warnings.warn(
                f"predictions with {thing} are kept for this session only, because its content cannot be told: "
                f"it holds {error}",
                StoreWarning,
                stacklevel=2,
            )
            # In this session an object can be told by its identity, as long as it is kept alive.
            self._kept.append(thing)
            state = thing.module.state_dict() if isinstance(thing, Model) else {}
            return fingerprint(id(getattr(thing, "module", thing)), dict(state)), False

    def _collect(
        self,
        store: ChunkStore,
        key: str,
        model: Model,
        images: LabelledImages,
        intervention: Intervention | None,
    ) -> Predictions:
        order = visiting_order(len(images))[: self._max_images]
        classes = np.empty(len(order), dtype=np.int32)
        outputs = computed = 0

        with ready_to_evaluate(model.module, self._device):
            predictor = Predictor(model, self._device, self._batch_size)

            def compute(chunk: range) -> Content:
                nonlocal computed
                computed += len(chunk)
                indices = order[chunk.start : chunk.stop].tolist()
                pixels, drawn = self._read_pixels(model.preprocess, images, chunk, indices, intervention)
                return predictor.predict(pixels, indices, drawn)

            for chunk, content in store.collect(key, chunks(len(order)), compute):
                classes[chunk.start : chunk.stop] = content["classes"]
                outputs = int(content["outputs"][0])
        return Predictions(classes, order, outputs, computed)

    def _read_pixels(
        self,
        preprocess: Preprocess,
        images: LabelledImages,
        chunk: range,
        indices: Sequence[int],
        intervention: Intervention | None,
    ) -> tuple[npt.NDArray[Any], Intervention | None]:
        """Return the pixels of a chunk, and the intervention that is still to be applied to them."""
        if intervention is not None and intervention.stage == "source":
            return decode(images, indices, preprocess, source_change(intervention)), None

        def compute(_: range) -> Content:
            return {"pixels": decode(images, indices, preprocess)}

        key = fingerprint(images.fingerprint, preprocess.pixels_fingerprint, _FORMAT)
        all_bytes = len(images) * decode(images, indices[:1], preprocess).nbytes
        store = self._pixels if all_bytes <= _MOST_PIXEL_BYTES else ChunkStore(None)
        ((_, content),) = store.collect(key, [chunk], compute)
        return content["pixels"], intervention
