"""A directory that is written to as long as that works."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from pytest_biastransfer.errors import StoreWarning


@dataclass
class _Root:
    directory: Path | None
    can_be_written: bool


class Place:
    """A directory, or none where that is None; that it cannot be written concerns its subdirectories too."""

    def __init__(self, directory: Path | None) -> None:
        self._root = _Root(directory, can_be_written=directory is not None)
        self._inner = Path()

    @property
    def path(self) -> Path | None:
        """The directory, which need not exist yet; None if there is none."""
        return self._root.directory and self._root.directory / self._inner

    @property
    def can_be_written(self) -> bool:
        """Whether there is a directory, and nothing has failed there yet."""
        return self._root.can_be_written

    def inside(self, name: str) -> Place:
        """Return a subdirectory."""
        found = Place(None)
        found._root, found._inner = self._root, self._inner / name
        return found

    def give_up(self, error: OSError) -> None:
        """Keep nothing more: a full or read-only disk is no reason to lose the results."""
        if self._root.can_be_written:
            self._root.can_be_written = False
            message = f"{self._root.directory} cannot be written ({error}); nothing more is kept there"
            warnings.warn(message, StoreWarning, stacklevel=2)
