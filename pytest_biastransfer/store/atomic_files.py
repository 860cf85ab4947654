"""Files that are whole or not there: written under a temporary name and renamed.

And what stands where a file should be: a pointer of Git LFS, or a page of the web.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

# So much of a file tells what stands in for it.
START_BYTES: Final = 512
_POINTER: Final = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\n(?:.*\n)*?size ([0-9]{1,18})\n")
_PAGE: Final = (b"<!doctype html", b"<html")


def stand_in(start: bytes) -> str | None:
    """Return what a file is that begins so, and what to do, if it only stands in for the file that is meant.

    >>> stand_in(b"<!DOCTYPE html><html>")
    'an HTML page; download the file itself'
    """
    size = _POINTER.match(start)
    if size:
        return f"a Git LFS pointer, its {int(size[1]):,} bytes are elsewhere; type: git lfs pull"
    return "an HTML page; download the file itself" if start.lstrip().lower().startswith(_PAGE) else None


@contextmanager
def written_whole(path: Path, mode: int | None = None) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` when all is written, and leaves nothing behind if that fails.

    It is this user's alone, unless `mode` has other permissions. Raises OSError where it cannot be done.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        if mode is not None:
            Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
