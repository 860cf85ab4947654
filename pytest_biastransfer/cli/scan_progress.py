"""The progress of ``biastransfer scan`` in a terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Self, TextIO

from pytest_biastransfer.evaluation.progress import progress_text

if TYPE_CHECKING:
    from pytest_biastransfer.evaluation.progress import Progress

_BETWEEN_SECONDS: Final = 0.2
# ECMA-48, "erase in line": clears from the cursor to the end of the line.
_ERASE: Final = "\x1b[K"


class ScanProgress:
    """One line that is overwritten, and cleared at the end. Nothing is written to a stream that is no terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream if stream.isatty() else None
        self._task = ""
        self._last = 0.0

    def begin(self, task: str) -> None:
        """Show the intervention that is measured now."""
        self._task = task
        self._write(task)

    def show(self, progress: Progress) -> None:
        """Show the progress of a long evaluation."""
        text, now = progress_text([progress]), time.monotonic()
        if text and now - self._last >= _BETWEEN_SECONDS:
            self._last = now
            self._write(f"{self._task}  {text}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Clear the line."""
        self._write("")

    def _write(self, text: str) -> None:
        if self._stream is not None:
            self._stream.write(f"\r{text}{_ERASE}")
            self._stream.flush()
