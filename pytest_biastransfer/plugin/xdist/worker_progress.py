"""How far what takes long is: told by each worker, shown by the controller or by the only process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.plugin.session.progress_line import progress_line
from pytest_biastransfer.plugin.xdist.worker_messages import WATCHED_INPUT, Mailbox, worker_mailbox

if TYPE_CHECKING:
    import pytest

    from pytest_biastransfer.plugin.session.progress_line import ProgressLine
    from pytest_biastransfer.progress.record import Progress

_BETWEEN_SECONDS: Final = 0.5


def watcher(config: pytest.Config) -> Callable[[Progress], None] | None:
    """Return the function that evaluations call with their progress; None if nobody watches it."""
    address = worker_mailbox(config)
    if address is not None:
        is_watched = config.workerinput[WATCHED_INPUT]  # type: ignore[attr-defined]
        return _progress_writer(*address) if is_watched else None
    line = progress_line(config)
    return None if line is None else lambda progress: line.show([progress])


def _progress_writer(mailbox: Mailbox, worker: str) -> Callable[[Progress], None]:
    """Return a function that leaves a worker's progress in the mailbox, now and then and at the end."""
    last = 0.0

    def write(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        # A worker has one message: what ends soon must not hide for long what goes on.
        if now - last >= _BETWEEN_SECONDS or progress.done == progress.total:
            last = now
            mailbox.write_progress(worker, progress)

    return write


class ProgressWatch:
    """A thread of the controller that shows the progress of all workers until it is stopped."""

    def __init__(self, mailbox: Mailbox, line: ProgressLine) -> None:
        self._mailbox = mailbox
        self._line = line
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="biastransfer-progress", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stopped.wait(_BETWEEN_SECONDS):
            self._line.show(self._mailbox.progress())

    def stop(self) -> None:
        """Stop the thread."""
        self._stopped.set()
        self._thread.join()
