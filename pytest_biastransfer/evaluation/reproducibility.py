"""Whether a model gives an image the same logits twice: with other images beside it, and in the same batch again.

Logits of batches of other sizes differ by rounding, so two classes that are nearly tied may change places. Anything
more is a model that draws at random while it predicts, or that looks at the whole batch; each figure of such a
model depends on chance, or on how many images were predicted at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.models.file_program import FileProgram

if TYPE_CHECKING:
    from pytest_biastransfer.evaluation.predictor import InputChange, Predictor

# So many images are predicted a second time, in small batches: each is another draw of what is random.
CHECKED_IMAGES: Final = 64
_SIZES: Final = (4, 3, 2, 1)
_MOST_NAMES: Final = 3
# What a model raises that does not take batches of another size.
_OTHER_SIZE_ERRORS: Final = (ModelError, RuntimeError, ValueError)


@dataclass(frozen=True)
class Rounding:
    """By how much logits may differ for no other reason than rounding.

    Attributes
    ----------
    of_spread
        As a share of how far logits lie apart.
    of_size
        As a share of how large they are.
    """

    of_spread: float
    of_size: float

    def differing(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Return for each image whether its logits, [images, classes], differ by more than that; bool [images]."""
        first, second = first.double(), second.double()
        # Not "above": what is no number differs.
        return ~((first - second).abs() <= self.allowed(first)).all(dim=1)

    def allowed(self, logits: torch.Tensor) -> torch.Tensor:
        """Return by how much each of the logits, [images, classes], may differ."""
        size = torch.maximum(logits.abs(), logits.abs().median(dim=1, keepdim=True).values)
        return self.of_spread * spread_of(logits) + self.of_size * size


ROUNDING: Final[Mapping[str, Rounding]] = {
    "float32": Rounding(1e-3, 64 * torch.finfo(torch.float32).eps),
    "tf32": Rounding(1e-2, 4e-3),
    "bf16": Rounding(3e-2, 3e-2),
    # Quantized while it runs, by the largest number of a whole batch: steps of a 255th in each layer.
    "int8": Rounding(0.15, 3e-2),
}


def spread_of(logits: torch.Tensor) -> float:
    """Return how far logits [images, classes] lie apart: the lesser of between the classes and between images.

    Classes that are masked by huge negative logits do not count, nor what all images have in common.

    >>> spread_of(torch.tensor([[1.0, 3.0, -1e9], [1.0, 5.0, -1e9]]))
    2.0
    """
    between_classes = float((logits.amax(dim=1) - logits.median(dim=1).values).median())
    if len(logits) == 1:
        return between_classes
    return min(between_classes, float((logits.amax(dim=0) - logits.amin(dim=0)).max()))


def require_reproducible(
    predictor: Predictor, pixels: torch.Tensor, change: InputChange | None, logits: torch.Tensor
) -> None:
    """Raise `ModelError` if a model gives some images other logits when they are predicted again.

    Parameters
    ----------
    predictor
        What has just predicted the images.
    pixels, change
        The images, and what is done to them.
    logits
        What it has returned for them.
    """
    count = min(CHECKED_IMAGES, len(pixels))
    again = _in_other_batches(predictor, pixels, change, count)
    if again is None:
        again = _in_same_batch(predictor, pixels, change)[:count]
    first, precision = logits[: len(again)], precision_of(predictor, logits)
    if not ROUNDING[precision].differing(first, again).any():
        return
    # Now it may take longer.
    rounding = ROUNDING[coarsest_precision(predictor, pixels, change, precision)]
    differing = rounding.differing(first, again)
    if differing.any():
        same_batch = _in_same_batch(predictor, pixels, change)
        drawn = bool(rounding.differing(logits[: len(same_batch)], same_batch).any())
        raise ModelError(_message(predictor, first, again, differing, drawn=drawn))


