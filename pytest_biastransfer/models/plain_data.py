"""What ``torch.save`` wrote, as plain data: tensors and what holds them. Nothing that is in it is run."""

from __future__ import annotations

import argparse
import pathlib
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Callable
from typing import IO, Any, Final

# What torch raises for files that are damaged, or hold more than numbers.
UNREADABLE: Final = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    OverflowError,
    AssertionError,
    OSError,
    struct.error,
    zipfile.BadZipFile,
)
# How torch names what a file wanted to call and may not.
_CALLED: Final = re.compile(r"(?:GLOBAL|global:?|class) (\w+\.[\w.]+)")


def read_plain(file: pathlib.Path | IO[bytes], *, mapped: bool = False) -> Any:
    """Return what a file holds, on the CPU; `mapped`, pages of it are read as they are needed.

    Raises one of `UNREADABLE` for a damaged file, and for one that would call anything.
    """
    import torch

    with torch.serialization.safe_globals(_harmless()), warnings.catch_warnings():
        # It is about what may be read, and what cannot be read raises.
        warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
        return torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)


def reason_of(error: Exception) -> str:
    """Return in a few words why a file could not be read: what it wanted to call, or the first line of the error."""
    called = _CALLED.search(str(error))
    if called:
        return f"it calls {called[1]}"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0]


def _harmless() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Return what training scripts like to save beside weights, and what does nothing but hold values."""
    import numpy as np

    scalar: Any = np.float64(0).__reduce__()[0]
    kinds = {type(np.dtype(kind)) for kind in (bool, int, float, "int32", "float32")}
    return [
        argparse.Namespace,
        pathlib.PosixPath,
        pathlib.WindowsPath,
        np.dtype,
        *kinds,
        # Numpy 1 wrote the module under another name.
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
    ]
