"""Predictions of any model on any images, each computed once: through the store, chunk by chunk."""

from __future__ import annotations

import contextlib
import functools
import time
from typing import TYPE_CHECKING, Unpack

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.evaluation.canary import undisturbed
from pytest_biastransfer.evaluation.environment import Environment, Options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.canary import Canary
    from pytest_biastransfer.evaluation.chunk_collector import ChunkCollector
    from pytest_biastransfer.evaluation.chunk_task import Evaluation, OutputReader
    from pytest_biastransfer.evaluation.companions import Companion
    from pytest_biastransfer.evaluation.executor import Executor
    from pytest_biastransfer.evaluation.keys import PredictionKey
    from pytest_biastransfer.evaluation.predictions import PartialPredictions, PredictionCollector, Predictions
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.models import Model
    from pytest_biastransfer.store import Store
    from pytest_biastransfer.store.chunks import ChunkStore, Content


class Evaluator(Environment):
    """Evaluates models on one device, with one store.

    Numpy is imported when predictions are asked for, torch when one of them is not in the store.

    Parameters
    ----------
    canary
        Verifies stored predictions; None to trust them.
    executor
        Computes missing predictions, on its own device; default: this process on `device`.
    device, store, options
        As of `Environment`.

    Attributes
    ----------
    predicts_on
        The device that missing predictions are computed on: that of the executor, or of this process.

    Raises
    ------
    BiasTransferError
        If all stored predictions are to be verified, and the executor has another type of device than this process.
    """

    def __init__(
        self,
        device: str,
        store: Store | None = None,
        *,
        canary: Canary | None = None,
        executor: Executor | None = None,
        **options: Unpack[Options],
    ) -> None:
        self.predicts_on = device
        if executor is not None:
            self.predicts_on = options["elsewhere"] = executor.device
        super().__init__(device, store, **options)
        self._canary = self._usable(canary)
        self._executor = executor
        self._partial: dict[str, PartialPredictions] = {}
        self._loading = 0.0

    def _usable(self, canary: Canary | None) -> Canary | None:
        """Return the canary, or None where two types of devices round too differently for its comparison."""
        if canary is None or self.predicts_on.partition(":")[0] == self.device_type:
            return canary
        if canary.verification.verifies_all:
            raise BiasTransferError(
                f"--bias-verify=all: the executor predicts on {self.predicts_on}, and this process has only "
                f"{self.device} to verify it; run it where both have the same type of device"
            )
        return None

    def collector(
        self,
        model: Model,
        images: LabelledImages,
        intervention: Intervention | None,
        key: PredictionKey,
        stack: contextlib.ExitStack,
    ) -> PredictionCollector:
        """Return what collects the model's predictions on the images; None stands for the clean images.

        `key` is that of the predictions. The model is ready to evaluate from the first image that has to be computed
        until the `stack` is closed.
        """
        from pytest_biastransfer.evaluation.prediction_kinds import kind_of
        from pytest_biastransfer.evaluation.predictions import PartialPredictions, PredictionCollector

        kind = kind_of(model.outputs)
        evaluation = self.evaluation(model, images, intervention, key, self.max_images, kind.reader)
        stored_key = kind.key(key.text)
        if stored_key not in self._partial:
            self._partial[stored_key] = PartialPredictions(evaluation.order)
        find_companions = functools.partial(self._companions, model, images, key)
        chunks = self.chunk_collector(
            evaluation, self.store.predictions, stored_key, kind.accepts, stack, find_companions
        )
        return PredictionCollector(self._partial[stored_key], chunks, kind)

    def _companions(self, model: Model, images: LabelledImages, key: PredictionKey) -> list[Companion]:
        """Return what later measurements need of a model on the images, besides the evaluation of this key."""
        from pytest_biastransfer.evaluation.companions import Companion
        from pytest_biastransfer.evaluation.prediction_kinds import kind_of
        from pytest_biastransfer.evaluation.visiting_order import chunks

        kind, first_look = kind_of(model.outputs), chunks(len(images))[0].stop
        # What is stored under a key that is not portable is never read. Some interventions come before resizing.
        later = [
            measurement
            for measurement in (self.upcoming(model, images) if key.portable else ())
            if measurement.intervention is None or measurement.intervention.stage == "input"
        ]
        keys = self.keys(model, images, [measurement.intervention for measurement in later])
        return [
            Companion(
                self.evaluation(model, images, measurement.intervention, other, self.max_images, kind.reader),
                kind.key(other.text),
                first_look if measurement.may_stop else len(images),
            )
            for measurement, other in zip(later, keys, strict=True)
            if other.portable and other.text != key.text
        ]

    def evaluation(
        self,
        model: Model,
        images: LabelledImages,
        intervention: Intervention | None,
        key: PredictionKey,
        limit: int | None,
        reader: OutputReader | None = None,
    ) -> Evaluation:
        """Return the evaluation of a model on the first images of the visiting order, or on all without a `limit`."""
        from pytest_biastransfer.evaluation.chunk_task import Evaluation
        from pytest_biastransfer.evaluation.references import ImagesReference, ModelReference

        return Evaluation(
            key,
            ModelReference(model, key.content if key.portable else None),
            ImagesReference(images, images.fingerprint if key.portable else None),
            intervention,
            len(images) if limit is None else min(limit, len(images)),
            self.dataset_seed(images),
            self.precision,
            self.fixed_batch_size,
            reader,
            self.compiled,
        )

    def chunk_collector(
        self,
        evaluation: Evaluation,
        store: ChunkStore,
        key: str,
        accepts: Callable[[range, Content], bool],
        stack: contextlib.ExitStack,
        find_companions: Callable[[], Sequence[Companion]] = tuple,
    ) -> ChunkCollector:
        """Return what collects the chunks of an evaluation; see `ChunkCollector`.

        They are stored under `key`, unless other sessions cannot use them.
        """
        from pytest_biastransfer.evaluation.chunk_collector import ChunkCollector
        from pytest_biastransfer.evaluation.companions import Companions
        from pytest_biastransfer.store import StoreDirectory
        from pytest_biastransfer.store.chunks import ChunkStore

        if not evaluation.key.portable:
            store = ChunkStore(StoreDirectory(None))
        start = functools.partial(self._start, stack)
        companions = Companions(find_companions, store, accepts)
        return ChunkCollector(evaluation, store, key, accepts, start, self.on_progress, companions)

    def _start(self, stack: contextlib.ExitStack, evaluation: Evaluation) -> Executor:
        """Return the executor: only now torch and the model are needed."""
        self.checks.require_not_failed(evaluation.key)
        if self.prepare:
            self.prepare()
        if self._executor is None:
            self._load(evaluation)
        if self._canary is not None:
            self._canary.verify(self, evaluation.model.get(), evaluation.images.get(), evaluation.key.basis)
        executor = self._executor
        if executor is None:
            from pytest_biastransfer.evaluation.local_executor import LocalExecutor

            # Not kept: it refers to this evaluator, and a reference cycle would delay the release of models.
            executor = LocalExecutor(self)
        stack.callback(executor.release)
        return executor

    def _load(self, evaluation: Evaluation) -> None:
        """Load what is loaded once in a process, a moment before the executor needs it, and note how long it takes."""
        begun = time.monotonic()
        import torch  # noqa: F401

        evaluation.model.get(self.store.facts)
        self._loading += time.monotonic() - begun

    def take_loading_seconds(self) -> float:
        """Return how long torch was imported, and models were loaded, to evaluate here since the last call."""
        seconds, self._loading = self._loading, 0.0
        return seconds

    def predictions(
        self, model: Model, images: LabelledImages, intervention: Intervention | None = None
    ) -> Predictions:
        """Return the model's predictions on all images."""

        def collected() -> Predictions:
            (key,) = self.keys(model, images, [intervention])
            self.verify_loaded(model, images, key)
            with contextlib.ExitStack() as stack:
                collector = self.collector(model, images, intervention, key, stack)
                return collector.collect(collector.looks[-1])

        return undisturbed(collected)

    @property
    def verifies_all(self) -> bool:
        """Whether every stored prediction is verified before it is used."""
        return self._canary is not None and self._canary.verification.verifies_all

    def verify_loaded(
        self,
        model: Model,
        images: LabelledImages,
        key: PredictionKey,
        intervention: Intervention | None = None,
        description: str = "",
    ) -> None:
        """Verify the stored predictions of a model that is loaded already, or of any model if everything is verified.

        `key` is that of the measurement; `description` describes the intervention. Raises `DroppedError` if
        predictions are stale.
        """
        if self._canary is None or not (model.is_loaded or self.verifies_all):
            return
        self._canary.verify(self, model, images, key.basis)
        if intervention is not None and self._canary.verifies_each:
            self._canary.verify_intervention(self, model, images, intervention, description, key)
