"""Locks of files, which keep processes from doing the same work; where there are none, work is only done twice.

A lock is never needed for correct results: files are written atomically, and equal keys mean equal content. Network
file systems may have no locks, or may grant one lock to two clients.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.errors import StoreWarning

if TYPE_CHECKING:
    from filelock import FileLock

# Not of the lock, but of the disk: files cannot be written either.
_FULL_OR_READ_ONLY: Final = (errno.ENOSPC, errno.EROFS, errno.EDQUOT)
# The directory was removed, or replaced by another client of a network drive.
_VANISHED: Final = (errno.ENOENT, errno.ESTALE)


class FileLocks:
    """The locks of all files of one store.

    After the first lock that fails for another reason than a holder, no more are taken, with one warning.
    """

    def __init__(self) -> None:
        self._work: bool | None = None

    def claim(self, path: Path) -> tuple[bool, FileLock | None]:
        """Try to lock the file `path`, in an existing directory, and return immediately.

        Returns
        -------
        tuple
            Whether no other process holds the lock, and the lock if it is held here now. Without locks every claim
            succeeds.

        Raises
        ------
        OSError
            If no file can be written in the directory.
        """
        from filelock import FileLock, Timeout

        if self._work is None:
            self._try_out(path.parent)
        if not self._work:
            return True, None
        lock = FileLock(path, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False, None
        except (OSError, NotImplementedError) as error:
            _require_writable(path.parent, error)
            if getattr(error, "errno", None) not in _VANISHED:
                self._do_without(path.parent, error)
            return True, None
        return True, lock

    def _try_out(self, directory: Path) -> None:
        """Find out whether locks work; raises OSError where no file can be written.

        filelock is not asked, because its answer depends on its release: NotImplementedError, a file that outlives a
        dead process in place of a lock, or a lock that another process seems to hold for ever.
        """
        self._work = True
        try:
            import fcntl
        except ImportError:  # Windows has other locks, which always work.
            return
        with tempfile.TemporaryFile(dir=directory) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                self._do_without(directory, error)

    def _do_without(self, directory: Path, error: Exception) -> None:
        # Before the warning, which may be an error: the next claim must not warn again.
        self._work = False
        warnings.warn(
            f"{directory}: files cannot be locked there ({error}); several processes may compute the same predictions",
            StoreWarning,
            stacklevel=2,
        )


def release(lock: FileLock | None) -> None:
    """Release a lock, if there is one."""
    if lock is not None:
        # The server of a network drive may have forgotten the lock.
        with contextlib.suppress(OSError):
            lock.release()


def _require_writable(directory: Path, error: Exception) -> None:
    if not isinstance(error, OSError):
        return
    may_not = isinstance(error, PermissionError) and not os.access(directory, os.W_OK)
    if may_not or error.errno in _FULL_OR_READ_ONLY:
        raise error
