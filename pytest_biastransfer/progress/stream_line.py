"""The progress of what runs outside of pytest: one line of a terminal, or rare lines in the log of a job."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self, TextIO

from pytest_biastransfer.progress.record import BETWEEN_LINES_SECONDS, ERASE, REDRAW_SECONDS, Progress, progress_text


class StreamLine:
    """One line that is overwritten, and cleared at the end.

    In a stream that is no terminal, a line stays. So there is at most one in half a minute.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._step = ""
        self._last = time.monotonic() - (BETWEEN_LINES_SECONDS if self._is_terminal else 0)

    def begin(self, step: str) -> None:
        """Show the step that begins now, such as an intervention that is measured."""
        self._step = step
        self._write(step)

    def show(self, progress: Progress) -> None:
        """Show the progress of something that takes long."""
        text, now = progress_text([progress]), time.monotonic()
        if self._is_terminal and text and (progress.is_rare or now - self._last >= REDRAW_SECONDS):
            self._last = now
            self._write(f"{self._step}  {text}" if self._step else text)
        elif self._is_terminal and progress.is_done:
            self._write(self._step)
        elif not self._is_terminal and text and now - self._last >= BETWEEN_LINES_SECONDS:
            self._last = now
            self._stream.write(f"{self._step}  {text}\n" if self._step else f"{text}\n")
            self._stream.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Clear the line."""
        self._write("")

    def _write(self, text: str) -> None:
        if self._is_terminal:
            self._stream.write(f"\r{text}{ERASE}")
            self._stream.flush()


def progress_on(stream: TextIO) -> Callable[[Progress], None] | None:
    """Return a function that shows progress in a terminal outside pytest; None if the stream is no terminal.

    The line disappears when all images are done.
    """
    return StreamLine(stream).show if stream.isatty() else None