def _in_other_batches(
    predictor: Predictor, pixels: torch.Tensor, change: InputChange | None, count: int
) -> torch.Tensor | None:
    """Return the logits of the first images, predicted in small batches; None if the model takes no such batches."""
    size = next((size for size in _SIZES if size != len(predictor.batches[0]) and size <= count), None)
    if size is None:
        return None
    # The last batch is as large as the others: some models do not take a single image.
    starts = [min(start, count - size) for start in range(0, count, size)]
    found = []
    try:
        for start in starts:
            found.append(predictor.batch_logits(pixels, change, range(start, start + size)))
    except _OTHER_SIZE_ERRORS:
        return None
    again = torch.empty_like(torch.cat(found)[:count])
    for start, part in zip(starts, found, strict=True):
        again[start : start + size] = part
    return again


def _in_same_batch(predictor: Predictor, pixels: torch.Tensor, change: InputChange | None) -> torch.Tensor:
    """Return the logits of the images of the first batch, predicted again as before."""
    return predictor.batch_logits(pixels, change, predictor.batches[0])


def precision_of(predictor: Predictor, logits: torch.Tensor) -> str:
    """Return what a model has computed in, as far as its logits tell."""
    return "bf16" if logits.dtype in (torch.bfloat16, torch.float16) else predictor.precision


def coarsest_precision(predictor: Predictor, pixels: torch.Tensor, change: InputChange | None, precision: str) -> str:
    """Return the coarsest kind of number that a model computes in, which its logits need not tell."""
    module = predictor.model.module
    if isinstance(module, FileProgram):
        quantizes = module.quantizes_by_batch()
        return "int8" if quantizes else "bf16" if module.computes_in_16_bits else precision
    with _outputs_watched() as (kinds, dtypes):
        _in_same_batch(predictor, pixels, change)
    dtypes.update(parameter.dtype for parameter in module.parameters())
    if any("quantized" in kind and "dynamic" in kind for kind in kinds):
        return "int8"
    return "bf16" if dtypes & {torch.bfloat16, torch.float16} else precision


@contextmanager
def _outputs_watched() -> Iterator[tuple[set[str], set[torch.dtype]]]:
    """Tell of which modules' classes come, and in which types the outputs of all modules that run meanwhile are."""
    kinds: set[str] = set()
    dtypes: set[torch.dtype] = set()

    def watch(module: torch.nn.Module, inputs: Any, output: Any) -> None:
        kinds.add(type(module).__module__)
        if isinstance(output, torch.Tensor):
            dtypes.add(output.dtype)

    handle = torch.nn.modules.module.register_module_forward_hook(watch)
    try:
        yield kinds, dtypes
    finally:
        handle.remove()


def _message(
    predictor: Predictor, first: torch.Tensor, again: torch.Tensor, differing: torch.Tensor, *, drawn: bool
) -> str:
    count, other_class = int(differing.sum()), int((first.argmax(1) != again.argmax(1))[differing].sum())
    if drawn:
        cause = (
            "even in the same batch. Something in its forward is random, or depends on earlier calls. F.dropout needs "
            "training=self.training; trace, script or export a model after model.eval(); noise needs a fixed seed"
        )
    else:
        cause = (
            "in batches of another size. What it says of an image depends on the other images of its batch. BatchNorm "
            "needs running statistics, and is to use them; subtract statistics of the training set, not of the batch"
        )
    return (
        f"model {predictor.model.name} is not deterministic: of {len(first)} images that were predicted twice, {count} "
        f"got other logits beyond rounding, and {other_class} of them another class, {cause}{_suspects(predictor)}"
    )


def _suspects(predictor: Predictor) -> str:
    """Return a sentence on the modules that behave as in training though the model was put into evaluation mode."""
    named = list(predictor.model.module.named_modules())
    training = [name or type(module).__name__ for name, module in named if module.training]
    batch_norm = torch.nn.modules.batchnorm._BatchNorm
    without = [
        name or type(module).__name__
        for name, module in named
        if isinstance(module, batch_norm) and module.running_mean is None
    ]
    sentences = [
        f". {verb}: {', '.join(names[:_MOST_NAMES])}{', ...' if len(names) > _MOST_NAMES else ''}"
        for verb, names in (
            ("Still in training mode after .eval()", training),
            ("BatchNorm without running statistics", without),
        )
        if names
    ]
    return "".join(sentences)
