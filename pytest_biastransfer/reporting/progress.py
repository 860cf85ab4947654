"""How far the evaluation is: a line in the terminal while it takes long, gone when it is done."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TextIO

import pytest

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from pytest_biastransfer.evaluation.evaluator import Progress

_LONG_SECONDS: Final = 2.0
_BETWEEN_SECONDS: Final = 0.2
_LEAST_WIDTH: Final = 30
# Of ECMA-48 and the VT100: what is written between the first two leaves the cursor where it was.
_SAVE, _RESTORE, _ERASE = "\x1b7", "\x1b8", "\x1b[K"


def progress_text(running: Sequence[Progress]) -> str | None:
    """Return images done, rate and time left of evaluations that go on in one or several processes.

    Processes that share an evaluation add up their rates, not its images. None as long as it is not worth a line.
    """
    unfinished = [progress for progress in running if progress.done < progress.total]
    if max((progress.seconds for progress in unfinished), default=0.0) < _LONG_SECONDS:
        return None
    totals = {progress.key: progress.total for progress in unfinished}
    done = sum(max(one.done for one in unfinished if one.key == key) for key in totals)
    rate = sum(progress.computed / progress.seconds for progress in unfinished if progress.seconds > 0)
    total = sum(totals.values())
    left = f", {_duration((total - done) / rate)} left" if rate > 0 else ""
    return f"{done:,} of {total:,} images, {rate:,.{0 if rate >= 10 else 1}f}/s{left}"


def _duration(seconds: float) -> str:
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def progress_on(stream: TextIO) -> Callable[[Progress], None] | None:
    """Return what shows progress in a terminal outside of pytest; None where nobody watches.

    The line is gone when all is done.
    """
    if not stream.isatty():
        return None
    last = 0.0

    def show(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if progress.done < progress.total and now - last < _BETWEEN_SECONDS:
            return
        last = now
        stream.write(f"\r{progress_text([progress]) or ''}{_ERASE}")
        stream.flush()

    return show


def progress_line(config: pytest.Config) -> ProgressLine | None:
    """Return the session's line; None with ``-q``, or where nobody watches."""
    reporter: Any = config.pluginmanager.getplugin("terminalreporter")
    if reporter is None or reporter.verbosity < 0 or not (reporter.isatty and reporter.hasmarkup):
        return None
    name = "biastransfer-progress"
    if not config.pluginmanager.hasplugin(name):
        config.pluginmanager.register(ProgressLine(config, reporter), name)
    line: ProgressLine | None = config.pluginmanager.getplugin(name)
    return line


class ProgressLine:
    """Text behind the cursor, which vanishes before pytest writes anything.

    Other threads may show text too.
    """

    def __init__(self, config: pytest.Config, reporter: TerminalReporter) -> None:
        self._config = config
        self._reporter = reporter
        self._writing = threading.RLock()
        self._shown = False
        self._last = 0.0

    def show(self, running: Sequence[Progress]) -> None:
        """Show how far the evaluations are."""
        now = time.monotonic()
        if now - self._last < _BETWEEN_SECONDS:
            return
        self._last = now
        text = progress_text(running)
        with self._writing, self._uncaptured():
            if text is None:
                self._hide()
                return
            room = self._reporter._tw.fullwidth - self._reporter._tw.width_of_current_line - 1
            if room >= _LEAST_WIDTH:
                sys.stdout.write(f"{_SAVE} {text[: room - 1]}{_ERASE}{_RESTORE}")
                sys.stdout.flush()
                self._shown = True

    def _hide(self) -> None:
        if self._shown:
            sys.stdout.write(_ERASE)
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
        """Make room for what pytest writes: here an outcome; the other hooks are those that write, too."""
        with self._writing:
            self._hide()
            return (yield)

    pytest_runtest_logstart = pytest_runtest_logfinish = pytest_sessionfinish = pytest_runtest_logreport
