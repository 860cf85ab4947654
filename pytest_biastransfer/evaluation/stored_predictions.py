"""Compares stored predictions with those that the model makes of the same images now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from pytest_biastransfer.data.pixels import decode, decode_all_masks
from pytest_biastransfer.evaluation.predictions import are_predictions
from pytest_biastransfer.evaluation.predictor import InputChange, Predictor, source_change
from pytest_biastransfer.evaluation.reproducibility import coarsest_precision
from pytest_biastransfer.evaluation.rounding import ROUNDING, output_precision
from pytest_biastransfer.evaluation.visiting_order import CHUNK_IMAGES, chunks, visiting_order
from pytest_biastransfer.interventions import BatchInfo

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.environment import Environment
    from pytest_biastransfer.evaluation.keys import PredictionKey
    from pytest_biastransfer.evaluation.rounding import Rounding
    from pytest_biastransfer.evaluation.verification import Verification
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.models import Model


@dataclass(frozen=True)
class PredictionComparison:
    """How many of the verified images have another class now.

    Attributes
    ----------
    differing, verified
        Number of images.
    pixels_differ
        Whether the stored pixels of some of the differing images are stale too.
    """

    differing: int
    verified: int
    pixels_differ: bool


def compare_with_stored(
    environment: Environment,
    model: Model,
    images: LabelledImages,
    intervention: Intervention | None,
    key: PredictionKey,
    verification: Verification,
) -> PredictionComparison | None:
    """Compare some stored predictions with those that the model makes now; None if none are stored.

    The images are decoded again, because the stored pixels may be stale too. Classes whose logits are equal up to
    rounding count as the same.
    """
    order = visiting_order(len(images))[: environment.max_images]
    stored = _stored_classes(environment, key, len(order))
    positions = verification.sample(np.flatnonzero(stored >= 0).tolist(), key.text)
    if not positions:
        return None
    if environment.prepare:
        environment.prepare()
    device = torch.device(environment.device)
    predictor = environment.predictor(model, key)
    differing = 0
    with environment.device_memory.models.ready(model.module, device):
        for batch in _batches(positions):
            pixels, change = _input(model, images, intervention, order[batch].tolist(), device)
            differing += _differing(predictor, pixels, change, torch.from_numpy(stored[batch]))
    return PredictionComparison(
        differing, len(positions), bool(differing) and _pixels_differ(environment, model, images, order, positions)
    )


def _stored_classes(environment: Environment, key: PredictionKey, count: int) -> npt.NDArray[np.int64]:
    """Return the stored classes of the first `count` images of the visiting order; -1 for images without one."""
    classes, store = np.full(count, -1, dtype=np.int64), environment.store.predictions
    # Other machines may have predicted them. Where some are stored here, these are enough to verify.
    if not any(store.has(key.text, chunk) for chunk in chunks(count)):
        store.fetch(key.text, list(chunks(count)))
    for chunk in chunks(count):
        content = store.get(key.text, chunk, are_predictions)
        if content is not None:
            classes[chunk.start : chunk.stop] = content["classes"]
    return classes


def _batches(positions: Sequence[int]) -> Iterator[list[int]]:
    for start in range(0, len(positions), CHUNK_IMAGES):
        yield list(positions[start : start + CHUNK_IMAGES])


def _input(
    model: Model,
    images: LabelledImages,
    intervention: Intervention | None,
    indices: Sequence[int],
    device: torch.device,
) -> tuple[torch.Tensor, InputChange | None]:
    """Return the pixels on the device, and the intervention if it is not applied to them yet."""
    if intervention is not None and intervention.stage == "source":
        pixels = decode(images, indices, model.preprocess, source_change(intervention, images))
        return torch.from_numpy(pixels).to(device), None
    uploaded = torch.from_numpy(decode(images, indices, model.preprocess)).to(device)
    if intervention is None:
        return uploaded, None
    masks = decode_all_masks(images, intervention.mask_names, indices, model.preprocess)
    batch = BatchInfo(indices, {name: torch.from_numpy(mask).to(device) for name, mask in masks.items()})
    return uploaded, InputChange(intervention, batch)


def _pixels_differ(
    environment: Environment,
    model: Model,
    images: LabelledImages,
    order: npt.NDArray[np.int64],
    positions: Sequence[int],
) -> bool:
    """Whether the stored pixels of some images differ from those that are decoded now."""
    for chunk in chunks(len(order)):
        inside = [position for position in positions if position in chunk]
        if inside:
            decoded = decode(images, order[inside].tolist(), model.preprocess)
            stored = environment.pixels.stored(images, model.preprocess, chunk, decoded.shape[1:])
            if stored is not None and not np.array_equal(
                stored[[position - chunk.start for position in inside]], decoded
            ):
                return True
    return False


def _differing(predictor: Predictor, pixels: torch.Tensor, change: InputChange | None, stored: torch.Tensor) -> int:
    logits = predictor.logits(pixels, change)
    precision = output_precision(predictor.precision, logits)
    count = _count_other_classes(logits, stored, ROUNDING[precision])
    if count:
        # Finding the coarsest precision costs a second pass, so it happens only when something differs.
        count = _count_other_classes(logits, stored, ROUNDING[coarsest_precision(predictor, pixels, change, precision)])
    return count


def _count_other_classes(logits: torch.Tensor, stored: torch.Tensor, rounding: Rounding) -> int:
    """Return how many images have another class than the stored one, by more than rounding."""
    logits, stored = logits.cpu().double(), stored.long()
    valid = (stored >= 0) & (stored < logits.shape[1])
    before = stored.clamp(0, logits.shape[1] - 1)[:, None]
    now = logits.argmax(dim=1, keepdim=True)
    allowed = rounding.allowed(logits)
    margin = (logits.gather(1, now) - logits.gather(1, before))[:, 0]
    # Each of the two logits has a rounding error, so their allowances add up.
    tied = margin <= (allowed.gather(1, now) + allowed.gather(1, before))[:, 0]
    return int((~(valid & ((now == before)[:, 0] | tied))).sum())
