"""Computes the chunks of one evaluation in this process: pixels, intervention, model, predictions."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from pytest_biastransfer.data.pixels import decode, decode_all_masks
from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.evaluation.chunk_task import ChunkTask
from pytest_biastransfer.evaluation.predictor import InputChange, Predictor, source_change
from pytest_biastransfer.evaluation.reproducibility import require_reproducible
from pytest_biastransfer.evaluation.upload import Upload
from pytest_biastransfer.evaluation.visiting_order import chunks
from pytest_biastransfer.fingerprints.observation import Reads, observing
from pytest_biastransfer.interventions import BatchInfo

if TYPE_CHECKING:
    from pytest_biastransfer.evaluation.chunk_task import Evaluation
    from pytest_biastransfer.evaluation.environment import Environment
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.store.chunks import Content

# With more threads Python's lock costs more than decoding in parallel gains.
_MOST_THREADS = 8


def computes_beside(device: torch.device) -> bool:
    """Whether a device computes while this process does something else."""
    return device.type != "cpu"


class ChunkRunner:
    """Computes chunks of one evaluation, whose model is ready to evaluate."""

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
        device = torch.device(environment.device)
        self._upload = Upload(device)
        batch_size = environment.batch_size(evaluation.key, evaluation.batch_size)
        self._predictor = Predictor(self._model, device, batch_size, evaluation.precision)
        self._next_chunks = dict(itertools.pairwise(chunks(len(evaluation.order)))) if computes_beside(device) else {}
        self._loaded: dict[range, torch.Tensor] = {}
        self._is_checked = False

    def content(self, chunk: range) -> Content:
        """Return the result of the task of a chunk; see `ChunkTask`."""
        indices = ChunkTask(self._evaluation, chunk).indices
        outputs = self._outputs(chunk, indices)
        reader = self._evaluation.reader
        if reader is None:
            return self._predictor.classes(outputs, indices)
        return {"rows": self._predictor.rows(outputs, indices, reader.read)}

    def _outputs(self, chunk: range, indices: Sequence[int]) -> torch.Tensor:
        pixels = self._upload.receive(self._loaded.pop(chunk) if chunk in self._loaded else self._load(chunk))
        intervention = self._batch_intervention
        change = None if intervention is None else InputChange(intervention, self._batch_info(indices, intervention))
        if self._is_checked:
            logits = self._predictor.logits(pixels, change)
        else:
            # Observed from the first prediction on, because a model imports modules only once.
            with observing() as reads:
                logits = self._predictor.logits(pixels, change)
            # Checked first: NaN differs from itself, and would count as not reproducible.
            self._predictor.require_finite(logits, indices)
            self._check(lambda: require_reproducible(self._predictor, pixels, change, logits), reads)
            self._is_checked = True
        self._load_next(chunk)
        return logits

    def _check(self, check: Callable[[], None], reads: Reads) -> None:
        self._environment.checks.check_once(self._evaluation.key, check, reads)

    def _load_next(self, chunk: range) -> None:
        """Load the chunk that probably comes next, while the device computes."""
        # A chunk that was loaded but not computed was done by another process meanwhile.
        self._loaded.clear()
        if chunk in self._next_chunks:
            # An error is raised again when it is that chunk's turn; this chunk's result must not be lost by it.
            with contextlib.suppress(BiasTransferError):
                self._loaded[self._next_chunks[chunk]] = self._load(self._next_chunks[chunk])

    def _batch_info(self, indices: Sequence[int], intervention: Intervention) -> BatchInfo:
        """Return the indices of images, with the masks that the intervention takes on the device."""
        masks = decode_all_masks(self._images, intervention.mask_names, indices, self._model.preprocess)
        return BatchInfo(indices, {name: self._upload.receive(self._upload.send(mask)) for name, mask in masks.items()})

    def _load(self, chunk: range) -> torch.Tensor:
        indices, preprocess = ChunkTask(self._evaluation, chunk).indices, self._model.preprocess
        if self._source_intervention is not None:
            pixels = decode(self._images, indices, preprocess, source_change(self._source_intervention, self._images))
        else:
            threads = min(torch.get_num_threads(), _MOST_THREADS)
            pixels = self._environment.pixels.read(self._images, preprocess, chunk, indices, threads)
        return self._upload.send(pixels)
