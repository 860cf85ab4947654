"""Training that was interrupted goes on where it was: its state after the last whole epoch, in a file."""

from __future__ import annotations

import contextlib
import io
import pickle
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

if TYPE_CHECKING:
    from pytest_biastransfer.store import StoreDirectory

# Writing must not take much of the time that it may save.
_BETWEEN_SECONDS: Final = 10.0
_DESCRIPTION: Final = "training"


class Checkpoint:
    """The state of one training in a file; in none where there is no place for it."""

    def __init__(self, place: StoreDirectory, key: str) -> None:
        self._place = place
        self._name = f"{key}.training"
        self._written = time.monotonic()

    @property
    def path(self) -> Path | None:
        """The file, which need not exist."""
        directory = self._place.path if self._place.can_be_written else None
        return None if directory is None else directory / self._name

    def read(self) -> dict[str, Any] | None:
        """Return the state that was written, or None."""
        found = self._place.read(self._name, lambda description, _: description == _DESCRIPTION)
        if found is None:
            return None
        try:
            # Nothing but tensors and plain data is read.
            state: dict[str, Any] = torch.load(io.BytesIO(found[1]), weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, ValueError) as error:
            self.drop(f"it is no state of a training ({type(error).__name__})")
            return None
        return state

    def drop(self, reason: str) -> None:
        """Remove a state that is of no use, and warn of it."""
        if self.path is not None:
            self._place.drop(self.path, reason)

    def write(self, state: dict[str, Any]) -> None:
        """Write the state of now."""
        if self.path is None:
            return
        content = io.BytesIO()
        torch.save(state, content)
        self._place.write(self._name, _DESCRIPTION, [content.getbuffer()])
        self._written = time.monotonic()

    def write_if_due(self, state: dict[str, Any]) -> None:
        """Write the state of now, unless that was done a moment ago."""
        if time.monotonic() - self._written > _BETWEEN_SECONDS:
            self.write(state)

    def remove(self) -> None:
        """Remove the file: the training has come to its end."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
