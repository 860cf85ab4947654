"""The environment of evaluations: device, precision, store, and the state that all of them share."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

from pytest_biastransfer.evaluation.cpus import cpu_name
from pytest_biastransfer.evaluation.device_memory import DeviceMemory
from pytest_biastransfer.evaluation.forward_reads import ForwardReads
from pytest_biastransfer.evaluation.gpus import installed_gpus, product_name
from pytest_biastransfer.evaluation.keys import KeyFactory
from pytest_biastransfer.evaluation.model_checks import ModelChecks
from pytest_biastransfer.store import Store

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.batch_size import BatchSize
    from pytest_biastransfer.evaluation.keys import PredictionKey
    from pytest_biastransfer.evaluation.pixel_cache import PixelCache
    from pytest_biastransfer.evaluation.predictor import Predictor
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.models import Model
    from pytest_biastransfer.names import Precision
    from pytest_biastransfer.progress.record import Progress

# Decoded pixels of a larger dataset are not stored.
PIXEL_CACHE: Final = 4 * 2**30


class Options(TypedDict, total=False):
    """How models are evaluated.

    Attributes
    ----------
    batch_size
        Images a forward pass; default: chosen by device and measurement. Halved when the device runs out of memory.
    max_images
        Evaluate only this many images of each dataset: a fixed random sample.
    order_seed
        A number, at least 0, that decides with the content of a dataset in which order its images are visited, and so
        which ones are in a sample; default: 0.
    precision
        ``"float32"`` (default), ``"tf32"`` or ``"bf16"``.
    compiled
        Whether models are compiled; default: they are not.
    pixel_cache
        The most bytes of decoded pixels that are stored; None for `PIXEL_CACHE`.
    device_memory
        What stays on the device between evaluations; default: nothing.
    share_across_devices
        Whether predictions that another model of GPU has computed are used; default: they are not.
    elsewhere
        The device of an executor that computes on other machines; default: this process computes.
    upcoming
        Returns what later measurements need of a model on a dataset; default: nothing.
    prepare
        Called before anything is computed.
    on_progress
        Called after each chunk that was not stored yet.
    """

    batch_size: int | None
    max_images: int | None
    order_seed: int
    precision: Precision
    compiled: bool
    pixel_cache: int | None
    device_memory: DeviceMemory
    share_across_devices: bool
    elsewhere: str | None
    upcoming: Callable[[Model, LabelledImages], Sequence[Upcoming]]
    prepare: Callable[[], None] | None
    on_progress: Callable[[Progress], None] | None


@dataclass(frozen=True)
class Upcoming:
    """What a later measurement needs of a model on a dataset.

    Attributes
    ----------
    intervention
        None for the clean images.
    may_stop
        Whether it may stop after its first look at the predictions.
    """

    intervention: Intervention | None
    may_stop: bool = False


class Environment:
    """Where and how models are evaluated.

    Parameters
    ----------
    device
        Where models run: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...
    store
        What is kept between sessions; default: nothing.
    options
        See `Options`.

    Attributes
    ----------
    computing_device
        What is known of the device that computes predictions: its type and its model, ``"cuda NVIDIA L4"``, or its type
        alone, where devices of several models may have computed them.
    """

    def __init__(self, device: str, store: Store | None = None, **options: Unpack[Options]) -> None:
        self.store = store or Store()
        self.device = device
        self.max_images = options.get("max_images")
        self._order_seed = options.get("order_seed", 0)
        self.precision: Precision = options.get("precision", "float32")
        self.compiled = options.get("compiled", False)
        self.upcoming = options.get("upcoming") or (lambda _model, _images: ())
        self.prepare = options.get("prepare")
        self.on_progress = options.get("on_progress")
        pixel_cache = options.get("pixel_cache")
        self._pixel_cache = PIXEL_CACHE if pixel_cache is None else pixel_cache
        self.device_memory = options.get("device_memory") or DeviceMemory()
        self.fixed_batch_size = options.get("batch_size")
        self._batch_sizes: dict[tuple[str, int | None, bool], BatchSize] = {}
        kind = self._kind_of_device(options)
        # Keys do not tell CPUs apart: a store is shared by many kinds, and all of them are right.
        self.computing_device = cpu_name() if kind == "cpu" and options.get("elsewhere") is None else kind
        forward_reads = ForwardReads(self.store.facts)
        self.checks = ModelChecks(self.store, forward_reads)
        self._key_factory = KeyFactory(
            self.store.generations,
            forward_reads,
            self.precision,
            kind,
            self._order_seed,
            compiled=self.compiled,
        )

    @property
    def device_type(self) -> str:
        """The device without its number."""
        return self.device.partition(":")[0]

    def _kind_of_device(self, options: Options) -> str:
        """Return what the keys of predictions say of the device.

        GPUs of one model agree bit by bit. Those of different ones round differently, so that images which are nearly
        tied between two classes differ: figures of a session would depend on which worker has computed which chunk.
        """
        elsewhere = options.get("elsewhere")
        if elsewhere is not None:
            # Of the GPUs of other machines only the type is certain.
            return elsewhere.partition(":")[0]
        if self.device_type != "cuda" or options.get("share_across_devices", False):
            return self.device_type
        index = int(self.device.partition(":")[2] or 0)
        return f"cuda {product_name(installed_gpus(), os.environ.get('CUDA_VISIBLE_DEVICES'), index)}".strip()

    def count(self, images: LabelledImages) -> int:
        """Return how many images of a dataset are evaluated."""
        return len(images) if self.max_images is None else min(self.max_images, len(images))

    def dataset_seed(self, images: LabelledImages) -> int:
        """Return the seed of the order in which the images of a dataset are visited."""
        from pytest_biastransfer.evaluation.visiting_order import dataset_seed

        return dataset_seed(images.fingerprint, self._order_seed)

    def keys(
        self, model: Model, images: LabelledImages, interventions: Sequence[Intervention | None]
    ) -> list[PredictionKey]:
        """Return what the predictions under each intervention depend on; the same key means the same predictions."""
        return self._key_factory.keys(model, images, interventions)

    @functools.cached_property
    def pixels(self) -> PixelCache:
        """The decoded pixels of datasets."""
        # Numpy is imported only here: a session whose measurements are all stored needs none.
        from pytest_biastransfer.evaluation.pixel_cache import PixelCache

        return PixelCache(self.store.pixels, self._pixel_cache, self.store.generations)

    def predictor(
        self,
        model: Model,
        key: PredictionKey,
        batch_size: int | None = None,
        precision: Precision | None = None,
        *,
        compiled: bool = False,
    ) -> Predictor:
        """Return what runs a model on the device; `batch_size` and `precision` replace the options.

        The model is compiled only if that is asked for here: it takes longer than to evaluate a few images.
        """
        import torch

        from pytest_biastransfer.evaluation.predictor import Predictor

        precision = precision or self.precision
        return Predictor(
            model,
            torch.device(self.device),
            self.batch_size(key, batch_size, measures=not compiled),
            precision,
            free_memory=self.device_memory.free,
            compiled=self.device_memory.compiled.of(model, precision) if compiled else None,
        )

    def batch_size(self, key: PredictionKey, fixed: int | None = None, *, measures: bool = True) -> BatchSize:
        """Return the batch size of a model, which remembers its measurements; `fixed` replaces the option.

        Without `measures` it stays the same, unless memory is short.
        """
        from pytest_biastransfer.evaluation.batch_size import BatchSize

        images = fixed or self.fixed_batch_size
        identity = key.model, images, measures
        if identity not in self._batch_sizes:
            self._batch_sizes[identity] = BatchSize(images, self.device_type, measures=measures)
        return self._batch_sizes[identity]
