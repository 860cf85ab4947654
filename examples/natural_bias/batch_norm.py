"""BatchNorm layers that were folded into the weights before them, made ready to be trained again.

Weights that were made for evaluation alone often have them folded: mean 0, variance 1, and whatever they did before is
part of the convolutions. Nobody notices in evaluation mode. In training mode, BatchNorm subtracts the mean of each
batch and divides by its deviation, which is not what the next layers are used to: all that was learned is lost.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


def with_statistics(module: nn.Module, inputs: torch.Tensor) -> nn.Module:
    """Return a copy that computes the same, but whose BatchNorm layers know mean and variance of what comes to them.

    What is taken into account there is undone by their weight and bias. `inputs` is a batch as the module wants it.
    """
    copied = copy.deepcopy(module).eval()
    handles = [
        layer.register_forward_hook(_take_statistics) for layer in copied.modules() if isinstance(layer, nn.BatchNorm2d)
    ]
    with torch.no_grad():
        copied(inputs)
    for handle in handles:
        handle.remove()
    return copied


def _take_statistics(layer: nn.Module, given: tuple[torch.Tensor, ...], _: Any) -> None:
    assert isinstance(layer, nn.BatchNorm2d)
    assert layer.running_mean is not None
    assert layer.running_var is not None
    variance, mean = torch.var_mean(given[0], dim=(0, 2, 3))
    # Per channel, the layer is x -> slope * (x - old mean) + bias, before and after.
    slope = layer.weight / torch.sqrt(layer.running_var + layer.eps)
    layer.bias.add_(slope * (mean - layer.running_mean))
    layer.weight.copy_(slope * torch.sqrt(variance + layer.eps))
    layer.running_mean.copy_(mean)
    layer.running_var.copy_(variance)
