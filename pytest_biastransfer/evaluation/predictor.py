"""From pixels to predicted classes: one model on one device."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pytest_biastransfer.data.pixels import mask_of
from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.evaluation.compiled_models import padded
from pytest_biastransfer.evaluation.precision import computing_in
from pytest_biastransfer.evaluation.rounding import ROUNDING, output_precision
from pytest_biastransfer.models.input_advice import REFUSALS, input_advice
from pytest_biastransfer.models.logits import logits_of, without_logits
from pytest_biastransfer.models.output_range import require_declared_range

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data.arrays import Image
    from pytest_biastransfer.data.labelled_images import LabelledImages
    from pytest_biastransfer.data.pixels import SourceChange
    from pytest_biastransfer.evaluation.batch_size import BatchSize
    from pytest_biastransfer.evaluation.compiled_models import CompiledModel
    from pytest_biastransfer.interventions import BatchInfo, Intervention
    from pytest_biastransfer.models import Model
    from pytest_biastransfer.names import Precision


@dataclass(frozen=True)
class InputChange:
    """An intervention on a batch of images."""

    intervention: Intervention
    batch: BatchInfo

    def of_images(self, start: int, stop: int) -> InputChange:
        """Return the intervention on the images at these positions of the batch."""
        return InputChange(self.intervention, self.batch.subset(range(start, stop)))

    def applied(self, images: torch.Tensor) -> torch.Tensor:
        """Return the images after the intervention."""
        return self.intervention.apply(images, self.batch.indices, self.batch.masks)


def in_unit_range(pixels: torch.Tensor) -> torch.Tensor:
    """Return pixels, uint8 or floats in [0, 1], as floats in [0, 1]."""
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels


class Predictor:
    """Runs a model on one device, with the batch size and the memory layout that it is fastest in.

    With a compiled model, `logits` uses it, in batches of one size, once a graph of it was verified or `use_compiled`
    was called. Until then, and in `batch_logits`, the module itself runs: what it reads can be observed, and other
    sizes of batches would need other graphs.
    """

    def __init__(
        self,
        model: Model,
        device: torch.device,
        batch_size: BatchSize,
        precision: Precision = "float32",
        *,
        free_memory: Callable[[], bool] = lambda: False,
        compiled: CompiledModel | None = None,
    ) -> None:
        self._model = model
        self._device = device
        self._batch_size = batch_size
        self._precision = precision
        # Called when the device runs out of memory, before batches get smaller; returns whether it freed any.
        self._free_memory = free_memory
        # Convolutions are fastest in channels last; a model that views its input by strides may refuse that.
        self._layouts = [torch.channels_last, torch.contiguous_format]
        self._compiled = compiled
        self._uses_compiled = compiled is not None and compiled.is_verified
        # The positions of the images in each forward pass of the last call of `logits`.
        self.batches: list[range] = []

    def logits(self, pixels: torch.Tensor, change: InputChange | None = None) -> torch.Tensor:
        """Return the model's output, [batch, classes]. A GPU computes it asynchronously.

        Parameters
        ----------
        pixels
            uint8, or float32 in [0, 1], of shape [batch, channels, height, width], on the device.
        change
            The intervention before normalization; None for the clean images.

        Raises
        ------
        ModelError
            If the output is not ``[batch, classes]``.
        """
        with torch.inference_mode():
            return torch.cat(list(self._logits(pixels, change)))

    def use_compiled(self) -> bool:
        """Use the compiled model from now on; return whether this changes anything."""
        changes = self._compiled is not None and self._compiled.is_usable and not self._uses_compiled
        self._uses_compiled = self._uses_compiled or changes
        return changes

    @property
    def model(self) -> Model:
        """The model."""
        return self._model

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self._device

    @property
    def precision(self) -> Precision:
        """The precision that the model computes in."""
        return self._precision

    def batch_logits(self, pixels: torch.Tensor, change: InputChange | None, batch: range) -> torch.Tensor:
        """Return the model's output for the images at the positions `batch`, in one forward pass.

        Raises what `logits` raises.
        """
        with torch.inference_mode():
            batch_change = change and change.of_images(batch.start, batch.stop)
            return self._forward(pixels[batch.start : batch.stop], batch_change, self._run)

    def classes(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the predicted classes, int32 [batch], on the device.

        Raises `ModelError` if the model has one output alone.
        """
        if logits.shape[1] == 1:
            raise ModelError(_one_output(self._model, logits))
        return logits.argmax(dim=1).to(torch.int32)

    def require_declared(self, outputs: torch.Tensor, *, needs_logits: bool) -> None:
        """Raise `ModelError` for outputs, [batch, outputs], that are not what the model declares.

        `needs_logits` says whether more is read from the outputs of a softmax than the largest one.
        """
        require_declared_range(self._model, outputs, needs_logits=needs_logits)

    def _logits(self, pixels: torch.Tensor, change: InputChange | None) -> Iterator[torch.Tensor]:
        start = 0
        self.batches = []
        while start < len(pixels):
            stop = start + self._batch_size.next(len(pixels) - start)
            begun = time.perf_counter()
            try:
                run = self._run_compiled if self._uses_compiled else self._run
                yield self._forward(pixels[start:stop], change and change.of_images(start, stop), run)
            except torch.OutOfMemoryError as error:
                # A compiled model has computed a batch of the full size, whatever the number of images is.
                size = self._batch_size.size if self._uses_compiled else stop - start
                if not (self._free_memory() or self._batch_size.reduce(size)):
                    raise ModelError(
                        f"model {self._model.name}: out of memory on {self._device} with a single image of "
                        f"{list(pixels.shape[1:])}; use a smaller Preprocess(size=) or --bias-device=cpu"
                    ) from error
            else:
                self._batch_size.note(stop - start, time.perf_counter() - begun)
                self.batches.append(range(start, stop))
                start = stop
                continue
            # Not in the handler: there the traceback still holds the activations of the failed batch.
            if self._device.type in ("cuda", "mps"):
                getattr(torch, self._device.type).empty_cache()

    def _forward(
        self, pixels: torch.Tensor, change: InputChange | None, run: Callable[[torch.Tensor], Any]
    ) -> torch.Tensor:
        images = in_unit_range(pixels)
        if change is not None:
            images = change.applied(images)
        images = self._model.preprocess.normalize(images)
        try:
            logits = run(images)
        except torch.OutOfMemoryError:
            raise
        except REFUSALS as error:
            raise ModelError(
                f"model {self._model.name} raised {type(error).__name__} on images of shape {list(images.shape)}: "
                f"{error}\n{input_advice(self._model.module, images)}"
            ) from error
        if isinstance(logits, torch.Tensor) and logits.shape == (len(images),):
            # A single output that was squeezed.
            logits = logits[:, None]
        if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or len(logits) != len(images):
            raise ModelError(f"model {self._model.name} {without_logits(logits, len(images))}")
        return logits

    def _run(self, images: torch.Tensor) -> Any:
        laid_out = images.contiguous(memory_format=self._layouts[0])
        try:
            with computing_in(self._precision, self._device.type):
                return logits_of(self._model.module(laid_out), self._model.module)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            if len(self._layouts) == 1:
                raise
            self._layouts.pop(0)
            return self._run(images)

    def _run_compiled(self, images: torch.Tensor) -> Any:
        """Return what `_run` returns, up to rounding, from the compiled model; from the module itself if that fails."""
        compiled, size = self._compiled, self._batch_size.size
        if compiled is None or not compiled.is_usable:
            return self._run(images)
        graph = (size, images.shape[1:], self._layouts[0])
        if compiled.has_verified(graph):
            logits = self._compiled_output(compiled, images, size, graph)
            return self._run(images) if logits is None else logits
        # The module first: its errors are the user's, and it shows which memory layout it takes.
        expected = self._run(images)
        graph = (size, images.shape[1:], self._layouts[0])
        logits = self._compiled_output(compiled, images, size, graph)
        if logits is None:
            return expected
        if not self._agree(expected, logits):
            compiled.give_up("its logits differ from those without compilation by more than rounding")
            return expected
        compiled.note_verified(graph)
        return logits

    def _compiled_output(self, compiled: CompiledModel, images: torch.Tensor, size: int, graph: object) -> Any:
        """Return the logits of images from a padded batch; None if the model cannot be compiled."""
        laid_out = padded(images, size).contiguous(memory_format=self._layouts[0])
        with computing_in(self._precision, self._device.type):
            output = logits_of(compiled.output(self._model.module, laid_out, graph), self._model.module)
        return output[: len(images)] if isinstance(output, torch.Tensor) else output

    def _agree(self, expected: Any, logits: Any) -> bool:
        """Whether logits are the expected ones, up to rounding. Outputs that are no logits are an error elsewhere."""
        if not isinstance(expected, torch.Tensor) or expected.ndim != 2:
            return False
        if not isinstance(logits, torch.Tensor) or logits.shape != expected.shape:
            return False
        return not ROUNDING[output_precision(self._precision, expected)].differing(expected, logits).any()

    def require_finite(self, finite: torch.Tensor, indices: Sequence[int]) -> None:
        """Raise `ModelError` unless the logits of all images at `indices` are finite; `finite` is bool [batch]."""
        if bool(finite.all()):
            return
        bad = np.asarray(indices)[~finite.cpu().numpy()]
        raise ModelError(
            f"model {self._model.name} returned NaN or infinite logits for {len(bad)} of {len(indices)} images "
            f"evaluated together, first for image {bad.min()}; expected finite numbers"
        )


