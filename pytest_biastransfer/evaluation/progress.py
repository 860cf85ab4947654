"""How far an evaluation is: a record of it, and one line of text."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TextIO

# A shorter evaluation is over before anybody has read the line.
_SHOWN_AFTER_SECONDS: Final = 2.0
REDRAW_SECONDS: Final = 0.2
# ECMA-48, "erase in line": clears from the cursor to the end of the line.
ERASE: Final = "\x1b[K"


@dataclass(frozen=True)
class Progress:
    """How far the evaluation of one model under one intervention is.

    Attributes
    ----------
    key
        Identifies the evaluation; processes that share it use the same key.
    done, total
        Number of images that have a prediction, from any process or session, and of all images.
    computed
        Number of images that this process ran through the model.
    seconds
        Time since this process began to compute.
    """

    key: str
    done: int
    total: int
    computed: int
    seconds: float


def progress_text(running: Sequence[Progress]) -> str | None:
    """Return the number of images done, the rate and the time left of evaluations in one or several processes.

    Processes that share an evaluation add up their rates, but not its images. None while the evaluations are young.
    """
    unfinished = [progress for progress in running if progress.done < progress.total]
    if max((progress.seconds for progress in unfinished), default=0.0) < _SHOWN_AFTER_SECONDS:
        return None
    totals = {progress.key: progress.total for progress in unfinished}
    done = sum(max(progress.done for progress in unfinished if progress.key == key) for key in totals)
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
    """Return a function that shows progress in a terminal outside pytest; None if the stream is no terminal.

    The line disappears when all images are done.
    """
    if not stream.isatty():
        return None
    last = 0.0

    def show(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if progress.done < progress.total and now - last < REDRAW_SECONDS:
            return
        last = now
        stream.write(f"\r{progress_text([progress]) or ''}{ERASE}")
        stream.flush()

    return show
