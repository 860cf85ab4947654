"""Computes the chunks of one evaluation in this process: pixels, intervention, model, predictions."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pytest_biastransfer.data.pixels import decode, decode_all_masks
from pytest_biastransfer.evaluation.chunk_task import ChunkTask
from pytest_biastransfer.evaluation.device_copies import Copy, DeviceCopies
from pytest_biastransfer.evaluation.predictor import InputChange, are_finite, source_change
from pytest_biastransfer.evaluation.reproducibility import require_reproducible
from pytest_biastransfer.fingerprints.observation import observing
from pytest_biastransfer.fingerprints.reads import Reads
from pytest_biastransfer.interventions import BatchInfo

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.evaluation.chunk_task import Evaluation
    from pytest_biastransfer.evaluation.environment import Environment
    from pytest_biastransfer.store.chunks import Content

# With more threads Python's lock costs more than decoding in parallel gains.
_MOST_THREADS = 8


@dataclass(frozen=True)
class LoadedChunk:
    """The inputs of a task, on their way to the device.

    Attributes
    ----------
    indices
        Of the images, in the dataset.
    pixels
        Of the images, or of the images after an intervention that is applied before resizing.
    masks
        What the intervention takes, by name.
    shareable
        Whether the same pixels would have to be loaded again for another intervention, and may be used for it now.
    """

    indices: Sequence[int]
    pixels: Copy
    masks: Mapping[str, Copy]
    shareable: bool


@dataclass(frozen=True)
class ComputedChunk:
    """The result of a task, on its way to the host: whether each image's logits are finite, and classes or rows."""

    indices: Sequence[int]
    figures: Copy
    outputs: int


