"""Atomic writes: a file is complete or not there, whenever the process dies."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(path: Path, mode: int | None = None) -> Iterator[BinaryIO]:
    """Open a file that replaces `path` once everything is written, and leaves nothing behind if that fails.

    Only this user may read the file, unless `mode` has other permissions. Raises OSError where writing fails.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same directory: a rename is atomic only within one file system.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        if mode is not None:
            Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    # Ctrl+C too must not leave the temporary file.
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
