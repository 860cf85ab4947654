"""Keeps freed memory in the process while models run on the CPU.

glibc returns large blocks to the kernel as soon as they are freed, so the next forward pass gets the memory of its
activations page by page. That often takes a third of its time.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

# The numbers of these options in <malloc.h>.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
# 32 MiB is the largest threshold that glibc accepts; larger blocks are always returned.
_WHILE_RUNNING: Final = {_M_MMAP_THRESHOLD: 32 * 2**20, _M_TRIM_THRESHOLD: 2**30}
# glibc raises its thresholds by itself up to these numbers, but not any more once one was set. They are what a process
# that has freed a large block would have; lower ones would make it slower than before.
_AFTERWARDS: Final = {_M_MMAP_THRESHOLD: 32 * 2**20, _M_TRIM_THRESHOLD: 64 * 2**20}
_USERS: Final = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "LD_PRELOAD", "GLIBC_TUNABLES")


@contextmanager
def freed_memory_kept(environment: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Keep up to 1 GiB of freed memory in the process, and return it to the kernel at the end.

    Does nothing if the C library is not glibc, or if the user has configured its allocator.
    """
    libc = _glibc() if not any(name in environment for name in _USERS) else None
    if libc is None:
        yield
        return
    for option, value in _WHILE_RUNNING.items():
        libc.mallopt(option, value)
    try:
        yield
    finally:
        for option, value in _AFTERWARDS.items():
            libc.mallopt(option, value)
        libc.malloc_trim(0)


def _glibc() -> Any:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
