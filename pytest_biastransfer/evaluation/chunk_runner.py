"""One model's pass over images under one intervention, chunk by chunk.

What a chunk's predictions are depends on the model, the images, the intervention and the chunk, and on
nothing else: any process on any machine may compute any of them.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from pytest_biastransfer.data.pixels import decode, decode_all_masks
from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.evaluation.allocator import freed_memory_kept
from pytest_biastransfer.evaluation.predictor import InputChange, Predictor, ready_to_evaluate, source_change
from pytest_biastransfer.evaluation.reproducibility import require_reproducible
from pytest_biastransfer.evaluation.upload import Upload
from pytest_biastransfer.evaluation.visiting_order import chunks
from pytest_biastransfer.fingerprints.observation import Reads, observing
from pytest_biastransfer.interventions import BatchInfo

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.batch_size import BatchSize
    from pytest_biastransfer.evaluation.environment import Environment
    from pytest_biastransfer.evaluation.keys import PredictionKey
    from pytest_biastransfer.evaluation.pixel_cache import PixelCache
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.models import Model
    from pytest_biastransfer.names import Precision
    from pytest_biastransfer.store.chunks import Content

# More threads than this wait for one another's Python code.
_MOST_THREADS = 8


def computes_beside(device: torch.device) -> bool:
    """Whether a device computes while this process does something else."""
    return device.type != "cpu"


class ChunkRunner:
    """Computes the predictions of chunks.

    Parameters
    ----------
    model, images, intervention
        What is evaluated; None for the clean images.
    order
        The places of the images in the dataset, in the order of visiting.
    pixels
        Where decoded pixels come from.
    device, precision, batch_size
        How it is computed.
    check_once
        Calls what it is given, unless the model was checked on these images before.
    """

    def __init__(
        self,
        model: Model,
        images: LabelledImages,
        intervention: Intervention | None,
        order: npt.NDArray[Any],
        *,
        pixels: PixelCache,
        device: torch.device,
        precision: Precision,
        batch_size: BatchSize,
        check_once: Callable[[Callable[[], None], Reads], None],
    ) -> None:
        self._model = model
        self._images = images
        at_source = intervention is not None and intervention.stage == "source"
        # Before resizing, on single images as they are loaded, or afterwards, on the batch on the device.
        self._before = intervention if at_source else None
        self._after = None if at_source else intervention
        self._order = order
        self._pixels = pixels
        self._upload = Upload(device)
        self._predictor = Predictor(model, device, batch_size, precision)
        following = itertools.pairwise(chunks(len(order)))
        self._following = dict(following) if computes_beside(device) else {}
        self._loaded: dict[range, torch.Tensor] = {}
        self._check_once: Callable[[Callable[[], None], Reads], None] | None = check_once

    def predictions(self, chunk: range) -> Content:
        """Return the predictions of one chunk; see `Predictor.classes`."""
        return self._predictor.classes(self._outputs(chunk), self._indices(chunk))

    def rows(self, chunk: range, read: Callable[[torch.Tensor], torch.Tensor]) -> npt.NDArray[Any]:
        """Return what `read` makes of the model's outputs, [images, ...]."""
        return self._predictor.rows(self._outputs(chunk), self._indices(chunk), read)

    def _outputs(self, chunk: range) -> torch.Tensor:
        indices = self._indices(chunk)
        pixels = self._upload.receive(self._loaded.pop(chunk) if chunk in self._loaded else self._load(chunk))
        change = None if self._after is None else InputChange(self._after, self._origin(indices, self._after))
        if self._check_once is None:
            logits = self._predictor.logits(pixels, change)
        else:
            # What the model imports while it predicts, it imports the first time.
            with observing() as reads:
                logits = self._predictor.logits(pixels, change)
            # Numbers that are none differ from themselves.
            self._predictor.require_finite(logits, indices)
            self._check_once(lambda: require_reproducible(self._predictor, pixels, change, logits), reads)
            self._check_once = None
        self._load_following(chunk)
        return logits

    def _load_following(self, chunk: range) -> None:
        """Load the chunk that probably comes next, while the device computes; its mistakes are told in its turn."""
        # What was loaded and not asked for is of no use: another process has done that chunk.
        self._loaded.clear()
        if chunk in self._following:
            with contextlib.suppress(BiasTransferError):
                self._loaded[self._following[chunk]] = self._load(self._following[chunk])

    def _origin(self, indices: Sequence[int], intervention: Intervention) -> BatchInfo:
        """Return where images come from, with the masks that the intervention takes on the device."""
        masks = decode_all_masks(self._images, intervention.mask_names, indices, self._model.preprocess)
        return BatchInfo(indices, {name: self._upload.receive(self._upload.send(mask)) for name, mask in masks.items()})

    def _indices(self, chunk: range) -> list[int]:
        indices: list[int] = self._order[chunk.start : chunk.stop].tolist()
        return indices

    def _load(self, chunk: range) -> torch.Tensor:
        indices, preprocess = self._indices(chunk), self._model.preprocess
        if self._before is not None:
            pixels = decode(self._images, indices, preprocess, source_change(self._before, self._images))
        else:
            threads = min(torch.get_num_threads(), _MOST_THREADS)
            pixels = self._pixels.read(self._images, preprocess, chunk, indices, threads)
        return self._upload.send(pixels)


@contextlib.contextmanager
def running(work: ChunkRunner, model: Model, device: torch.device) -> Iterator[ChunkRunner]:
    """Have the model ready while the pass runs, and leave it and the process as they were found."""
    memory = freed_memory_kept() if device.type == "cpu" else contextlib.nullcontext()
    with ready_to_evaluate(model.module, device), memory:
        yield work


def begin(
    environment: Environment,
    key: PredictionKey,
    model: Model,
    images: LabelledImages,
    intervention: Intervention | None,
    order: npt.NDArray[Any],
) -> contextlib.AbstractContextManager[ChunkRunner]:
    """Return what computes chunks, with the model ready to evaluate."""
    device = torch.device(environment.device)
    runner = ChunkRunner(
        model,
        images,
        intervention,
        order,
        pixels=environment.pixels,
        device=device,
        precision=environment.precision,
        batch_size=environment.batch_size(key),
        check_once=functools.partial(environment.checks.check_once, key),
    )
    return running(runner, model, device)
