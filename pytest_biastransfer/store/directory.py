"""A directory of the store: damaged files are removed and computed again, a failing disk ends only the caching."""

from __future__ import annotations

import errno
import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pytest_biastransfer.errors import StoreWarning
from pytest_biastransfer.store.atomic_files import atomic_write
from pytest_biastransfer.store.checksummed_files import Accepts, Digest, Seal, read_checked, write_checked
from pytest_biastransfer.store.file_locks import FileLocks

if TYPE_CHECKING:
    from pytest_biastransfer.store.remote import RemoteStore

# Not a fault of the file: too many files are open, or a network drive does not reply.
_PASSING: Final = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ETIMEDOUT, errno.ESTALE)
# Another client of a network drive has replaced the file that is open here.
_STALE: Final = (errno.ESTALE,)
# Another process has removed the directory.
_MOVED: Final = (errno.ENOENT, errno.ESTALE)

Result = TypeVar("Result")


@dataclass
class _Root:
    directory: Path | None
    can_be_written: bool
    seal: Seal = field(repr=False)
    # Damaged files that cannot be removed: the user is warned of each once.
    stuck: set[Path] = field(default_factory=set)
    locks: FileLocks = field(default_factory=FileLocks)
    remote: RemoteStore | None = None


class StoreDirectory:
    """A directory of checksummed files, or no caching if it is None; subdirectories share its state.

    After the first write that fails, nothing more is written to the directory or to any of its subdirectories.
    """

    def __init__(self, directory: Path | None, seal: Seal | None = None, remote: RemoteStore | None = None) -> None:
        self._root = _Root(directory, directory is not None, seal or Seal(), remote=remote)
        self._subpath = Path()
        self._fast = False
        self._remote: RemoteStore | None = None

    @property
    def path(self) -> Path | None:
        """The directory, which need not exist yet; None if there is none."""
        return self._root.directory and self._root.directory / self._subpath

    @property
    def can_be_written(self) -> bool:
        """Whether there is a directory, and no write has failed yet."""
        return self._root.can_be_written

    @property
    def is_sealed(self) -> bool:
        """Whether only files that were written with a secret are read."""
        return self._root.seal.is_secret

    @property
    def locks(self) -> FileLocks:
        """The locks of the store's files."""
        return self._root.locks

    @property
    def is_remote(self) -> bool:
        """Whether other machines share its files, through a remote store."""
        return self._remote is not None and self.can_be_written

    def inside(self, name: str, *, fast: bool = False, shared: bool = False) -> StoreDirectory:
        """Return a subdirectory.

        Its files have `fast` checksums where they are large and read often. They are `shared` with other machines, if
        the store has a remote one, where they mean the same there.
        """
        subdirectory = StoreDirectory(None)
        subdirectory._root, subdirectory._subpath = self._root, self._subpath / name
        subdirectory._fast = fast
        subdirectory._remote = self._root.remote if shared else None
        return subdirectory

    def fetch(self, subdirectory: str, names: Iterable[str], most_bytes: int) -> bool:
        """Copy files that are only in the remote store to this one; return whether there were any.

        They are verified when they are read.
        """
        if self._remote is None or self.path is None or not self.can_be_written:
            return False
        directory = self.path / subdirectory
        missing = [name for name in names if not os.path.lexists(directory / name)]
        copied = False
        for name, content in self._remote.read(self._remote_name(directory), missing, most_bytes) if missing else ():
            try:
                self.make_directory(directory)
                with atomic_write(directory / name) as file:
                    file.write(content)
            except OSError as error:
                self.give_up(error)
                break
            copied = True
        return copied

    def remote_names(self) -> list[str] | None:
        """Return the names of the files that the remote store has of this directory; None if it cannot be read."""
        if self._remote is None or self.path is None:
            return None
        listing = self._remote.listing(self._remote_name(self.path))
        return None if listing is None else list(listing)

    def read(self, name: str, accepts: Accepts) -> tuple[Any, memoryview] | None:
        """Return the description and the memory-mapped content that `write` wrote into a file.

        Returns None if there is no such file. A damaged file, or anything else of that name, is removed with a
        warning.
        """
        if self.path is None:
            return None
        path = self.path / name
        try:
            return _again_after(_STALE, lambda: read_checked(path, self._digest(path), accepts))
        except FileNotFoundError:
            # Another process may write the file now; only a link that leads nowhere is in the way.
            if path.is_symlink():
                self.drop(path, "it is a link to no file")
            return None
        # mmap raises OverflowError for a file that is too large.
        except (OSError, ValueError, RecursionError, OverflowError) as error:
            if getattr(error, "errno", None) not in _PASSING and os.path.lexists(path):
                self.drop(path, getattr(error, "strerror", None) or str(error))
            return None

    def write(self, name: str, description: Any, arrays: Iterable[Any] = (), *, share: bool = True) -> None:
        """Write a file if possible: a `description` that JSON can hold, and `arrays` with the buffer protocol.

        A remote store gets it, too, unless it is not to `share`.
        """
        if self.path is None or not self.can_be_written:
            return
        path, buffers = self.path / name, list(arrays)

        def write() -> None:
            self.make_directory(path.parent)
            write_checked(path, self._digest(path), description, buffers)

        try:
            # Another process that makes room may remove the directory before the file is in it.
            _again_after(_MOVED, write)
        except OSError as error:
            self.give_up(error)
            return
        if share and self._remote is not None:
            self._remote.write(self._remote_name(path), path)

    def make_directory(self, directory: Path) -> None:
        """Make a subdirectory, replacing files in its way; raises OSError where that is not possible."""
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError:
            within = [path for path in (directory, *directory.parents) if self._root.directory in path.parents]
            obstacles = [path for path in within if os.path.lexists(path) and not os.path.isdir(path)]  # noqa: PTH112
            if not obstacles:
                raise
            for path in obstacles:
                self.drop(path, "it is not a directory")
            directory.mkdir(parents=True, exist_ok=True)

    def drop(self, path: Path, reason: str) -> None:
        """Remove a file or directory that is not as expected, with a warning; only one if it cannot be removed."""
        if path in self._root.stuck:
            return
        # Removed before the warning: where warnings are errors, the next session would fail at the same file.
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError:
            self._root.stuck.add(path)
        warnings.warn(f"{path}: {reason}; it is computed again", StoreWarning, stacklevel=2)

    def give_up(self, error: OSError) -> None:
        """Stop caching: a full or read-only disk must not cost the results."""
        if self._root.can_be_written:
            self._root.can_be_written = False
            message = f"{self._root.directory} cannot be written ({error}); nothing more is cached there"
            warnings.warn(message, StoreWarning, stacklevel=2)

    def _digest(self, path: Path) -> Digest:
        return self._root.seal.digest(self._name(path), fast=self._fast)

    def _remote_name(self, path: Path) -> str:
        # There, too, files with a seal are in a directory of their own.
        return "/".join(part for part in (self._root.seal.name, self._name(path)) if part)

    def _name(self, path: Path) -> str:
        assert self._root.directory is not None
        return path.relative_to(self._root.directory).as_posix()


def _again_after(errors: Sequence[int], work: Callable[[], Result]) -> Result:
    """Return what some work on a file returns; repeat it once if it fails with one of the errors."""
    try:
        return work()
    except OSError as error:
        if error.errno not in errors:
            raise
        return work()
