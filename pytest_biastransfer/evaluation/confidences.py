"""Probabilities of what a model predicts: of images in several versions, and of images with hidden parts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from pytest_biastransfer.evaluation.occlusion import saliency

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.evaluator import Evaluator
    from pytest_biastransfer.models import Model

# Takes outputs [n, outputs] and the outputs of what is predicted, [n, outputs] or [1, outputs], and returns the
# probabilities [n] that the first ones give to what the second ones predict; see `Decision.probability`.
Probability = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def confidences_of(
    evaluator: Evaluator,
    model: Model,
    images: LabelledImages,
    versions: Sequence[torch.Tensor],
    probability: Probability,
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
    probability
        Called with float32 outputs; see `Decision.probability`.

    Returns
    -------
    list of tuple of float
        For each of the n images, a probability in [0, 1] per version.
    """
    with _outputs_of(evaluator, model, images) as outputs_of:
        outputs = [outputs_of(pixels) for pixels in versions]
        confidences = [probability(own, own).tolist() for own in outputs]
    return list(zip(*confidences, strict=True))


def saliencies_of(
    evaluator: Evaluator,
    model: Model,
    images: LabelledImages,
    versions: Sequence[torch.Tensor],
    probability: Probability,
) -> list[tuple[list[list[float]], ...]]:
    """Return where the model looks, for each image in each of its versions; see `occlusion.saliency`.

    The parameters are those of `confidences_of`. It takes `occlusion.PASSES` forward passes a version of an image.

    Returns
    -------
    list of tuple of list
        For each of the n images a grid per version: rows of numbers in [-1, 1], rounded to three decimals.
    """
    with _outputs_of(evaluator, model, images) as outputs_of:

        def of_first(hidden: torch.Tensor) -> torch.Tensor:
            outputs = outputs_of(hidden)
            return probability(outputs, outputs[:1])

        maps = [[_rounded(saliency(image, of_first)) for image in pixels] for pixels in versions]
    return list(zip(*maps, strict=True))


@contextlib.contextmanager
def _outputs_of(
    evaluator: Evaluator, model: Model, images: LabelledImages
) -> Iterator[Callable[[torch.Tensor], torch.Tensor]]:
    """Yield a function from pixels to the model's outputs."""
    device = torch.device(evaluator.device)
    (key,) = evaluator.keys(model, images, [None])
    predictor = evaluator.predictor(model, key)
    with evaluator.device_memory.models.ready(model.module, device):
        # In float32: bfloat16 has three decimals at most, and its softmax need not sum to 1.
        yield lambda pixels: predictor.logits(pixels.to(device)).float()


def _rounded(grid: torch.Tensor) -> list[list[float]]:
    return [[round(value, 3) + 0.0 for value in row] for row in grid.tolist()]
