"""The untrained module of a transferred model: a copy of the source with a new head, and the weights to train."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from pytest_biastransfer.data.pixels import decode
from pytest_biastransfer.errors import ModelError, TransferError
from pytest_biastransfer.evaluation.device_models import ready_to_evaluate
from pytest_biastransfer.evaluation.predictor import in_unit_range
from pytest_biastransfer.models.heads import Head
from pytest_biastransfer.transfer.blocks import first_blocks
from pytest_biastransfer.transfer.heads import find_head, replace_head, require_logits

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.models import Model
    from pytest_biastransfer.store.chunks import Content
    from pytest_biastransfer.transfer.recipe import Mode, Recipe


@dataclass(frozen=True)
class Network:
    """A copy of the source's module with a new head.

    Attributes
    ----------
    module
        The whole network.
    head
        The names of the head's layers.
    trainable
        The module whose weights are trained: the head, or the whole network.
    frozen_blocks
        The names of submodules of it that stay as they are in the source.
    """

    module: nn.Module
    head: Head
    trainable: nn.Module
    frozen_blocks: tuple[str, ...] = ()

    @property
    def trains_on_features(self) -> bool:
        """Whether only the head is trained, and it depends on an image's features only."""
        return self.trainable is not self.module and self.head.is_last

    def frozen(self) -> dict[str, torch.Tensor]:
        """Return the weights that are not trained, and BatchNorm's statistics."""
        state = self.module.state_dict()
        if self.trainable is self.module:
            blocks = tuple(f"{name}." for name in self.frozen_blocks)
            return {name: value for name, value in state.items() if name.startswith(blocks)}
        heads = tuple(f"{name}." for name in self.head.names)
        return {name: value for name, value in state.items() if not name.startswith(heads)}

    def accepts(self, _: range, weights: Content) -> bool:
        """Whether arrays have the names, dtypes and shapes of this network's trained weights (see `arrays_of`)."""
        expected = {name: (value.dtype, value.shape) for name, value in arrays_of(self.trainable.state_dict()).items()}
        return expected == {name: (value.dtype, value.shape) for name, value in weights.items()}

    def load(self, weights: Content) -> None:
        """Load trained weights, as `arrays_of` returns them."""
        current = self.trainable.state_dict()
        state = {name: _tensor(weights[name], current[name]) for name in current}
        self.trainable.load_state_dict(state)
        self.module.requires_grad_(False).eval()


def network_for(mode: Mode, source: Model, images: LabelledImages, outputs: int, recipe: Recipe) -> Network:
    """Return the network for a mode, with new weights drawn by the recipe's seed, and with its frozen blocks.

    Raises `TransferError` if the source has no head that can be replaced, weights that cannot be drawn again, or fewer
    blocks.
    """
    inputs = _inputs(source, images)
    with ready_to_evaluate(source.module, inputs.device):
        head = find_head(source, inputs)
    # On the CPU: a seed draws other weights on a GPU.
    module = copy.deepcopy(source.module).requires_grad_(False).cpu()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        if mode == "scratch":
            _initialize(source, module)
        head_module = replace_head(source, module, head, outputs)
    with ready_to_evaluate(module, inputs.device), torch.inference_mode():
        require_logits(source, module, inputs, outputs)
    frozen = first_blocks(source, module, head, recipe.freeze) if recipe.freeze else ()
    return Network(module, head, head_module if mode == "fixed-feature" else module, frozen)


def arrays_of(state: Mapping[str, torch.Tensor]) -> dict[str, npt.NDArray[Any]]:
    """Return weights as arrays; bfloat16, which numpy lacks, as int16 of the same bits."""
    return {name: _bits(value.detach().cpu()).numpy() for name, value in state.items()}


def _bits(value: torch.Tensor) -> torch.Tensor:
    return value.view(torch.int16) if value.dtype == torch.bfloat16 else value


def _tensor(array: npt.NDArray[Any], like: torch.Tensor) -> torch.Tensor:
    tensor = torch.from_numpy(np.array(array))
    return tensor.view(like.dtype) if like.dtype == torch.bfloat16 else tensor


def _inputs(source: Model, images: LabelledImages) -> torch.Tensor:
    """Return two preprocessed images: with one, a layer that is called once per image would look like a head."""
    pixels = decode(images, [0, len(images) - 1], source.preprocess)
    return source.preprocess.normalize(in_unit_range(torch.from_numpy(pixels)))


def _initialize(source: Model, module: nn.Module) -> None:
    """Draw all weights again, with the initialization of torch's layers."""
    for layer in module.modules():
        own = [*layer.parameters(recurse=False), *layer.buffers(recurse=False)]
        # MultiheadAttention has the method with an underscore.
        reset = getattr(layer, "reset_parameters", None) or getattr(layer, "_reset_parameters", None)
        if reset is not None:
            reset()
        elif own:
            kind = type(layer).__name__
            raise TransferError(
                f"mode='scratch': model {source.name} has weights in {kind} that cannot be drawn anew, as {kind} has "
                f"no reset_parameters(). Give a source that was never trained and mode='full-network' instead, such as "
                f"load_model('torchvision:NAME?num_classes=...') without weights="
            )


def require_unchanged(source: Model, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Raise `ModelError` if frozen weights have changed; arguments are their hashes by name."""
    changed = [name for name in before if before[name] != after[name]]
    if changed:
        raise ModelError(
            f"model {source.name}: {changed[0]} changed although the source's features are fixed"
            f"{f' (and {len(changed) - 1} others)' if len(changed) > 1 else ''}; a layer updates it even in evaluation "
            f"mode. Use mode='full-network'"
        )
