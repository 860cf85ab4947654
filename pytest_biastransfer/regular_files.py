"""Regular files: refuses pipes and devices, recognizes placeholders of the file that is meant, hashes content."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from pathlib import Path
from typing import Final

# `placeholder` needs no more than the beginning of a file.
START_BYTES: Final = 512
_POINTER: Final = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\n(?:.*\n)*?size ([0-9]{1,18})\n")
_PAGE: Final = (b"<!doctype html", b"<html")


def require_regular(path: os.PathLike[str] | str, state: os.stat_result | None = None) -> None:
    """Raise OSError if `path` is not a regular file: reading a pipe or a device may never end.

    Parameters
    ----------
    path
        The file; symbolic links are followed.
    state
        The result of `os.stat` or `os.fstat` for the file, if the caller has it already.

    Raises
    ------
    IsADirectoryError
        If it is a directory.
    OSError
        If it is a pipe, a socket or a device, or if the system cannot tell.

    Examples
    --------
    >>> import os
    >>> require_regular(os.devnull)
    Traceback (most recent call last):
        ...
    OSError: [Errno 22] it is not a regular file: '/dev/null'
    """
    mode = (os.stat(path) if state is None else state).st_mode  # noqa: PTH116 - it may be a string
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def placeholder(start: bytes) -> str | None:
    """Return what stands in place of the file that is meant, and what to type; None if nothing does.

    `start` has the first `START_BYTES` of the file.

    >>> placeholder(b"<!DOCTYPE html><html>")
    'an HTML page; download the file itself'
    """
    size = _POINTER.match(start)
    if size:
        return f"a Git LFS pointer, its {int(size[1]):,} bytes are elsewhere; type: git lfs pull"
    return "an HTML page; download the file itself" if start.lstrip().lower().startswith(_PAGE) else None


def sha256_of_file(path: Path) -> bytes:
    """Return the SHA-256 of a file's content, read in blocks; raises OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
