"""Predictions of any model on any images, each computed once: through the store, chunk by chunk."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_biastransfer import __version__
from pytest_biastransfer.errors import StoreWarning
from pytest_biastransfer.evaluation.batch_size import BatchSize
from pytest_biastransfer.evaluation.order import chunks, visiting_order
from pytest_biastransfer.evaluation.pixel_cache import DEFAULT_LIMIT, PixelCache
from pytest_biastransfer.fingerprints import NotFingerprintableError, fingerprint
from pytest_biastransfer.models import Model
from pytest_biastransfer.store import ChunkStore, Content, Store

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.passes import Pass
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.names import Precision

# Part of every key: predictions of another release may come from another rendering.
_FORMAT: Final = f"2/{__version__}"


@dataclass(frozen=True)
class Progress:
    """How far the evaluation of one model under one intervention is.

    Attributes
    ----------
    key
        Tells this evaluation from others; the same in all processes that share it.
    done, total
        Images, by whichever process or session.
    computed
        Images that this process ran through the model for it.
    """

    key: str
    done: int
    total: int
    computed: int


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

    Torch is imported when a prediction is not in the store.

    Parameters
    ----------
    device
        Where the models run: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...
    store
        What is kept between sessions.
    batch_size
        Images a forward pass; default by device and measurement. Halved when the device's memory does not suffice.
    max_images
        Evaluate only this many images of each dataset: a fixed random sample.
    precision
        What the models compute in: ``"float32"``, ``"tf32"`` or ``"bf16"``.
    pixel_cache
        The most bytes of decoded pixels that are kept.
    prepare
        Called before anything is computed.
    on_progress
        Called after each chunk that was not there yet.
    """

    def __init__(
        self,
        device: str,
        store: Store | None = None,
        *,
        batch_size: int | None = None,
        max_images: int | None = None,
        precision: Precision = "float32",
        pixel_cache: int = DEFAULT_LIMIT,
        prepare: Callable[[], None] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.store = store or Store()
        self._device = device
        self._device_type = device.partition(":")[0]
        self._batch_size = batch_size
        self._max_images = max_images
        self._precision = precision
        self._pixels = PixelCache(self.store.pixels, pixel_cache)
        self._prepare = prepare
        self._on_progress = on_progress
        self._batch_sizes: dict[str, BatchSize] = {}
        self._memo: dict[str, Predictions] = {}
        self._kept: list[object] = []

    def predictions(
        self, model: Model, images: LabelledImages, intervention: Intervention | None = None
    ) -> Predictions:
        """Return the model's predictions on the images, changed by the intervention if there is one."""
        (model_content, model_lasts), (change, change_lasts) = self._content(model), self._content(intervention)
        key = fingerprint(
            (model_content, change),
            model.preprocess.fingerprint,
            images.fingerprint,
            self._precision,
            self._device_type,
            _FORMAT,
        )
        known = self._memo.get(key)
        if known is not None:
            return dataclasses.replace(known, computed=0)
        store = self.store.predictions if model_lasts and change_lasts else ChunkStore(None)
        batch_size = self._batch_sizes.setdefault(model_content, BatchSize(self._batch_size, self._device_type))
        self._memo[key] = found = self._collect(store, key, model, images, intervention, batch_size)
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
        batch_size: BatchSize,
    ) -> Predictions:
        order = visiting_order(len(images))[: self._max_images]
        places = chunks(len(order))
        classes = np.empty(len(order), dtype=np.int32)
        done = outputs = computed = 0

        with contextlib.ExitStack() as stack:
            begun: Pass | None = None

            def compute(chunk: range) -> Content:
                nonlocal begun, computed
                begun = begun or stack.enter_context(self._begin(model, images, intervention, order, batch_size))
                content = begun.predictions(chunk)
                computed += len(chunk)
                return content

            for chunk, content in store.collect(key, places, compute):
                classes[chunk.start : chunk.stop] = content["classes"]
                outputs = int(content["outputs"][0])
                done += len(chunk)
                if begun and self._on_progress:
                    self._on_progress(Progress(key, done, len(order), computed))
        return Predictions(classes, order, outputs, computed)

    def _begin(
        self,
        model: Model,
        images: LabelledImages,
        intervention: Intervention | None,
        order: npt.NDArray[np.int64],
        batch_size: BatchSize,
    ) -> contextlib.AbstractContextManager[Pass]:
        """Start computing: only now torch and the model are needed."""
        if self._prepare:
            self._prepare()
        import torch

        from pytest_biastransfer.evaluation.passes import Pass, running

        device = torch.device(self._device)
        work = Pass(
            model,
            images,
            intervention,
            order,
            pixels=self._pixels,
            device=device,
            precision=self._precision,
            batch_size=batch_size,
        )
        return running(work, model, device)
