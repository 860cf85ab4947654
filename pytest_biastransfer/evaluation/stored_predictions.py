"""Compares stored predictions with those that the model makes of the same images now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pytest_biastransfer.data.pixels import decode, decode_all_masks
from pytest_biastransfer.evaluation.prediction_kinds import CLASSES, kind_of
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
    """How many of the verified images have another class now, or other scores of labels.

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
    rounding count as the same, and so do scores.
    """
    order = visiting_order(len(images), environment.dataset_seed(images))[: environment.max_images]
    stored = _stored_values(environment, model, key, len(order))
    positions = verification.sample(sorted(stored), key.text)
    if not positions:
        return None
    if environment.prepare:
        environment.prepare()
    device = torch.device(environment.device)
    predictor = environment.predictor(model, key)
    differing = 0
    with environment.device_memory.models.ready(model.module, device):
        for batch in _batches(positions):
            pixels, change = decoded_input(model, images, intervention, order[batch].tolist(), device)
            values = torch.from_numpy(np.stack([stored[position] for position in batch]))
            differing += _differing(predictor, pixels, change, values)
    return PredictionComparison(
        differing, len(positions), bool(differing) and _pixels_differ(environment, model, images, order, positions)
    )


def _stored_values(
    environment: Environment, model: Model, key: PredictionKey, count: int
) -> Mapping[int, npt.NDArray[Any]]:
    """Return what is stored of the first `count` images of the visiting order, by their positions in it."""
    kind, store = kind_of(model.outputs), environment.store.predictions
    stored_key = kind.key(key.text)
    stored: dict[int, npt.NDArray[Any]] = {}
    # Other machines may have predicted them. Where some are stored here, these are enough to verify.
    if not any(store.has(stored_key, chunk) for chunk in chunks(count)):
        store.fetch(stored_key, list(chunks(count)))
    for chunk in chunks(count):
        content = store.get(stored_key, chunk, kind.accepts)
        if content is not None:
            stored.update(zip(chunk, kind.values(content), strict=True))
    return stored


def _batches(positions: Sequence[int]) -> Iterator[list[int]]:
    for start in range(0, len(positions), CHUNK_IMAGES):
        yield list(positions[start : start + CHUNK_IMAGES])


def decoded_input(
    model: Model,
    images: LabelledImages,
    intervention: Intervention | None,
    indices: Sequence[int],
    device: torch.device,
) -> tuple[torch.Tensor, InputChange | None]:
    """Return the pixels of some images on a device, and the intervention if it is not applied to them yet.

    They are decoded anew, and not taken from the store.
    """
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
            seed = environment.dataset_seed(images)
            stored = environment.pixels.stored(images, model.preprocess, seed, chunk, decoded.shape[1:])
            if stored is not None and not np.array_equal(
                stored[[position - chunk.start for position in inside]], decoded
            ):
                return True
    return False


def _differing(predictor: Predictor, pixels: torch.Tensor, change: InputChange | None, stored: torch.Tensor) -> int:
    logits = predictor.logits(pixels, change)
    precision = output_precision(predictor.precision, logits)
    count_others = _count_other_classes if kind_of(predictor.model.outputs) is CLASSES else _count_other_scores
    count = count_others(logits, stored, ROUNDING[precision])
    if count:
        # Finding the coarsest precision costs a second pass, so it happens only when something differs.
        count = count_others(logits, stored, ROUNDING[coarsest_precision(predictor, pixels, change, precision)])
    return count


def _count_other_scores(logits: torch.Tensor, stored: torch.Tensor, rounding: Rounding) -> int:
    """Return how many images have other scores than the stored ones, by more than rounding."""
    if logits.shape != stored.shape:
        return len(logits)
    return int(rounding.differing(logits, stored).sum())


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
