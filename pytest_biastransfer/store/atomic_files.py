"""Atomic writes: a file is complete or not there, whenever the process dies."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

# Windows refuses to replace a file that is open: in a reader, a scanner for viruses, an indexer. They close it soon.
_ATTEMPTS: Final = 20 if os.name == "nt" else 1
_PAUSE_S: Final = 0.05


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
        replace_file(Path(temporary), path)
    # Ctrl+C too must not leave the temporary file.
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def replace_file(new: Path, path: Path) -> None:
    """Give a whole file the name of another one; on Windows, wait up to a second for those who have that open.

    Raises OSError if it cannot be replaced.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            new.replace(path)
        except PermissionError:
            if attempt == _ATTEMPTS:
                raise
            time.sleep(_PAUSE_S)
        else:
            return
