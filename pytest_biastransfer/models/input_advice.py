"""Advice for a module that rejects its images: which declaration is missing."""

from __future__ import annotations

from typing import Final

import torch

# The packages of the layers that compute with packed int8 weights, which torch has for the CPU only.
_INT8_LAYERS: Final = ("torch.ao.nn.quantized.", "torch.ao.nn.intrinsic.quantized.")

# What modules raise for images of a wrong shape: torch's errors, and the checks of models' own code.
REFUSALS: Final = (RuntimeError, AssertionError, ValueError, TypeError, LookupError)


def input_advice(module: torch.nn.Module, images: torch.Tensor) -> str:
    """Return a sentence on how to make images [batch, channels, height, width] fit the module."""
    if images.device.type != "cpu" and any(
        type(layer).__module__.startswith(_INT8_LAYERS) for layer in module.modules()
    ):
        return (
            f"Its int8 layers are torch.ao's, which compute on the CPU only, not on {images.device.type}: use "
            f"--bias-device=cpu"
        )
    dtype = next((tensor.dtype for tensor in module.parameters() if tensor.is_floating_point()), images.dtype)
    if dtype != images.dtype:
        return (
            f"Its weights are {dtype}, the images {images.dtype}: return module.float() from the fixture; in which "
            f"precision it computes is said by bias_precision = bf16 in the ini file"
        )
    channels = next((layer.in_channels for layer in module.modules() if isinstance(layer, torch.nn.Conv2d)), None)
    if channels in (1, 3) and images.shape[1] in (1, 3) and channels != images.shape[1]:
        return (
            f"It takes images of {channels} channel{'s' if channels > 1 else ''}, these have {images.shape[1]}: "
            f"declare Model(module, preprocess=Preprocess(channels={channels})), or &channels={channels} in its spec"
        )
    return (
        "If it expects another size, declare it: Model(module, preprocess=Preprocess(size=...)), or &size=... in its "
        "spec"
    )
