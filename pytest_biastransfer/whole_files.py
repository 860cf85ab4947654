"""Files that are whole or not there: written under a temporary name and renamed. What is no file is not read."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def require_regular(path: os.PathLike[str] | str, state: os.stat_result | None = None) -> None:
    """Raise OSError for what is no regular file, such as a pipe or a device: reading it may never end.

    `state` is what the system says of it, where that is known already.
    """
    mode = (os.stat(path) if state is None else state).st_mode  # noqa: PTH116 - it may be a string
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))


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
