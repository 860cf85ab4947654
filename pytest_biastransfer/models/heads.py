"""The head of a classifier: the layer that computes logits from features, told by observing one forward pass.

There is no list of architectures: the layer that computes the logits is the head, in models of any library.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.models.logits import listed, logits_of


class NoHeadError(ModelError):
    """No layer of a module computes its logits."""


@dataclass(frozen=True)
class Head:
    """The layers that compute logits from features.

    Attributes
    ----------
    names
        The names of the layers in the module; more than one only if the model's library says so.
    is_last
        Whether the head is called once, and its output is the logits. Then its input, [batch, features], is all that
        another head needs.
    """

    names: tuple[str, ...]
    is_last: bool


@dataclass(frozen=True)
class _Call:
    name: str
    features: torch.Tensor
    returned: torch.Tensor


def find_head(module: nn.Module, images: torch.Tensor) -> Head:
    """Return the head of a module, by a forward pass of `images`: normalized, float [batch, channels, height, width].

    With one image, a layer that is called once for each image would look like a head; so there should be two.

    Raises
    ------
    NoHeadError
        If no layer computes the logits.

    Examples
    --------
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> find_head(net, torch.rand(2, 3, 2, 2))
    Head(names=('3',), is_last=True)
    """
    calls: list[_Call] = []
    with _observed(module, calls), torch.no_grad():
        logits = logits_of(module(images), module)
    if isinstance(logits, torch.Tensor) and logits.ndim == 2:
        # From the last call on: an auxiliary classifier may return the same shape earlier.
        for call in reversed(calls):
            if _returns(call, logits):
                return Head((call.name,), sum(other.name == call.name for other in calls) == 1)
        names = _named_by_library(module)
        if names:
            return Head(names, is_last=False)
        # The logits are changed after the head, such as scaled: take the last layer with as many outputs.
        for call in reversed(calls):
            if call.returned.ndim > 1 and _outputs(module.get_submodule(call.name)) == logits.shape[1]:
                return Head((call.name,), is_last=False)
    raise NoHeadError(f"none of its {len(calls)} linear and convolutional layers returns its logits, {listed(logits)}")


def put(module: nn.Module, name: str, layer: nn.Module) -> None:
    """Replace the submodule of a name, such as ``"classifier.1"``."""
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, layer)


@contextmanager
def _observed(module: nn.Module, calls: list[_Call]) -> Iterator[None]:
    """Record inputs and outputs of the layers that may be heads, in the order of their calls."""

    def recorder(name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Any, ...], returned: Any) -> None:
            if inputs and isinstance(inputs[0], torch.Tensor) and isinstance(returned, torch.Tensor):
                calls.append(_Call(name, inputs[0], returned))

        return hook

    layers = [(name, layer) for name, layer in module.named_modules() if name and _outputs(layer)]
    handles = [layer.register_forward_hook(recorder(name)) for name, layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _outputs(layer: nn.Module) -> int:
    """Return the number of classes of a layer as a head; 0 if it cannot be one."""
    if isinstance(layer, nn.Linear):
        return layer.out_features
    return layer.out_channels if isinstance(layer, nn.Conv2d) and layer.groups == 1 else 0


def _returns(call: _Call, logits: torch.Tensor) -> bool:
    """Whether a layer returned the logits, from one row of features for each image."""
    tensors = (call.features, call.returned)
    has_rows = all(tensor.flatten(1).shape[1] == tensor.shape[1] for tensor in tensors if tensor.ndim > 1)
    is_flat = call.features.ndim > 1 and has_rows
    return is_flat and call.returned.flatten(1).shape == logits.shape and torch.equal(call.returned.flatten(1), logits)


def _named_by_library(module: nn.Module) -> tuple[str, ...]:
    """Return the heads that a timm model names; there may be two whose logits are averaged."""
    if not (hasattr(module, "get_classifier") and hasattr(module, "reset_classifier")):
        return ()
    classifier: Any = module.get_classifier()  # type: ignore[operator]
    heads = list(classifier) if isinstance(classifier, tuple | list | nn.ModuleList) else [classifier]
    names = [name for name, layer in module.named_modules() if any(layer is head for head in heads)]
    return tuple(names) if len(names) == len(heads) else ()
