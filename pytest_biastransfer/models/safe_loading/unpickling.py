"""What ``torch.save`` wrote, as plain data: tensors and what holds them. Nothing that is in it is run."""

from __future__ import annotations

import argparse
import datetime
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
    MemoryError,
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
    # Torch advises to run whatever is in the file, and says what it found there further below.
    advice = ("weights_only", "Weights only load failed")
    return next((line for line in lines if line.strip() and not any(part in line for part in advice)), "other objects")


def _empty(*factory: object) -> dict[Any, Any]:
    return {}


def _harmless() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Return what training scripts like to save beside weights, and what does nothing but hold values."""
    import numpy as np

    scalar: Any = np.float64(0).__reduce__()[0]
    array: Any = np.zeros(1).__reduce__()[0]
    kinds = {type(np.dtype(kind)) for kind in (*np.typecodes["AllInteger"], *np.typecodes["AllFloat"], "?", "U", "S")}
    return [
        # Torch fills no subclass of dict but its own few.
        (_empty, "collections.defaultdict"),
        *(list, dict, int, float, str, set),
        *(datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone),
        np.ndarray,
        (array, "numpy.core.multiarray._reconstruct"),
        (array, "numpy._core.multiarray._reconstruct"),
        argparse.Namespace,
        pathlib.PosixPath,
        pathlib.WindowsPath,
        np.dtype,
        *kinds,
        # Numpy 1 wrote the module under another name.
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
    ]
