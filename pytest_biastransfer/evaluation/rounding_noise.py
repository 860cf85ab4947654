"""Outputs of images that are predicted again, and by how much the rounding of two computations may change them.

The noise is measured: some images are predicted in the precision of each computation, and in float64 on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import torch

from pytest_biastransfer.evaluation.precision import computing_in
from pytest_biastransfer.evaluation.predictor import Predictor, in_unit_range
from pytest_biastransfer.evaluation.reproducibility import coarsest_precision
from pytest_biastransfer.evaluation.rounding import ROUNDING, output_precision
from pytest_biastransfer.evaluation.stored_predictions import decoded_input
from pytest_biastransfer.evaluation.visiting_order import CHUNK_IMAGES, visiting_order
from pytest_biastransfer.models.input_advice import REFUSALS
from pytest_biastransfer.models.logits import logits_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.baseline.computation import Computation
    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.evaluation.environment import Environment
    from pytest_biastransfer.interventions import Intervention
    from pytest_biastransfer.models import Model
    from pytest_biastransfer.names import Precision

    Floats = npt.NDArray[np.float64]

# On so many images the noise is measured: the first ones of the visiting order, whatever has changed, so that all tests
# of a model have the same noise.
MEASURED_IMAGES: Final = 32
# The difference of two outputs is then within 4.2 of its standard deviations. Of two networks on a CPU, each prediction
# that another precision changed was within 3.7 (docs/statistics.md). A wider band would excuse more changes that are
# none of rounding.
_WIDTH: Final = 3
# In float32, plain kernels are up to 7 times as noisy as oneDNN's, and few images are so nearly tied.
_LEAST: Final = 256 * torch.finfo(torch.float32).eps
# Numbers of 64 bits take twice the memory.
_EXACT_BATCH: Final = 8


class OutputRanges(NamedTuple):
    """The outputs of images, each known up to rounding.

    Attributes
    ----------
    outputs
        float64 [images, outputs].
    allowed
        By how much an output may differ in another computation, float64 [images, outputs].
    """

    outputs: Floats
    allowed: Floats


def output_ranges(
    environment: Environment,
    model: Model,
    images: LabelledImages,
    intervention: Intervention | None,
    indices: Sequence[int],
    earlier: Computation | None,
) -> OutputRanges:
    """Return the outputs of some images, predicted again, with what rounding allows.

    The *noise* of a computation is the root mean square of the differences between its outputs and those in float64 on
    the CPU, over `MEASURED_IMAGES` images and all outputs. An output may differ by `_WIDTH` times the noise of both
    computations together, the root of the sum of their squares; by at least `_LEAST` of its size, because kernels of
    other devices may round more than those that are measured; and by at most `ROUNDING` of the coarser precision, which
    is what the canary calls rounding. Where the noise cannot be measured, `ROUNDING` is taken instead: of a model that
    does not compute in float64, and of a precision that this device lacks.

    Parameters
    ----------
    environment
        Where the images are predicted; its store is not used.
    model, images, intervention
        What is predicted; None for the clean images.
    indices
        Which of the images.
    earlier
        What computed the outputs that are to be compared; None if that is not known: it may be any device that computes
        in the same precision.
    """
    if environment.prepare:
        environment.prepare()
    (key,) = environment.keys(model, images, [intervention])
    device = torch.device(environment.device)
    sample = visiting_order(len(images), environment.dataset_seed(images))[:MEASURED_IMAGES].tolist()
    precision = environment.precision if earlier is None else earlier.precision
    with environment.device_memory.models.ready(model.module, device):
        # Without compilation, which takes longer than these few images; its rounding is that of the precision.
        predictor = environment.predictor(model, key)
        outputs = torch.cat([_outputs(predictor, images, intervention, batch) for batch in _batches(indices)])
        pixels, change = decoded_input(model, images, intervention, sample, device)
        measured = predictor.logits(pixels, change)
        own = coarsest_precision(predictor, pixels, change, output_precision(environment.precision, measured))
        exact = _exact_outputs(model, images, intervention, sample)
        noise = [_noise(measured, exact)]
        if _is_emulated(device, precision, earlier):
            noise.append(None)
        elif precision != environment.precision:
            noise.append(_noise(environment.predictor(model, key, precision=precision).logits(pixels, change), exact))
    coarser = max(own, precision, key=list(ROUNDING).index)
    # The bound depends on how much outputs differ between images, which those that changed do not tell.
    most = ROUNDING[coarser].allowed(torch.cat([outputs, measured.cpu().double()]))[: len(outputs)]
    return OutputRanges(outputs.numpy(), _allowed(outputs, noise, most).numpy())


def _allowed(outputs: torch.Tensor, noise: Sequence[float | None], most: torch.Tensor) -> torch.Tensor:
    """Return by how much each output may differ, float64 [images, outputs]; a noise is None if it is not known."""
    known = [one for one in noise if one is not None]
    if len(known) < len(noise):
        return most
    # Two computations of one precision have the same noise each.
    return torch.minimum(most, torch.clamp(_LEAST * outputs.abs(), min=_WIDTH * math.hypot(known[0], known[-1])))


def _noise(outputs: torch.Tensor, exact: torch.Tensor | None) -> float | None:
    """Return the root mean square of the errors of outputs; None if the exact ones are not known."""
    return None if exact is None else float((outputs.cpu().double() - exact).square().mean().sqrt())


def _is_emulated(device: torch.device, precision: Precision, earlier: Computation | None) -> bool:
    """Whether a device computes otherwise in a precision than the earlier one: without TF32, it uses float32."""
    return precision == "tf32" and device.type != "cuda" and earlier is not None and earlier.device_type == "cuda"


def _batches(indices: Sequence[int], size: int = CHUNK_IMAGES) -> Iterator[Sequence[int]]:
    for start in range(0, len(indices), size):
        yield indices[start : start + size]


def _outputs(
    predictor: Predictor, images: LabelledImages, intervention: Intervention | None, indices: Sequence[int]
) -> torch.Tensor:
    """Return the outputs of images, float64 [images, outputs] on the CPU."""
    pixels, change = decoded_input(predictor.model, images, intervention, indices, predictor.device)
    outputs = predictor.logits(pixels, change)
    predictor.require_finite(torch.isfinite(outputs).all(dim=1), indices)
    return outputs.cpu().double()


def _exact_outputs(
    model: Model, images: LabelledImages, intervention: Intervention | None, indices: Sequence[int]
) -> torch.Tensor | None:
    """Return the outputs in float64, computed on the CPU; None for a model that does not compute in it.

    The module keeps its weights: copies take their place for the calls.
    """
    module = model.module
    state = {
        name: tensor.detach().to("cpu", torch.float64 if tensor.is_floating_point() else tensor.dtype)
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
    }
    batches = []
    for batch in _batches(indices, _EXACT_BATCH):
        pixels, change = decoded_input(model, images, intervention, batch, torch.device("cpu"))
        with torch.inference_mode(), computing_in("float32", "cpu"):
            changed = in_unit_range(pixels) if change is None else change.applied(in_unit_range(pixels))
            normalized = model.preprocess.normalize(changed).double()
            try:
                outputs: Any = logits_of(torch.func.functional_call(module, state, (normalized,)), module)
            except REFUSALS:
                return None
        if not isinstance(outputs, torch.Tensor) or outputs.dtype != torch.float64 or not outputs.isfinite().all():
            return None
        batches.append(outputs.reshape(len(batch), -1))
    return torch.cat(batches)
