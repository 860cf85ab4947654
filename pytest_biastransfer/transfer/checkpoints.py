"""Checkpoints of interrupted training: the state after the last complete epoch, in a file of the store."""

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

# Writing must take little of the time that it may save.
_BETWEEN_SECONDS: Final = 10.0
_DESCRIPTION: Final = "training"


class Checkpoint:
    """The state of one training in a file of a directory; nothing is written if there is no directory."""

    def __init__(self, directory: StoreDirectory, key: str) -> None:
        self._directory = directory
        self._name = f"{key}.training"
        self._written = time.monotonic()

    @property
    def path(self) -> Path | None:
        """The file, which need not exist; None if nothing is written."""
        directory = self._directory.path if self._directory.can_be_written else None
        return None if directory is None else directory / self._name

    def read(self) -> dict[str, Any] | None:
        """Return the state that was written, or None."""
        entry = self._directory.read(self._name, lambda description, _: description == _DESCRIPTION)
        if entry is None:
            return None
        try:
            # Security: only tensors and plain data are unpickled, as somebody else may have written the file.
            state: dict[str, Any] = torch.load(io.BytesIO(entry[1]), weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, ValueError) as error:
            self.drop(f"it is not the state of a training ({type(error).__name__})")
            return None
        return state

    def drop(self, reason: str) -> None:
        """Remove an unusable state with a warning."""
        if self.path is not None:
            self._directory.drop(self.path, reason)

    def write(self, state: dict[str, Any]) -> None:
        """Write the current state."""
        if self.path is None:
            return
        content = io.BytesIO()
        torch.save(state, content)
        self._directory.write(self._name, _DESCRIPTION, [content.getbuffer()])
        self._written = time.monotonic()

    def write_if_due(self, state: dict[str, Any]) -> None:
        """Write the current state, unless that was done in the last few seconds."""
        if time.monotonic() - self._written > _BETWEEN_SECONDS:
            self.write(state)

    def remove(self) -> None:
        """Remove the file, as the training is complete."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
