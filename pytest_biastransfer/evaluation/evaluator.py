"""Predictions of any model on any images, each computed once: through the store, chunk by chunk."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_biastransfer._version import __version__
from pytest_biastransfer.errors import ModelError, StoreWarning
from pytest_biastransfer.evaluation.canary import undisturbed
from pytest_biastransfer.evaluation.forward_reads import ForwardReads, ReadsMoreError
from pytest_biastransfer.fingerprints import NotFingerprintableError, fingerprint
from pytest_biastransfer.fingerprints.content import fingerprint_in_session
from pytest_biastransfer.models.model import Model
from pytest_biastransfer.picture_files import decoder
from pytest_biastransfer.store import Store, StoreDirectory

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.batch_size import BatchSize
    from pytest_biastransfer.evaluation.canary import Canary
    from pytest_biastransfer.evaluation.pixel_cache import PixelCache
    from pytest_biastransfer.evaluation.predictions import Collection, PartialPredictions, Predictions
    from pytest_biastransfer.fingerprints.observation import Reads
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.names import Precision
    from pytest_biastransfer.store.chunks import Content

# The decoded pixels of larger datasets are not kept.
PIXEL_CACHE: Final = 4 * 2**30
# Part of every key: predictions of another release may come from another rendering.
_FORMAT: Final = f"3/{__version__}"


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
    seconds
        For how long this process has been computing.
    """

    key: str
    done: int
    total: int
    computed: int
    seconds: float


@dataclass(frozen=True)
class PredictionKey:
    """What predictions depend on.

    Attributes
    ----------
    text
        Hash of all of it.
    model
        Hash of the model, and of what it reads while it predicts.
    content
        Hash of the model alone.
    basis
        Hash of all but the intervention, and of how often what was kept under it was dropped.
    first_basis
        The same before it was ever dropped.
    portable
        Whether it means the same in other sessions.
    """

    text: str
    model: str
    content: str
    basis: str
    first_basis: str
    portable: bool

    @property
    def portable_model(self) -> str | None:
        """Hash of the model where it means the same in other sessions."""
        return self.model if self.portable else None


