"""Regular files: a check to run before a file is read, since reading a pipe or a device may never end."""

from __future__ import annotations

import errno
import os
import stat


def require_regular(path: os.PathLike[str] | str, state: os.stat_result | None = None) -> None:
    """Raise OSError if `path` is not a regular file.

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
