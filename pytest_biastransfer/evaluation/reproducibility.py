"""The determinism check: whether a model gives an image the same logits twice, in another batch and in the same one.

Logits of batches of other sizes differ by rounding, so two classes that are nearly tied may change places. A larger
difference means that the model is random, or that an image's logits depend on the other images of its batch. Figures
of such a model depend on chance, or on the batch size.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import torch

from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.evaluation.rounding import ROUNDING, output_precision
from pytest_biastransfer.models.file_program import FileProgram

if TYPE_CHECKING:
    from pytest_biastransfer.evaluation.predictor import InputChange, Predictor

# This many images are predicted a second time, in small batches: each batch is another draw of a random model.
CHECKED_IMAGES: Final = 64
_SIZES: Final = (4, 3, 2, 1)
_MOST_NAMES: Final = 3
# What a model raises that takes only batches of one size.
_OTHER_SIZE_ERRORS: Final = (ModelError, RuntimeError, ValueError)


def require_reproducible(
    predictor: Predictor,
    pixels: torch.Tensor,
    change: InputChange | None,
    logits: torch.Tensor,
    images: int | None = None,
) -> None:
    """Raise `ModelError` if a model gives some images other logits when they are predicted again.

    Parameters
    ----------
    predictor
        Has just predicted the images.
    pixels, change
        The images, and the intervention on them.
    logits
        The logits that it returned.
    images
        How many images there are, if these are only the first ones: few of them are predicted again several times.
    """
    count = min(CHECKED_IMAGES, len(pixels))
    for _ in range(-(-min(CHECKED_IMAGES, images or count) // count)):
        again = _in_other_batches(predictor, pixels, change, count)
        if again is None:
            again = _in_same_batch(predictor, pixels, change)[:count]
        _require_same(predictor, pixels, change, logits, again)


def _require_same(
    predictor: Predictor,
    pixels: torch.Tensor,
    change: InputChange | None,
    logits: torch.Tensor,
    again: torch.Tensor,
) -> None:
    """Raise `ModelError` if logits differ from those of the same images, predicted again, by more than rounding."""
    first, precision = logits[: len(again)], output_precision(predictor.precision, logits)
    if not ROUNDING[precision].differing(first, again).any():
        return
    # Only now, because this costs another forward pass.
    rounding = ROUNDING[coarsest_precision(predictor, pixels, change, precision)]
    differing = rounding.differing(first, again)
    if differing.any():
        same_batch = _in_same_batch(predictor, pixels, change)
        is_random = bool(rounding.differing(logits[: len(same_batch)], same_batch).any())
        raise ModelError(_message(predictor, first, again, differing, is_random=is_random))


def _in_other_batches(
    predictor: Predictor, pixels: torch.Tensor, change: InputChange | None, count: int
) -> torch.Tensor | None:
    """Return the logits of the first images, predicted in small batches; None if the model refuses such batches."""
    size = next((size for size in _SIZES if size != len(predictor.batches[0]) and size <= count), None)
    if size is None:
        return None
    # The last batch is as large as the others: some models do not take a single image.
    starts = [min(start, count - size) for start in range(0, count, size)]
    batches = []
    try:
        for start in starts:
            batches.append(predictor.batch_logits(pixels, change, range(start, start + size)))
    except _OTHER_SIZE_ERRORS:
        return None
    again = torch.empty_like(torch.cat(batches)[:count])
    for start, logits in zip(starts, batches, strict=True):
        again[start : start + size] = logits
    return again


def _in_same_batch(predictor: Predictor, pixels: torch.Tensor, change: InputChange | None) -> torch.Tensor:
    """Return the logits of the images of the first batch, predicted again as before."""
    return predictor.batch_logits(pixels, change, predictor.batches[0])


def coarsest_precision(predictor: Predictor, pixels: torch.Tensor, change: InputChange | None, precision: str) -> str:
    """Return the coarsest precision inside a model, which the dtype of its logits may not show."""
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
    """Record the Python modules of all layers that run meanwhile, and the dtypes of their outputs."""
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
    predictor: Predictor, first: torch.Tensor, again: torch.Tensor, differing: torch.Tensor, *, is_random: bool
) -> str:
    count, other_class = int(differing.sum()), int((first.argmax(1) != again.argmax(1))[differing].sum())
    if is_random:
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
    """Return a sentence about layers that behave as in training although the model is in evaluation mode."""
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
