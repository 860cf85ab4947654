"""How far a scan is: which intervention it is at, in a terminal that somebody watches."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Self, TextIO

from pytest_biastransfer.evaluation.progress import progress_text

if TYPE_CHECKING:
    from pytest_biastransfer.evaluation.progress import Progress

_BETWEEN_SECONDS: Final = 0.2
# Of ECMA-48: what is left of the line is erased.
_ERASE: Final = "\x1b[K"


class ScanProgress:
    """One line, written again and again, and gone at the end; none where the stream is no terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream if stream.isatty() else None
        self._what = ""
        self._last = 0.0

    def begin(self, what: str) -> None:
        """Show what is measured now."""
        self._what = what
        self._write(what)

    def show(self, progress: Progress) -> None:
        """Show how far that is, where it takes long."""
        text, now = progress_text([progress]), time.monotonic()
        if text and now - self._last >= _BETWEEN_SECONDS:
            self._last = now
            self._write(f"{self._what}  {text}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Take the line away."""
        self._write("")

    def _write(self, text: str) -> None:
        if self._stream is not None:
            self._stream.write(f"\r{text}{_ERASE}")
            self._stream.flush()
