"""Predictions that were kept beside those that a model makes of the same images now."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from pytest_biastransfer.data.pixels import decode, decode_all_masks
from pytest_biastransfer.evaluation.predictions import are_predictions
from pytest_biastransfer.evaluation.predictor import InputChange, Predictor, ready_to_evaluate, source_change
from pytest_biastransfer.evaluation.reproducibility import ROUNDING, coarsest_precision, precision_of
from pytest_biastransfer.evaluation.visiting_order import CHUNK_IMAGES, chunks, visiting_order
from pytest_biastransfer.interventions import BatchInfo

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.canary import Verification
    from pytest_biastransfer.evaluation.evaluator import Evaluator, PredictionKey
    from pytest_biastransfer.evaluation.reproducibility import Rounding
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.models import Model


@dataclass(frozen=True)
class PredictionComparison:
    """How many of the verified images have another class now.

    Attributes
    ----------
    differing, verified
        Images.
    pixels_differ
        Whether some of them, which have another class, are kept with other pixels than they have now.
    """

    differing: int
    verified: int
    pixels_differ: bool


def compared_with_kept(
    evaluator: Evaluator,
    model: Model,
    images: LabelledImages,
    intervention: Intervention | None,
    key: PredictionKey,
    verification: Verification,
) -> PredictionComparison | None:
    """Return how some kept predictions compare with what the model predicts now; None if none are kept.

    The images are decoded anew, as what is kept of them may be stale too. Classes that are tied but for rounding may
    change places.
    """
    order = visiting_order(len(images))[: evaluator.max_images]
    kept = _kept_classes(evaluator, key, len(order))
    chosen = _chosen(np.flatnonzero(kept >= 0).tolist(), verification, key.text)
    if not chosen:
        return None
    if evaluator.prepare:
        evaluator.prepare()
    device = torch.device(evaluator.device)
    predictor = Predictor(model, device, evaluator.batch_size(key), evaluator.precision)
    differing = 0
    with ready_to_evaluate(model.module, device):
        for part in _parts(chosen):
            pixels, change = _changed(model, images, intervention, order[part].tolist(), device)
            differing += _differing(predictor, pixels, change, torch.from_numpy(kept[part]))
    return PredictionComparison(
        differing, len(chosen), bool(differing) and _pixels_differ(evaluator, model, images, order, chosen)
    )


def _kept_classes(evaluator: Evaluator, key: PredictionKey, count: int) -> npt.NDArray[np.int64]:
    """Return the kept classes of the first `count` images of the order; -1 for those of which nothing is kept."""
    kept = np.full(count, -1, dtype=np.int64)
    for chunk in chunks(count):
        content = evaluator.store.predictions.get(key.text, chunk, are_predictions)
        if content is not None:
            kept[chunk.start : chunk.stop] = content["classes"]
    return kept


def _chosen(places: Sequence[int], verification: Verification, text: str) -> list[int]:
    if verification.images is None or len(places) <= verification.images:
        return list(places)
    # Others under another key, so that more images are looked at.
    return sorted(random.Random(f"{verification.seed}|{text}").sample(list(places), verification.images))


def _parts(places: Sequence[int]) -> Iterator[list[int]]:
    for start in range(0, len(places), CHUNK_IMAGES):
        yield list(places[start : start + CHUNK_IMAGES])


def _changed(
    model: Model,
    images: LabelledImages,
    intervention: Intervention | None,
    indices: Sequence[int],
    device: torch.device,
) -> tuple[torch.Tensor, InputChange | None]:
    """Return pixels on the device, and what is left to be done to them."""
    if intervention is not None and intervention.stage == "source":
        pixels = decode(images, indices, model.preprocess, source_change(intervention, images))
        return torch.from_numpy(pixels).to(device), None
    uploaded = torch.from_numpy(decode(images, indices, model.preprocess)).to(device)
    if intervention is None:
        return uploaded, None
    masks = decode_all_masks(images, intervention.mask_names, indices, model.preprocess)
    origin = BatchInfo(indices, {name: torch.from_numpy(mask).to(device) for name, mask in masks.items()})
    return uploaded, InputChange(intervention, origin)


def _pixels_differ(
    evaluator: Evaluator, model: Model, images: LabelledImages, order: npt.NDArray[np.int64], places: Sequence[int]
) -> bool:
    """Whether the decoded pixels that are kept of some images are not those that they have now."""
    for chunk in chunks(len(order)):
        inside = [place for place in places if place in chunk]
        if inside:
            now = decode(images, order[inside].tolist(), model.preprocess)
            kept = evaluator.pixels.kept(images, model.preprocess, chunk, now.shape[1:])
            if kept is not None and not np.array_equal(kept[[place - chunk.start for place in inside]], now):
                return True
    return False


def _differing(predictor: Predictor, pixels: torch.Tensor, change: InputChange | None, kept: torch.Tensor) -> int:
    logits = predictor.logits(pixels, change)
    precision = precision_of(predictor, logits)
    others = _others(logits, kept, ROUNDING[precision])
    if others:
        # Now it may take longer.
        others = _others(logits, kept, ROUNDING[coarsest_precision(predictor, pixels, change, precision)])
    return others


def _others(logits: torch.Tensor, kept: torch.Tensor, rounding: Rounding) -> int:
    """Return how many images have another class than the kept one, by more than rounding."""
    logits, kept = logits.double().cpu(), kept.long()
    known = (kept >= 0) & (kept < logits.shape[1])
    before = kept.clamp(0, logits.shape[1] - 1)[:, None]
    now = logits.argmax(dim=1, keepdim=True)
    allowed = rounding.allowed(logits)
    ahead = (logits.gather(1, now) - logits.gather(1, before))[:, 0]
    # Each of the two may have been rounded.
    tied = ahead <= (allowed.gather(1, now) + allowed.gather(1, before))[:, 0]
    return int((~(known & ((now == before)[:, 0] | tied))).sum())
