"""The progress of what takes long: a line of the terminal that is gone at the end, or rare lines in a log."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_biastransfer.progress.record import BETWEEN_LINES_SECONDS, ERASE, REDRAW_SECONDS, progress_text

if TYPE_CHECKING:
    from pytest_biastransfer.progress.record import Progress

_LEAST_WIDTH: Final = 30
# VT100, "save cursor" and "restore cursor": text between them leaves the cursor where pytest put it.
_SAVE, _RESTORE = "\x1b7", "\x1b8"


def progress_line(config: pytest.Config) -> ProgressLine | None:
    """Return the session's progress line; None with ``-q``, and in workers."""
    reporter: Any = config.pluginmanager.getplugin("terminalreporter")
    if reporter is None or reporter.verbosity < 0:
        return None
    name = "biastransfer-progress"
    if not config.pluginmanager.hasplugin(name):
        config.pluginmanager.register(ProgressLine(config, reporter), name)
    line: ProgressLine | None = config.pluginmanager.getplugin(name)
    return line


class ProgressLine:
    """Text behind the cursor, which disappears before pytest writes.

    Where text stays, as in a file, it is a line of its own, and there is at most one in half a minute. Any thread may
    show text.
    """

    def __init__(self, config: pytest.Config, reporter: pytest.TerminalReporter) -> None:
        self._config = config
        self._reporter = reporter
        # Reentrant: pytest may call a hook below while this thread shows text.
        self._writing = threading.RLock()
        self._shown = False
        self._is_terminal = bool(reporter.isatty and reporter.hasmarkup)
        self._last = 0.0 if self._is_terminal else time.monotonic()

    def show(self, running: Sequence[Progress]) -> None:
        """Show what is done, and how far it is."""
        now = time.monotonic()
        is_rare = any(progress.is_rare for progress in running)
        between = REDRAW_SECONDS if self._is_terminal else BETWEEN_LINES_SECONDS
        if now - self._last < between and not (is_rare and self._is_terminal):
            return
        text = progress_text(running)
        if not self._is_terminal:
            if text is not None:
                self._last = now
                self._write_line(text)
            return
        self._last = now
        with self._writing, self._uncaptured():
            if text is None:
                self._hide()
                return
            room = self._reporter._tw.fullwidth - self._reporter._tw.width_of_current_line - 1
            if room >= _LEAST_WIDTH:
                sys.stdout.write(f"{_SAVE} {text[: room - 1]}{ERASE}{_RESTORE}")
                sys.stdout.flush()
                self._shown = True

    def _write_line(self, text: str) -> None:
        with self._writing, self._uncaptured():
            self._reporter.ensure_newline()
            self._reporter.write_line(f"bias transfer: {text}")

    def _hide(self) -> None:
        if self._shown:
            sys.stdout.write(ERASE)
            sys.stdout.flush()
            self._shown = False

    @contextmanager
    def _uncaptured(self) -> Iterator[None]:
        """Write to the terminal while a test runs, whose output pytest captures."""
        capture: Any = self._config.pluginmanager.getplugin("capturemanager")
        if capture is None or threading.current_thread() is not threading.main_thread():
            yield
        else:
            with capture.global_and_fixture_disabled():
                yield

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self) -> Generator[None, Any, Any]:
        """Hide the text before pytest writes an outcome; the hooks below write too."""
        with self._writing:
            self._hide()
            return (yield)

    pytest_runtest_logstart = pytest_runtest_logfinish = pytest_sessionfinish = pytest_runtest_logreport
