"""Predictions of any model on any images, each computed once: through the store, chunk by chunk."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Unpack

from pytest_biastransfer.evaluation.canary import undisturbed
from pytest_biastransfer.evaluation.environment import Environment, Options

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.canary import Canary
    from pytest_biastransfer.evaluation.chunk_runner import ChunkRunner
    from pytest_biastransfer.evaluation.keys import PredictionKey
    from pytest_biastransfer.evaluation.predictions import Collection, PartialPredictions, Predictions
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.models import Model
    from pytest_biastransfer.store import Store


class Evaluator(Environment):
    """Evaluates models on one device, with one store.

    Numpy is imported when predictions are asked for, torch when one of them is not in the store.

    Parameters
    ----------
    canary
        Verifies stored predictions; None to trust them.
    device, store, options
        As of `Environment`.
    """

    def __init__(
        self, device: str, store: Store | None = None, *, canary: Canary | None = None, **options: Unpack[Options]
    ) -> None:
        super().__init__(device, store, **options)
        self._canary = canary
        self._partial: dict[str, PartialPredictions] = {}

    def collection(
        self,
        model: Model,
        images: LabelledImages,
        intervention: Intervention | None,
        key: PredictionKey,
        stack: contextlib.ExitStack,
    ) -> Collection:
        """Return what gathers the model's predictions on the images, changed by the intervention if there is one.

        `key` is theirs; what it has to keep ready meanwhile is left to the `stack`.
        """
        from pytest_biastransfer.evaluation.predictions import Collection, PartialPredictions
        from pytest_biastransfer.evaluation.visiting_order import visiting_order

        if key.text not in self._partial:
            self._partial[key.text] = PartialPredictions.nothing(visiting_order(len(images))[: self.max_images])
        gathered = self._partial[key.text]
        begin = functools.partial(self.begin, key, model, images, intervention, gathered.order)
        return Collection(self, key, begin, gathered=gathered, stack=stack)

    def begin(
        self,
        key: PredictionKey,
        model: Model,
        images: LabelledImages,
        intervention: Intervention | None,
        order: npt.NDArray[np.int64],
    ) -> contextlib.AbstractContextManager[ChunkRunner]:
        """Start to compute: only now torch and the model are needed. Raises what a check of the model raised before."""
        self.checks.require_not_failed(key)
        if self.prepare:
            self.prepare()
        if self._canary is not None:
            self._canary.verify(self, model, images, key.basis)
        from pytest_biastransfer.evaluation.chunk_runner import begin

        return begin(self, key, model, images, intervention, order)

    def predictions(
        self, model: Model, images: LabelledImages, intervention: Intervention | None = None
    ) -> Predictions:
        """Return the model's predictions on all images."""

        def gathered() -> Predictions:
            key = self.keys(model, images, [intervention])[0]
            self.verify_loaded(model, images, key)
            with contextlib.ExitStack() as stack:
                collection = self.collection(model, images, intervention, key, stack)
                return collection.gather(collection.looks[-1])

        return undisturbed(gathered)

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
