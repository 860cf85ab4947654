"""The last layer of a classifier: found by watching one forward pass, and replaced by one for other classes.

No list of architectures: whatever layer computes the logits is the head, in models of any library.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from pytest_biastransfer.errors import TransferError
from pytest_biastransfer.models.logits import logits_of

if TYPE_CHECKING:
    from pytest_biastransfer.models import Model

_ADVICE: Final = (
    "Make the transferred model yourself, and return it from the fixture transferred_model: "
    "Model(module, preprocess=Preprocess(...), classes=[...])"
)


@dataclass(frozen=True)
class Head:
    """What makes logits of features.

    Attributes
    ----------
    names
        Its layers, by their names in the module; more than one only where a library says so.
    is_last
        Whether the logits are what it returns, and nothing is done to them afterwards. What it takes, [batch,
        features], is then all that other heads need to know of the images.
    """

    names: tuple[str, ...]
    is_last: bool


@dataclass(frozen=True)
class _Call:
    name: str
    given: torch.Tensor
    returned: torch.Tensor


def find_head(model: Model, images: torch.Tensor) -> Head:
    """Return the head of a model, which `images` are given to, normalized: float [batch, channels, height, width].

    Raises
    ------
    TransferError
        If the logits are no layer's that could be replaced.
    """
    calls: list[_Call] = []
    with _watched(model.module, calls), torch.no_grad():
        logits = logits_of(model.module(images))
    if isinstance(logits, torch.Tensor) and logits.ndim == 2:
        for call in reversed(calls):
            if _makes(call, logits):
                return Head((call.name,), [one.name for one in calls].count(call.name) == 1)
        named = _named_by_library(model.module)
        if named:
            return Head(named, is_last=False)
        for call in reversed(calls):
            if call.returned.ndim > 1 and _outputs(model.module.get_submodule(call.name)) == logits.shape[1]:
                return Head((call.name,), is_last=False)
    raise TransferError(
        f"model {model.name} has no head that could be replaced: none of its {len(calls)} linear and convolutional "
        f"layers returns its logits, {_form(logits)}. {_ADVICE}"
    )


def replace_head(model: Model, module: nn.Module, head: Head, classes: int) -> nn.Module:
    """Put a new head for so many classes into `module`, a copy of the model's; return what is new.

    Its weights are drawn by torch's current seed.
    """
    if hasattr(module, "reset_classifier") and not head.is_last:
        module.reset_classifier(classes)  # type: ignore[operator]
    else:
        for name in head.names:
            old = module.get_submodule(name)
            put(module, name, _like(old, classes).to(next(old.parameters()).dtype))
    new = [module.get_submodule(name) for name in head.names]
    return new[0] if len(new) == 1 else nn.ModuleList(new)


def require_logits(model: Model, module: nn.Module, images: torch.Tensor, classes: int) -> None:
    """Raise `TransferError` if a module with a new head does not return [images, classes]."""
    try:
        logits = logits_of(module(images))
    except RuntimeError as error:
        raise TransferError(f"model {model.name} with a new head: {error}. {_ADVICE}") from error
    if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != (len(images), classes):
        raise TransferError(
            f"model {model.name} with a new head returns {_form(logits)} for {len(images)} images, expected "
            f"[{len(images)}, {classes}]. {_ADVICE}"
        )


def put(module: nn.Module, name: str, layer: nn.Module) -> None:
    """Put a layer where `name` is, such as ``"classifier.1"``."""
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, layer)


@contextmanager
def _watched(module: nn.Module, calls: list[_Call]) -> Iterator[None]:
    """Note what the layers that may be heads are given and return."""

    def note(name: str) -> Any:
        def hook(_: nn.Module, given: tuple[Any, ...], returned: Any) -> None:
            if given and isinstance(given[0], torch.Tensor) and isinstance(returned, torch.Tensor):
                calls.append(_Call(name, given[0], returned))

        return hook

    layers = [(name, layer) for name, layer in module.named_modules() if name and _outputs(layer)]
    handles = [layer.register_forward_hook(note(name)) for name, layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _outputs(layer: nn.Module) -> int:
    """Return for how many classes a layer would be the head, 0 for what is none."""
    if isinstance(layer, nn.Linear):
        return layer.out_features
    return layer.out_channels if isinstance(layer, nn.Conv2d) and layer.groups == 1 else 0


def _makes(call: _Call, logits: torch.Tensor) -> bool:
    """Whether the logits are what a layer returned for one row of features an image."""
    rows = all(part.flatten(1).shape[1] == part.shape[1] for part in (call.given, call.returned) if part.ndim > 1)
    flat = call.given.ndim > 1 and rows
    return flat and call.returned.flatten(1).shape == logits.shape and torch.equal(call.returned.flatten(1), logits)


def _named_by_library(module: nn.Module) -> tuple[str, ...]:
    """Return the heads that a model of timm names itself; there may be two whose logits are averaged."""
    if not (hasattr(module, "get_classifier") and hasattr(module, "reset_classifier")):
        return ()
    found: Any = module.get_classifier()  # type: ignore[operator]
    heads = list(found) if isinstance(found, tuple | list | nn.ModuleList) else [found]
    names = [name for name, part in module.named_modules() if any(part is one for one in heads)]
    return tuple(names) if len(names) == len(heads) else ()


def _like(layer: nn.Module, classes: int) -> nn.Module:
    if isinstance(layer, nn.Linear):
        return nn.Linear(layer.in_features, classes, bias=layer.bias is not None)
    assert isinstance(layer, nn.Conv2d)
    sizes: Any = {name: getattr(layer, name) for name in ("kernel_size", "stride", "padding", "dilation")}
    return nn.Conv2d(layer.in_channels, classes, **sizes, bias=layer.bias is not None)


def _form(found: object) -> str:
    return str(list(found.shape)) if isinstance(found, torch.Tensor) else type(found).__name__
