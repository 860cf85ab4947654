"""How far the workers are, told to the controller and shown there."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.plugin.xdist.worker_messages import read_notices, write_notice

if TYPE_CHECKING:
    from pytest_biastransfer.evaluation.progress import Progress
    from pytest_biastransfer.plugin.session.progress_line import ProgressLine

_KIND: Final = "progress"
_BETWEEN_SECONDS: Final = 0.5


def progress_teller(notices: Path, worker: str) -> Callable[[Progress], None]:
    """Return a function that leaves a notice of how far a worker is, now and then and at the end."""
    last = 0.0

    def tell(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _BETWEEN_SECONDS or progress.done == progress.total:
            last = now
            write_notice(notices, worker, _KIND, dataclasses.asdict(progress))

    return tell


def forget_progress(notices: Path, worker: str) -> None:
    """Forget how far a worker was that died."""
    (notices / f"{worker}.{_KIND}").unlink(missing_ok=True)


class ProgressWatch:
    """Shows how far the workers are, until it is stopped."""

    def __init__(self, notices: Path, line: ProgressLine) -> None:
        self._notices = notices
        self._line = line
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="biastransfer-progress", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stopped.wait(_BETWEEN_SECONDS):
            from pytest_biastransfer.evaluation.progress import Progress

            self._line.show([Progress(**notice) for notice in read_notices(self._notices, _KIND)])

    def stop(self) -> None:
        """Show nothing any more."""
        self._stopped.set()
        self._thread.join()
