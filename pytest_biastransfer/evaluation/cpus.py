"""What decides how a CPU rounds: its architecture, and the widest instructions that torch's kernels may use."""

from __future__ import annotations

import functools
import platform
from pathlib import Path

# From the widest: the word of Linux for it, and what it is called here.
_INSTRUCTIONS = {"avx512f": "avx512", "avx2": "avx2", "sve": "sve", "asimd": "neon"}


@functools.cache
def cpu_name() -> str:
    """Return ``"cpu"`` with the architecture and, on Linux, the widest vector instructions."""
    return named(platform.machine(), _cpuinfo())


def named(machine: str, cpuinfo: str) -> str:
    """Return the name of a CPU.

    Parameters
    ----------
    machine
        The architecture, as `platform.machine` returns it.
    cpuinfo
        The content of ``/proc/cpuinfo``; empty where there is none.

    Examples
    --------
    >>> named("x86_64", "processor : 0\\nflags : fpu sse2 avx avx2\\n"), named("arm64", ""), named("", "")
    ('cpu x86_64 avx2', 'cpu arm64', 'cpu')
    """
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    words = next((set(text.split()) for name, _, text in lines if name.strip() in ("flags", "Features")), set())
    instructions = next((name for word, name in _INSTRUCTIONS.items() if word in words), "")
    return " ".join(filter(None, ("cpu", machine, instructions)))


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
