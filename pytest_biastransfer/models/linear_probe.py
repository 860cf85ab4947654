"""A linear probe: a linear head, which was fitted elsewhere, in place of the head of a backbone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.models.heads import NoHeadError, find_head, put
from pytest_biastransfer.models.input_advice import REFUSALS, input_advice

if TYPE_CHECKING:
    from pytest_biastransfer.models.model import Model
    from pytest_biastransfer.models.safe_loading.head_file import LinearHead

# The side of the images for a backbone whose preprocessing has no size: the one of most.
_SIDE = 224


class LinearProbe(nn.Linear):
    """The layer of a `LinearHead`: it standardises features, and returns their logits.

    Examples
    --------
    >>> import numpy as np
    >>> from pytest_biastransfer.models.safe_loading.head_file import LinearHead
    >>> probe = LinearProbe(LinearHead(np.eye(2), np.zeros(2), mean=np.ones(2), scale=np.full(2, 0.5)))
    >>> probe(torch.tensor([[1.0, 2.0]])).tolist()
    [[0.0, 2.0]]
    """

    mean: torch.Tensor | None
    scale: torch.Tensor | None

    def __init__(self, head: LinearHead) -> None:
        classes, features = head.weight.shape
        super().__init__(features, classes)
        with torch.no_grad():
            self.weight.copy_(torch.from_numpy(head.weight))
            self.bias.copy_(torch.from_numpy(head.bias))
        for name, values in (("mean", head.mean), ("scale", head.scale)):
            self.register_buffer(name, None if values is None else torch.from_numpy(values).float())

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits [batch, classes] of features [batch, features]; maps of one pixel for maps of one pixel."""
        rows = features.flatten(1)
        # Not folded into the weights: where a mean is large beside its scale, the difference would be lost to rounding.
        if self.mean is not None:
            rows = rows - self.mean
        if self.scale is not None:
            rows = rows / self.scale
        return super().forward(rows).reshape(len(rows), -1, *features.shape[2:])


def put_probe(backbone: Model, head: LinearHead, origin: str) -> nn.Module:
    """Put a linear head in place of a backbone's own; return the module.

    The features are the input of the backbone's last layer, as in the fixed-feature mode of a transfer.

    Raises
    ------
    ModelError
        If the backbone has no such layer, or another number of features; `origin` begins the message.
    """
    module = backbone.module.eval()
    images = _trial_images(backbone)
    try:
        own = find_head(module, images)
    except NoHeadError as error:
        raise ModelError(
            f"{origin}: the backbone {backbone.name} has no head to replace: {error}; expected a classifier, whose "
            f"last layer takes the features"
        ) from None
    except REFUSALS as error:
        raise ModelError(
            f"{origin}: the backbone {backbone.name} raised {type(error).__name__} on images of shape "
            f"{list(images.shape)}: {error}\n{input_advice(module, images)}"
        ) from error
    if not own.is_last:
        raise ModelError(
            f"{origin}: the backbone {backbone.name} computes its logits from {' and '.join(own.names)} and not from "
            f"this layer alone, so no features are defined; expected a backbone whose last layer returns its logits"
        )
    (name,) = own.names
    layer = module.get_submodule(name)
    features = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
    if head.weight.shape[1] != features:
        raise ModelError(
            f"{origin}: the head takes {head.weight.shape[1]} features, and the last layer of the backbone "
            f"{backbone.name}, {name}, takes {features}; name the backbone that the head was fitted on, as in "
            f"probe:torchvision:resnet18?weights=IMAGENET1K_V1&head=FILE"
        )
    put(module, name, LinearProbe(head).to(next(layer.parameters()).dtype))
    return module


def _trial_images(backbone: Model) -> torch.Tensor:
    """Return two images of noise in the size that the backbone gets; see `find_head`."""
    size = backbone.preprocess.crop or backbone.preprocess.resize or _SIDE
    height, width = (size, size) if isinstance(size, int) else size
    first = next((layer for layer in backbone.module.modules() if isinstance(layer, nn.Conv2d)), None)
    channels = backbone.preprocess.channels or (3 if first is None else first.in_channels)
    return torch.rand(2, channels, height, width, generator=torch.Generator().manual_seed(0))
