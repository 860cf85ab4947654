"""Confidences: the probabilities that a model gives the classes it predicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.models import Model


def confidences_of(
    evaluator: Evaluator,
    model: Model,
    images: LabelledImages,
    versions: Sequence[torch.Tensor],
    confidence: Callable[[torch.Tensor], torch.Tensor],
) -> list[tuple[float, ...]]:
    """Return the probability of what is predicted, for each image in each of its versions.

    Parameters
    ----------
    evaluator
        Its device, batch size and precision are used; its store is not, since it keeps classes and no probabilities.
    model, images
        The model, and the dataset that the versions are made of.
    versions
        The same n images several times, such as clean and intervened: each of shape (n, channels, height, width), with
        values in [0, 1], before normalization.
    confidence
        Takes outputs [n, outputs], float32, and returns the probabilities [n]; see `Decision.confidence`.

    Returns
    -------
    list of tuple of float
        For each of the n images, a probability in [0, 1] per version.
    """
    device = torch.device(evaluator.device)
    (key,) = evaluator.keys(model, images, [None])
    predictor = evaluator.predictor(model, key)
    with evaluator.device_memory.models.ready(model.module, device):
        # In float32: bfloat16 has three decimals at most, and its softmax need not sum to 1.
        confidences = [confidence(predictor.logits(pixels.to(device)).float()).tolist() for pixels in versions]
    return list(zip(*confidences, strict=True))