def are_finite(logits: torch.Tensor) -> torch.Tensor:
    """Return whether all logits of each image are finite numbers, bool [batch]."""
    return torch.isfinite(logits).all(dim=1)


def _one_output(model: Model, outputs: torch.Tensor) -> str:
    """Return the error message for a model with one output an image, [batch, 1]."""
    probabilities = bool(((outputs >= 0) & (outputs <= 1)).all())
    meaning = "probabilities" if probabilities else "sigmoid"
    return (
        f"model {model.name} has a single output an image, {list(outputs.shape)} for {len(outputs)} images; the "
        f"largest of one logit is always class 0, whatever the image is. Say what it means: "
        f"Model(..., outputs={meaning!r}), or outputs={meaning} in its spec"
    )


def source_change(intervention: Intervention, dataset: LabelledImages) -> SourceChange:
    """Return an intervention of stage ``"source"`` as a function of single decoded images of a dataset."""
    all_masks = {name: dataset.masks(name) for name in intervention.mask_names}

    def change(image: Image, index: int) -> Image:
        images = in_unit_range(torch.from_numpy(np.array(image))[None])
        masks = {
            name: torch.from_numpy(mask_of(masks_by_index, index, image, f"the mask {name!r} of {dataset.name}"))[None]
            for name, masks_by_index in all_masks.items()
        }
        changed: npt.NDArray[np.float32] = intervention.apply(images, [index], masks)[0].numpy()
        return changed

    return change
