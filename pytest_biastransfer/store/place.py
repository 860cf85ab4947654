"""A directory that is used as long as it can be written to."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from pytest_biastransfer.errors import StoreWarning


@dataclass
class _Root:
    directory: Path | None


class Place:
    """A directory, or none where that is None; its subdirectories are given up together with it."""

    def __init__(self, directory: Path | None) -> None:
        self._root = _Root(directory)
        self._inner = Path()

    @property
    def path(self) -> Path | None:
        """The directory, which need not exist yet; None if there is none, or if it was given up."""
        return self._root.directory and self._root.directory / self._inner

    def inside(self, name: str) -> Place:
        """Return a subdirectory."""
        found = Place(None)
        found._root, found._inner = self._root, self._inner / name
        return found

    def give_up(self, error: OSError) -> None:
        """Go on without keeping anything: a full or read-only disk is no reason to lose the results."""
        directory, self._root.directory = self._root.directory, None
        if directory is not None:
            message = f"{directory} cannot be written ({error}); nothing is kept there"
            warnings.warn(message, StoreWarning, stacklevel=2)
