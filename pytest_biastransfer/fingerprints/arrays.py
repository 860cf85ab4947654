"""Descriptions of tensors and arrays: type, shape and bytes, wherever they are in memory."""

from __future__ import annotations

import sys
from typing import Any

from pytest_biastransfer.fingerprints.elements import Content, NotFingerprintableError, word


def is_torch(value: object, *path: str) -> bool:
    """Whether `value` is an instance of a class of torch, without importing torch."""
    kind: Any = sys.modules.get("torch")
    for name in path:
        kind = getattr(kind, name, None)
    return kind is not None and isinstance(value, kind)


def array_content(value: Any) -> list[Content] | None:
    """Return the description of a tensor, an array, a dtype, device or size; None for anything else."""
    if is_torch(value, "dtype") or is_torch(value, "device") or is_torch(value, "Size"):
        return [word("torch", str(value).encode())]
    if is_torch(value, "Tensor"):
        return _tensor(value)
    numpy: Any = sys.modules.get("numpy")
    if numpy is None or not (type(value) is numpy.ndarray or isinstance(value, numpy.generic)):
        return None
    if value.dtype.hasobject:
        raise NotFingerprintableError("an array of objects")
    return [word("array", f"{value.dtype}{value.shape}".encode()), numpy.ascontiguousarray(value).tobytes()]


def _tensor(value: Any) -> list[Content]:
    torch: Any = sys.modules["torch"]
    if value.layout is not torch.strided:
        raise NotFingerprintableError(f"a {value.layout} tensor of {value.dtype}")
    description: list[Content] = [word("tensor", f"{value.dtype}{tuple(value.shape)}".encode())]
    if value.is_quantized:
        description.append(word("quantized", _quantization(value).encode()))
        value = value.int_repr()
    flat = value.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    # A view, not a copy, of the weights. It needs no length: that follows from the shape.
    return [*description, memoryview(flat.view(torch.uint8).numpy())] if flat.numel() else description


def _quantization(tensor: Any) -> str:
    """Return the scales and zero points of a quantized tensor."""
    torch: Any = sys.modules["torch"]
    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return f"{tensor.qscheme()} {tensor.q_scale()!r} {tensor.q_zero_point()}"
    scales, zeros = tensor.q_per_channel_scales().tolist(), tensor.q_per_channel_zero_points().tolist()
    return f"{tensor.qscheme()} {scales!r} {zeros!r} {tensor.q_per_channel_axis()}"
