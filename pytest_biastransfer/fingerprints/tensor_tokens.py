"""Tokens of tensors that were described before: whether one has changed since is found out at little cost.

Weights may change in place at any time, so a model is described anew for each measurement. SHA-256 of a large model
takes a tenth of a second each time, and all weights of one on a GPU would have to be copied to the host. A fast
checksum says which tensors are as they were.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, Final

# SHA-256 of a smaller tensor takes no longer.
_LEAST_BYTES: Final = 2**16
_BLOCK: Final = 2**20
# Odd, so that multiplying by it loses no bit.
_PRIME: Final = 0x9E3779B1


@dataclass
class _Entry:
    checksum: bytes | int
    token: bytes | None = None


class TensorTokens:
    """The tokens of this process' large tensors; a tensor that is garbage has none.

    Examples
    --------
    >>> import torch
    >>> tokens, weights = TensorTokens(), torch.zeros(100_000)
    >>> tokens.token(weights)
    >>> tokens.note(weights, b"zeros")
    >>> tokens.token(weights)
    b'zeros'
    >>> weights[7] = 1
    >>> tokens.token(weights)
    """

    def token(self, tensor: Any) -> bytes | None:
        """Return the token of a tensor that has not changed since it was noted, else None."""
        if not _has_checksum(tensor):
            return None
        # Before the description: what changes in between is noticed the next time.
        checksum = _checksum(tensor)
        entry = self._entries.get(tensor)
        if entry is None or entry.checksum != checksum:
            entry = self._entries[tensor] = _Entry(checksum)
        return entry.token

    def note(self, tensor: Any, token: bytes) -> None:
        """Note the token of a tensor that `token` was asked for before."""
        entry = self._entries.get(tensor) if _has_checksum(tensor) else None
        if entry is not None:
            entry.token = token

    @functools.cached_property
    def _entries(self) -> MutableMapping[Any, _Entry]:
        from torch.utils.weak import WeakTensorKeyDictionary

        return WeakTensorKeyDictionary()


def _has_checksum(tensor: Any) -> bool:
    torch: Any = sys.modules["torch"]
    return (
        # Other types may hold more than bytes.
        type(tensor) in (torch.Tensor, torch.nn.Parameter)
        and tensor.layout is torch.strided
        and not (tensor.is_quantized or tensor.is_meta or tensor.is_complex())
        and tensor.nbytes >= _LEAST_BYTES
    )


def _checksum(tensor: Any) -> bytes | int:
    torch: Any = sys.modules["torch"]
    flat = tensor.detach().contiguous().reshape(-1)
    if tensor.device.type != "cpu":
        return checksum_on_device(flat)
    from xxhash import xxh3_128_digest

    return xxh3_128_digest(memoryview(flat.view(torch.uint8).numpy()))


def checksum_on_device(flat: Any) -> int:
    """Return a checksum of a contiguous tensor [n], computed on its device: 64 bits, of the values and their order.

    It is a sum of all values, as integers, each times an odd number that was drawn at random for its position.
    """
    torch: Any = sys.modules["torch"]
    # A dtype of the same size, so that any position in memory will do.
    integers = flat.view({2: torch.int16, 4: torch.int32, 8: torch.int64}.get(flat.element_size(), torch.uint8))
    factors = _factors(flat.device)
    total = torch.zeros((), dtype=torch.int64, device=flat.device)
    # In blocks: as int64 they take twice the memory of the weights, or more.
    for block in torch.split(integers, _BLOCK):
        total = total * _PRIME + (block.long() * factors[: len(block)]).sum()
    return int(total)


@functools.cache
def _factors(device: Any) -> Any:
    torch: Any = sys.modules["torch"]
    drawn = torch.randint(-(2**63), 2**63 - 1, (_BLOCK,), generator=torch.Generator().manual_seed(0))
    return (drawn | 1).to(device)
