"""The module of a transferred model before it is trained: which of the source's weights it has, and which learn."""

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
from pytest_biastransfer.evaluation.predictor import in_unit_range, ready_to_evaluate
from pytest_biastransfer.transfer.heads import Head, find_head, replace_head, require_logits

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data import LabelledImages
    from pytest_biastransfer.models import Model
    from pytest_biastransfer.store.chunks import Content
    from pytest_biastransfer.transfer.recipe import Mode


@dataclass(frozen=True)
class Network:
    """A copy of the source's module with a new head.

    Attributes
    ----------
    module
        All of it.
    head
        Where the head is.
    part
        What learns: the head, or the module.
    """

    module: nn.Module
    head: Head
    part: nn.Module

    @property
    def trains_on_features(self) -> bool:
        """Whether the head is all that learns, and all that it needs to know of an image are its features."""
        return self.part is not self.module and self.head.is_last

    def frozen(self) -> dict[str, torch.Tensor]:
        """Return the weights that do not learn, and BatchNorm's statistics."""
        if self.part is self.module:
            return {}
        heads = tuple(f"{name}." for name in self.head.names)
        return {name: value for name, value in self.module.state_dict().items() if not name.startswith(heads)}

    def accepts(self, _: range, weights: Content) -> bool:
        """Whether arrays may be trained weights of this network, as `arrays_of` makes them."""
        expected = {name: (value.dtype, value.shape) for name, value in arrays_of(self.part.state_dict()).items()}
        return expected == {name: (value.dtype, value.shape) for name, value in weights.items()}

    def load(self, weights: Content) -> None:
        """Take trained weights, as `arrays_of` made them."""
        learnt = self.part.state_dict()
        state = {name: _tensor(weights[name], learnt[name]) for name in learnt}
        self.part.load_state_dict(state)
        self.module.requires_grad_(False).eval()


def network_for(mode: Mode, source: Model, images: LabelledImages, outputs: int, seed: int) -> Network:
    """Return the network for a mode; what is new in it is drawn by the seed.

    Raises `TransferError` where the source does not allow it.
    """
    inputs = _inputs(source, images)
    with ready_to_evaluate(source.module, inputs.device):
        head = find_head(source, inputs)
    module = copy.deepcopy(source.module).requires_grad_(False).cpu()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if mode == "scratch":
            _draw_anew(source, module)
        new = replace_head(source, module, head, outputs)
    with ready_to_evaluate(module, inputs.device), torch.inference_mode():
        require_logits(source, module, inputs, outputs)
    return Network(module, head, new if mode == "fixed-feature" else module)


def arrays_of(state: Mapping[str, torch.Tensor]) -> dict[str, npt.NDArray[Any]]:
    """Return weights as arrays; numpy has no bfloat16, which goes as its bits."""
    return {name: _bits(value.detach().cpu()).numpy() for name, value in state.items()}


def _bits(value: torch.Tensor) -> torch.Tensor:
    return value.view(torch.int16) if value.dtype == torch.bfloat16 else value


def _tensor(array: npt.NDArray[Any], like: torch.Tensor) -> torch.Tensor:
    found = torch.from_numpy(np.array(array))
    return found.view(like.dtype) if like.dtype == torch.bfloat16 else found


def _inputs(source: Model, images: LabelledImages) -> torch.Tensor:
    """Return two images as the source wants them; layers of which there is one call an image are told by two."""
    pixels = decode(images, [0, len(images) - 1], source.preprocess)
    return source.preprocess.normalize(in_unit_range(torch.from_numpy(pixels)))


def _draw_anew(source: Model, module: nn.Module) -> None:
    """Draw all weights as torch's layers draw theirs when they are made."""
    for part in module.modules():
        own = [*part.parameters(recurse=False), *part.buffers(recurse=False)]
        # MultiheadAttention has it with an underscore.
        reset = getattr(part, "reset_parameters", None) or getattr(part, "_reset_parameters", None)
        if reset is not None:
            reset()
        elif own:
            kind = type(part).__name__
            raise TransferError(
                f"mode='scratch': model {source.name} has weights in {kind} that cannot be drawn anew, as {kind} has "
                f"no reset_parameters(). Give a source that was never trained and mode='full-network' instead, such as "
                f"load_model('torchvision:NAME?num_classes=...') without weights="
            )


def require_unchanged(source: Model, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Raise `ModelError` if weights changed that do not learn, given their hashes."""
    changed = [name for name in before if before[name] != after[name]]
    if changed:
        raise ModelError(
            f"model {source.name}: {changed[0]} changed although the source's features are fixed"
            f"{f' (and {len(changed) - 1} others)' if len(changed) > 1 else ''}; a layer updates it even in evaluation "
            f"mode. Use mode='full-network'"
        )