class ChunkRunner:
    """Computes chunks of one evaluation, whose model is ready to evaluate, in three steps.

    The device works on its own between them, unless it is a CPU. `load` may be called in another thread.
    """

    def __init__(self, evaluation: Evaluation, environment: Environment) -> None:
        self._evaluation = evaluation
        self._environment = environment
        self._model = evaluation.model.get()
        self._images = evaluation.images.get(environment.store.facts)
        intervention = evaluation.intervention
        at_source = intervention is not None and intervention.stage == "source"
        # Applied to single images before resizing, or to a batch on the device afterwards.
        self._source_intervention = intervention if at_source else None
        self._batch_intervention = None if at_source else intervention
        self._copies = DeviceCopies(torch.device(environment.device))
        self._predictor = environment.predictor(
            self._model, evaluation.key, evaluation.batch_size, evaluation.precision, compiled=evaluation.compiled
        )
        self._is_checked = False

    @property
    def loads_in_threads(self) -> bool:
        """Whether several threads may load chunks at once: not where code of users would run in them.

        Nor before the model is checked: what the model reads meanwhile must be told from what is read to load chunks.
        """
        return self._is_checked and self._images.reads_in_parallel and self._source_intervention is None

    def load(self, positions: range) -> LoadedChunk:
        """Start to copy the pixels of a task, and the masks that the intervention takes, to the device."""
        indices = ChunkTask(self._evaluation, positions).indices
        masks = self._masks(indices)
        if self._source_intervention is not None:
            change = source_change(self._source_intervention, self._images)
            changed = decode(self._images, indices, self._model.preprocess, change)
            return LoadedChunk(indices, self._to_device(changed), masks, shareable=False)
        pixels, shareable = self._pixels(positions, indices)
        return LoadedChunk(indices, pixels, masks, shareable)

    def load_beside(self, loaded: LoadedChunk) -> LoadedChunk:
        """Return the inputs of a task that was loaded for another evaluation of the same images and model."""
        return replace(loaded, masks=self._masks(loaded.indices))

    def compute(self, loaded: LoadedChunk) -> ComputedChunk:
        """Give the device the work of a task."""
        (pixels,) = self._copies.on_device(loaded.pixels)
        change = self._change(loaded)
        outputs = self._outputs(pixels, change, loaded.indices)
        reader = self._evaluation.reader
        with torch.inference_mode():
            values = self._predictor.classes(outputs) if reader is None else reader.read(outputs)
            figures = self._copies.to_host([are_finite(outputs), values])
        return ComputedChunk(loaded.indices, figures, outputs.shape[1])

    def result(self, computed: ComputedChunk) -> Content:
        """Wait for the device, and return the result of the task; see `ChunkTask`.

        Raises `ModelError` if the logits of an image are not finite numbers.
        """
        finite, values = self._copies.on_host(computed.figures)
        self._predictor.require_finite(finite, computed.indices)
        if self._evaluation.reader is not None:
            return {"rows": values.numpy()}
        return {"classes": values.numpy(), "outputs": np.array([computed.outputs], dtype=np.int32)}

    def _masks(self, indices: Sequence[int]) -> dict[str, Copy]:
        names = () if self._batch_intervention is None else self._batch_intervention.mask_names
        masks = decode_all_masks(self._images, names, indices, self._model.preprocess)
        return {name: self._to_device(mask) for name, mask in masks.items()}

    def _pixels(self, positions: range, indices: Sequence[int]) -> tuple[Copy, bool]:
        """Return the pixels of a task on the device, where they may have stayed, and whether they are shareable."""
        on_device = self._environment.device_memory.pixels
        pixels = on_device.get(self._pixels_key, positions)
        if pixels is not None:
            return pixels, False
        threads = min(torch.get_num_threads(), _MOST_THREADS)
        preprocess, seed = self._model.preprocess, self._evaluation.dataset_seed
        decoded = self._environment.pixels.read(self._images, preprocess, seed, positions, indices, threads)
        pixels = self._to_device(decoded)
        # A model, or an intervention, may change floats in place; of bytes it gets a copy in floats.
        if decoded.dtype != np.uint8:
            return pixels, False
        return pixels, not on_device.put(self._pixels_key, positions, pixels)

    @functools.cached_property
    def _pixels_key(self) -> str:
        return self._environment.pixels.key(self._images, self._model.preprocess, self._evaluation.dataset_seed)

    def _to_device(self, array: npt.NDArray[Any]) -> Copy:
        try:
            return self._copies.to_device([array])
        except torch.OutOfMemoryError:
            if not self._environment.device_memory.free():
                raise
        # Not in the handler: there the traceback still holds what was dropped.
        return self._copies.to_device([array])

    def _change(self, loaded: LoadedChunk) -> InputChange | None:
        if self._batch_intervention is None:
            return None
        masks = {name: self._copies.on_device(mask)[0] for name, mask in loaded.masks.items()}
        return InputChange(self._batch_intervention, BatchInfo(loaded.indices, masks))

    def _outputs(self, pixels: torch.Tensor, change: InputChange | None, indices: Sequence[int]) -> torch.Tensor:
        if self._is_checked:
            return self._predictor.logits(pixels, change)
        # Observed from the first prediction on, because a model imports modules only once.
        with observing() as reads:
            logits = self._predictor.logits(pixels, change)
        # Checked first: NaN differs from itself, and would count as not reproducible.
        self._predictor.require_finite(are_finite(logits), indices)
        reader = self._evaluation.reader
        self._predictor.require_declared(logits, needs_logits=reader is not None and reader.of_logits)
        self._check(pixels, change, logits, reads)
        self._is_checked = True
        # Only now: what a compiler reads is not what the model reads. Not one image of an evaluation has a result of
        # the module itself, because which chunk comes first depends on the process.
        return self._predictor.logits(pixels, change) if self._predictor.use_compiled() else logits

    def _check(self, pixels: torch.Tensor, change: InputChange | None, logits: torch.Tensor, reads: Reads) -> None:
        def check() -> None:
            require_reproducible(self._predictor, pixels, change, logits, self._evaluation.count)

        self._environment.checks.check_once(self._evaluation.key, check, reads)
