"""A directory that is written to as long as that works, and read from as far as it has what it should have."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_biastransfer.errors import StoreWarning
from pytest_biastransfer.store.checksummed_files import Accepts, Seal, read_checked, write_checked


@dataclass
class _Root:
    directory: Path | None
    can_be_written: bool
    seal: Seal = field(repr=False)
    # What is in the way and cannot be removed, of which it was warned.
    stuck: set[Path] = field(default_factory=set)


class StoreDirectory:
    """A directory, or none where that is None; that it cannot be written concerns its subdirectories too."""

    def __init__(self, directory: Path | None, seal: Seal | None = None) -> None:
        self._root = _Root(directory, directory is not None, seal or Seal())
        self._inner = Path()

    @property
    def path(self) -> Path | None:
        """The directory, which need not exist yet; None if there is none."""
        return self._root.directory and self._root.directory / self._inner

    @property
    def can_be_written(self) -> bool:
        """Whether there is a directory, and nothing has failed there yet."""
        return self._root.can_be_written

    @property
    def is_sealed(self) -> bool:
        """Whether what is read was written by somebody who knows a secret."""
        return self._root.seal.is_secret

    def inside(self, name: str) -> StoreDirectory:
        """Return a subdirectory."""
        found = StoreDirectory(None)
        found._root, found._inner = self._root, self._inner / name
        return found

    def read(self, name: str, accepts: Accepts) -> tuple[Any, memoryview] | None:
        """Return what `write` wrote into the file of that name: its description and the content, memory-mapped.

        None if there is no such file. What is there instead, or damaged, is removed and warned of.
        """
        if self.path is None:
            return None
        path = self.path / name
        try:
            return read_checked(path, self._root.seal.digest(self._name(path)), accepts)
        # An OverflowError is a file too large to be mapped.
        except (OSError, ValueError, RecursionError, OverflowError) as error:
            if os.path.lexists(path):
                self.drop(path, getattr(error, "strerror", None) or str(error))
            return None

    def write(self, name: str, description: Any, parts: Iterable[Any]) -> None:
        """Write a file; `parts` are what supports the buffer protocol, `description` is anything JSON can hold."""
        if self.path is None or not self.can_be_written:
            return
        path = self.path / name
        try:
            self.make_directory(path.parent)
            write_checked(path, self._root.seal.digest(self._name(path)), description, parts)
        except OSError as error:
            self.give_up(error)

    def make_directory(self, directory: Path) -> None:
        """Make a directory in here, in the place of whatever else is there; raises OSError where that cannot be."""
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError:
            within = [path for path in (directory, *directory.parents) if self._root.directory in path.parents]
            obstacles = [path for path in within if os.path.lexists(path) and not os.path.isdir(path)]  # noqa: PTH112
            if not obstacles:
                raise
            for path in obstacles:
                self.drop(path, "it is no directory")
            directory.mkdir(parents=True, exist_ok=True)

    def drop(self, path: Path, reason: str) -> None:
        """Remove what is not what it should be, whatever it is, and warn of it, once if that cannot be done."""
        if path in self._root.stuck:
            return
        # Before the warning, which the user may have made an error: the next session would meet it again.
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError:
            self._root.stuck.add(path)
        warnings.warn(f"{path}: {reason}; it is computed again", StoreWarning, stacklevel=2)

    def give_up(self, error: OSError) -> None:
        """Keep nothing more: a full or read-only disk is no reason to lose the results."""
        if self._root.can_be_written:
            self._root.can_be_written = False
            message = f"{self._root.directory} cannot be written ({error}); nothing more is kept there"
            warnings.warn(message, StoreWarning, stacklevel=2)

    def _name(self, path: Path) -> str:
        assert self._root.directory is not None
        return path.relative_to(self._root.directory).as_posix()
