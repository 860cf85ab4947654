"""Copies weights of lower precision out of a mapped file, and gives their pages back to the kernel as it goes.

The module's 32-bit numbers take twice the memory of a file of half precision. While a whole file is copied, its pages
would be added until the last of them is copied.
"""

from __future__ import annotations

import bisect
import ctypes
import mmap
import os
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch

# Numbers that are copied at once.
_BLOCK: Final = 2**20
_MAPPING: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+ +(/.*)")


def copy_narrow(
    module: torch.nn.Module, state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], path: Path
) -> Collection[str]:
    """Copy the weights of a mapped file that have fewer bits than the module's; return their names.

    None are copied where pages cannot be given back, or where a layer of the module changes weights as it loads them.

    Parameters
    ----------
    module
        The module.
    state
        Its weights, of the module's shapes. Only those in the mapped memory of `path` are copied here.
    expected
        The module's own tensors by name.
    path
        The mapped file.
    """
    if not _loads_as_torch_does(module):
        return ()
    narrow = [name for name in state if name in expected and _is_narrower(state[name], expected[name])]
    if not narrow:
        return ()
    pages = _Pages(path)
    copied = [name for name in narrow if pages.contain(state[name])]
    for name in copied:
        for source, target in _blocks(state[name], expected[name]):
            target.copy_(source)
            pages.give_back(source)
    return copied


def _loads_as_torch_does(module: torch.nn.Module) -> bool:
    """Whether no layer has its own way to read a state dict."""
    return type(module).load_state_dict.__module__.startswith("torch.nn.") and not any(
        layer._load_state_dict_pre_hooks or not type(layer)._load_from_state_dict.__module__.startswith("torch.nn.")
        for layer in module.modules()
    )


def _is_narrower(saved: torch.Tensor, own: torch.Tensor) -> bool:
    return (
        saved.is_floating_point()
        and own.device.type == "cpu"
        and saved.element_size() < own.element_size()
        and saved.is_contiguous()
        and own.is_contiguous()
    )


def _blocks(saved: torch.Tensor, own: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    flat, target = saved.detach().view(-1), own.detach().view(-1)
    for start in range(0, len(flat), _BLOCK):
        yield flat[start : start + _BLOCK], target[start : start + _BLOCK]


class _Pages:
    """The pages of this process that are a file, mapped."""

    def __init__(self, path: Path) -> None:
        name = os.path.realpath(path)
        # Other memory must not be given back: it would be lost. Only Linux tells which is which.
        maps = Path("/proc/self/maps")
        lines = maps.read_text(errors="surrogateescape").splitlines() if sys.platform == "linux" else []
        found = [match for match in map(_MAPPING.fullmatch, lines) if match is not None and match[3] == name]
        self._ranges = [(int(match[1], 16), int(match[2], 16)) for match in found]
        self._libc: Any = ctypes.CDLL(None) if self._ranges else None

    def contain(self, tensor: torch.Tensor) -> bool:
        """Whether all of a contiguous tensor is in these pages."""
        start, end = tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes
        before = bisect.bisect_right(self._ranges, (start, sys.maxsize)) - 1
        return before >= 0 and end <= self._ranges[before][1]

    def give_back(self, tensor: torch.Tensor) -> None:
        """Have the kernel drop the pages of a contiguous tensor; they are read from the file if they are used again."""
        start = tensor.data_ptr() // mmap.PAGESIZE * mmap.PAGESIZE
        length = tensor.data_ptr() + tensor.nbytes - start
        # If it fails, the pages stay: that takes memory, and changes nothing.
        self._libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), mmap.MADV_DONTNEED)
