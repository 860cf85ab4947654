"""Pickles of tensors without what they do not use: torch pickles the whole storage with each view of it."""

from __future__ import annotations

import io
import pickle
import sys
from typing import Any


def compact_reduction(value: object) -> Any:
    """Return how to pickle a tensor that is a small view of a storage; `NotImplemented` for any other object.

    For ``reducer_override`` of a pickler. A dataset of a thousand views of one tensor would have it a thousand times.
    """
    torch = sys.modules.get("torch")
    if torch is None or type(value) is not torch.Tensor:
        return NotImplemented
    tensor: Any = value
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.requires_grad or tensor.is_meta:
        return NotImplemented
    if tensor.numel() * tensor.element_size() >= tensor.untyped_storage().nbytes():
        return NotImplemented
    return tensor.clone().__reduce_ex__(pickle.HIGHEST_PROTOCOL)


class CompactPickler(pickle.Pickler):
    """A pickler that pickles views of tensors alone."""

    def reducer_override(self, value: object) -> Any:
        """Return how to pickle an object."""
        return compact_reduction(value)


def compact_dumps(subject: object) -> bytes:
    """Return an object as bytes for `pickle.loads`."""
    buffer = io.BytesIO()
    CompactPickler(buffer, pickle.HIGHEST_PROTOCOL).dump(subject)
    return buffer.getvalue()
