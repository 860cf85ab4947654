"""The precision that a device computes in: IEEE float32, unless the user wants it faster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from pytest_biastransfer.names import Precision


@contextmanager
def computing_in(precision: Precision, device_type: str) -> Iterator[None]:
    """Compute in ``float32``, in ``tf32`` (float32 with products of 19 bits) or in ``bf16`` where autocast allows it.

    torch's default is TF32 for convolutions on CUDA. Its settings of matrix products and convolutions are restored at
    the end.
    """
    autocast = torch.autocast(device_type, dtype=torch.bfloat16, enabled=precision == "bf16")
    with _products_in("tf32" if precision == "tf32" else "ieee"), autocast:
        yield


@contextmanager
def _products_in(kind: str) -> Iterator[None]:
    matmul: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    settings: list[tuple[Any, str, object]]
    if hasattr(matmul, "fp32_precision"):
        settings = [(backend, "fp32_precision", kind) for backend in (matmul, cudnn.conv, cudnn.rnn)]
    else:  # torch before 2.9
        settings = [(matmul, "allow_tf32", kind == "tf32"), (cudnn, "allow_tf32", kind == "tf32")]
    # Restored afterwards, because tests of the same session may compute with torch themselves.
    before = [(backend, name, getattr(backend, name)) for backend, name, _ in settings]
    try:
        for backend, name, value in settings:
            setattr(backend, name, value)
        yield
    finally:
        for backend, name, value in before:
            setattr(backend, name, value)
