"""Memory that is freed stays with the process while models run on the CPU.

The C library of Linux returns large blocks to the kernel as soon as they are freed, and the next forward
pass has to fetch its activations' memory page by page: often a third of its time.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

# Of <malloc.h>.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
# What is kept meanwhile. Larger blocks than the largest threshold that glibc takes are always returned.
_KEPT: Final = {_M_MMAP_THRESHOLD: 32 * 2**20, _M_TRIM_THRESHOLD: 2**30}
# glibc raises its thresholds by itself up to these, and stops that when it is told a number: a process that
# has freed a large block is where it would have been. A lower number would make it slower than it was.
_AFTERWARDS: Final = {_M_MMAP_THRESHOLD: 32 * 2**20, _M_TRIM_THRESHOLD: 64 * 2**20}
_USERS: Final = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "LD_PRELOAD", "GLIBC_TUNABLES")


@contextmanager
def freed_memory_kept(environment: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Let the process keep up to 1 GiB of freed memory, and return it at the end.

    Does nothing where the C library is not glibc, or where the user has set up its allocation.
    """
    libc = _glibc() if not any(name in environment for name in _USERS) else None
    if libc is None:
        yield
        return
    for option, value in _KEPT.items():
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
