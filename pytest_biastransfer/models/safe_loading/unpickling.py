"""Reads files of ``torch.save`` as plain data, tensors and containers, without running code in them."""

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

# The exceptions of torch for files that are damaged or hold more than plain data.
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
# How torch's message names the function that a file must not call.
_CALLED: Final = re.compile(r"(?:GLOBAL|global:?|class) (\w+\.[\w.]+)")


def read_plain(file: pathlib.Path | IO[bytes], *, mapped: bool = False) -> Any:
    """Return the content of a file, on the CPU; with `mapped`, its pages are read when they are needed.

    Raises one of `UNREADABLE` for a damaged file, and for a file that would call a function.
    """
    import torch

    with torch.serialization.safe_globals(_allowed_globals()), warnings.catch_warnings():
        # The warning concerns old pickle protocols; a file that cannot be read raises anyway.
        warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
        return torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)


def reason_of(error: Exception) -> str:
    """Return briefly why a file could not be read: the function that it would call, or the first line of the error."""
    called = _CALLED.search(str(error))
    if called:
        return f"it calls {called[1]}"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    # torch's first lines advise to load with weights_only=False, which would run the file; the cause follows below.
    advice = ("weights_only", "Weights only load failed")
    return next(
        (line for line in lines if line.strip() and not any(phrase in line for phrase in advice)), "other objects"
    )


def _empty(*factory: object) -> dict[Any, Any]:
    return {}


def _allowed_globals() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Return the globals that a pickle may name: classes that training scripts save and that only hold values."""
    import numpy as np

    scalar: Any = np.float64(0).__reduce__()[0]
    array: Any = np.zeros(1).__reduce__()[0]
    kinds = {type(np.dtype(kind)) for kind in (*np.typecodes["AllInteger"], *np.typecodes["AllFloat"], "?", "U", "S")}
    return [
        # torch unpickles only a few subclasses of dict; a plain dict stands for defaultdict.
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
        # NumPy 1 has another name for the module.
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
    ]
