"""The progress line: shown in the terminal while an evaluation takes long, gone when it is done."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_biastransfer.evaluation.progress import ERASE, REDRAW_SECONDS, progress_text

if TYPE_CHECKING:
    from pytest_biastransfer.evaluation.progress import Progress

_LEAST_WIDTH: Final = 30
# VT100, "save cursor" and "restore cursor": text between them leaves the cursor where pytest put it.
_SAVE, _RESTORE = "\x1b7", "\x1b8"


def progress_line(config: pytest.Config) -> ProgressLine | None:
    """Return the session's progress line; None with ``-q``, or if the output is no terminal."""
    reporter: Any = config.pluginmanager.getplugin("terminalreporter")
    if reporter is None or reporter.verbosity < 0 or not (reporter.isatty and reporter.hasmarkup):
        return None
    name = "biastransfer-progress"
    if not config.pluginmanager.hasplugin(name):
        config.pluginmanager.register(ProgressLine(config, reporter), name)
    line: ProgressLine | None = config.pluginmanager.getplugin(name)
    return line


class ProgressLine:
    """Text behind the cursor, which disappears before pytest writes.

    Any thread may show text.
    """

    def __init__(self, config: pytest.Config, reporter: pytest.TerminalReporter) -> None:
        self._config = config
        self._reporter = reporter
        # Reentrant: pytest may call a hook below while this thread shows text.
        self._writing = threading.RLock()
        self._shown = False
        self._last = 0.0

    def show(self, running: Sequence[Progress]) -> None:
        """Show how far the evaluations are."""
        now = time.monotonic()
        if now - self._last < REDRAW_SECONDS:
            return
        self._last = now
        text = progress_text(running)
        with self._writing, self._uncaptured():
            if text is None:
                self._hide()
                return
            room = self._reporter._tw.fullwidth - self._reporter._tw.width_of_current_line - 1
            if room >= _LEAST_WIDTH:
                sys.stdout.write(f"{_SAVE} {text[: room - 1]}{ERASE}{_RESTORE}")
                sys.stdout.flush()
                self._shown = True

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
