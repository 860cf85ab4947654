"""New heads of classifiers, for other classes than those of the source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from pytest_biastransfer.errors import TransferError
from pytest_biastransfer.models import heads
from pytest_biastransfer.models.heads import Head, NoHeadError, put
from pytest_biastransfer.models.logits import listed, logits_of

if TYPE_CHECKING:
    from pytest_biastransfer.models import Model

_ADVICE: Final = (
    "Make the transferred model yourself, and return it from the fixture transferred_model: "
    "Model(module, preprocess=Preprocess(...), classes=[...])"
)


def find_head(model: Model, images: torch.Tensor) -> Head:
    """Return the head of a model; arguments are those of `heads.find_head`.

    Raises
    ------
    TransferError
        If no layer that computes the logits can be replaced.
    """
    try:
        return heads.find_head(model.module, images)
    except NoHeadError as error:
        raise TransferError(f"model {model.name} has no head that could be replaced: {error}. {_ADVICE}") from None


def replace_head(model: Model, module: nn.Module, head: Head, classes: int) -> nn.Module:
    """Put a new head for a number of classes into `module`, a copy of the model's; return the head.

    Its weights are drawn with torch's current seed.
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
        logits = logits_of(module(images), module)
    except RuntimeError as error:
        raise TransferError(f"model {model.name} with a new head: {error}. {_ADVICE}") from error
    if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != (len(images), classes):
        raise TransferError(
            f"model {model.name} with a new head returns {listed(logits)} for {len(images)} images, expected "
            f"[{len(images)}, {classes}]. {_ADVICE}"
        )


def _like(layer: nn.Module, classes: int) -> nn.Module:
    if isinstance(layer, nn.Linear):
        return nn.Linear(layer.in_features, classes, bias=layer.bias is not None)
    assert isinstance(layer, nn.Conv2d)
    sizes: Any = {name: getattr(layer, name) for name in ("kernel_size", "stride", "padding", "dilation")}
    return nn.Conv2d(layer.in_channels, classes, **sizes, bias=layer.bias is not None)