class Evaluator:
    """Evaluates models on one device, with one store.

    Numpy is imported when predictions are asked for, torch when one of them is not in the store.

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
    canary
        Verifies what is kept; None to believe it.
    """

    def __init__(
        self,
        device: str,
        store: Store | None = None,
        *,
        batch_size: int | None = None,
        max_images: int | None = None,
        precision: Precision = "float32",
        pixel_cache: int = PIXEL_CACHE,
        prepare: Callable[[], None] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        canary: Canary | None = None,
    ) -> None:
        self.store = store or Store()
        self.device = device
        self.max_images = max_images
        self.precision = precision
        self._pixel_cache = pixel_cache
        self.prepare = prepare
        self.on_progress = on_progress
        self._canary = canary
        self._batch_size = batch_size
        self._batch_sizes: dict[str, BatchSize] = {}
        self._gathered: dict[str, PartialPredictions] = {}
        self._checked: dict[str, str | None] = {}
        self._kept: dict[int, list[object]] = {}
        self._forward_reads = ForwardReads(self.store.facts)
        self._unkept: set[str] = set()

    def keys(
        self, model: Model, images: LabelledImages, interventions: Sequence[Intervention | None]
    ) -> list[PredictionKey]:
        """Return what the predictions under each intervention depend on; the same key means the same predictions."""
        content, lasts = self._content(model)
        whole, is_all = self._with_forward_reads(content)
        device_type = self.device.partition(":")[0]
        preprocess = model.preprocess.fingerprint
        parts = (whole, preprocess, images.fingerprint, self.precision, device_type, _FORMAT, decoder())
        common = (whole, content, fingerprint(parts))
        return [self._key(common, lasts and is_all, images, intervention) for intervention in interventions]

    def _key(
        self,
        common: tuple[str, str, str],
        lasts: bool,
        images: LabelledImages,
        intervention: Intervention | None,
    ) -> PredictionKey:
        model, content, basis = common
        change, change_lasts = self._content(intervention)
        names = () if intervention is None else intervention.mask_names
        masks = [images.masks(name).fingerprint for name in names]
        current = self.store.generations.current(basis)
        text = fingerprint(current, change, masks)
        return PredictionKey(text, model, content, current, basis, lasts and change_lasts)

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

        if key.text not in self._gathered:
            self._gathered[key.text] = PartialPredictions.nothing(visiting_order(len(images))[: self.max_images])
        return Collection(self, key, model, images, intervention, gathered=self._gathered[key.text], stack=stack)

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
        """Whether nothing is believed that was not predicted again in this session."""
        return self._canary is not None and self._canary.verification.verifies_all

    def verify_loaded(
        self,
        model: Model,
        images: LabelledImages,
        key: PredictionKey,
        intervention: Intervention | None = None,
        words: str = "",
    ) -> None:
        """Verify what is kept of a model where that is loaded, or all is verified; raise `DroppedError` if it is stale.

        `key` is that of what is measured now, `words` are the intervention's.
        """
        if self._canary is None or not (model.is_loaded or self.verifies_all):
            return
        self._canary.verify(self, model, images, key.basis)
        if intervention is not None and self._canary.verifies_each:
            self._canary.verify_intervention(self, model, images, intervention, words, key)

    def verify_to_compute(self, model: Model, images: LabelledImages, key: PredictionKey) -> None:
        """Verify what is kept of a model that is loaded now; raise `DroppedError` if it is stale."""
        if self._canary is not None:
            self._canary.verify(self, model, images, key.basis)

    @functools.cached_property
    def pixels(self) -> PixelCache:
        """Where decoded pixels come from."""
        from pytest_biastransfer.evaluation.pixel_cache import PixelCache

        return PixelCache(self.store.pixels, self._pixel_cache, self.store.generations)

    def batch_size(self, key: PredictionKey) -> BatchSize:
        """Return the chooser of batches for a model, which remembers what it has measured."""
        from pytest_biastransfer.evaluation.batch_size import BatchSize

        if key.model not in self._batch_sizes:
            self._batch_sizes[key.model] = BatchSize(self._batch_size, self.device.partition(":")[0])
        return self._batch_sizes[key.model]

    def check_once(self, key: PredictionKey, check: Callable[[], None], reads: Reads) -> None:
        """Check a model on a dataset, unless another process or an earlier session has done it.

        `check` raises `ModelError` for a model that does not pass; that is raised again each time. It predicts: what
        the model reads meanwhile, and has read before, is noted. Raises `ReadsMoreError`, once for a key, where that
        was not known yet.
        """
        from pytest_biastransfer.store.chunks import ChunkStore

        if key.basis not in self._checked:
            store = self.store.checks if key.portable else ChunkStore(StoreDirectory(None))

            def observed() -> None:
                self._forward_reads.observe(key.content, check, reads)

            try:
                # Another process that is checking it is waited for, as for predictions.
                list(store.collect(key.basis, [range(1)], lambda _: _passed(observed)))
            except ModelError as error:
                self._checked[key.basis] = str(error)
            else:
                self._checked[key.basis] = None
        self.require_unrefused(key)
        whole, is_all = self._with_forward_reads(key.content)
        if (whole != key.model or not is_all) and key.portable and key.text not in self._unkept:
            self._unkept.add(key.text)
            raise ReadsMoreError

    def _with_forward_reads(self, content: str) -> tuple[str, bool]:
        """Return the hash of a model and of what it reads while it predicts, and whether that is all that decides."""
        state, is_all = self._forward_reads.state(content)
        return content if state is None else fingerprint(content, state), is_all

    def require_unrefused(self, key: PredictionKey) -> None:
        """Raise what a check of the same model and dataset raised in this session."""
        refusal = self._checked.get(key.basis)
        if refusal is not None:
            raise ModelError(refusal)

    def _content(self, thing: Model | Intervention | None) -> tuple[str, bool]:
        """Return what a model or intervention is, and whether that can be told in other sessions too."""
        try:
            return ("clean" if thing is None else thing.fingerprint), True
        except NotFingerprintableError as error:
            if id(thing) not in self._kept:
                warnings.warn(
                    f"predictions with {thing} are kept for this session only, because its content cannot be told: "
                    f"it holds {error}",
                    StoreWarning,
                    stacklevel=2,
                )
            # In this session an object can be told by its identity, as long as it is kept alive.
            content, identified = fingerprint_in_session(thing.module if isinstance(thing, Model) else thing)
            self._kept.setdefault(id(thing), [thing]).extend(identified)
            return content, False


def _passed(check: Callable[[], None]) -> Content:
    """Return what is kept of a check that raised nothing."""
    import numpy as np

    check()
    return {"passed": np.ones(1, dtype=np.bool_)}
