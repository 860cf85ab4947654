"""Training that was interrupted goes on where it was: its state after the last whole epoch, in a file."""

from __future__ import annotations

import contextlib
import io
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from pytest_biastransfer.store.checked import read_checked, write_checked

if TYPE_CHECKING:
    from pytest_biastransfer.store import Place

# Writing must not take much of the time that it may save.
_BETWEEN_SECONDS: Final = 10.0


class Checkpoint:
    """The state of one training in a file; in none where there is no place for it."""

    def __init__(self, place: Place, key: str) -> None:
        self._place = place
        self._key = key
        self._written = time.monotonic()

    @property
    def path(self) -> Path | None:
        """The file, which need not exist."""
        directory = self._place.path if self._place.can_be_written else None
        return None if directory is None else directory / f"{self._key}.training"

    def read(self) -> dict[str, Any] | None:
        """Return the state that was written, or None."""
        found = None if self.path is None else read_checked(self.path)
        # Nothing but tensors and plain data is read.
        return None if found is None else torch.load(io.BytesIO(found[1]), weights_only=True)

    def write(self, state: dict[str, Any]) -> None:
        """Write the state of now."""
        if self.path is None:
            return
        content = io.BytesIO()
        torch.save(state, content)
        try:
            write_checked(self.path, "training", [content.getbuffer()])
        except OSError as error:
            self._place.give_up(error)
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
