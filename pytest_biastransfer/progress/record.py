"""How far something is that takes long: a record of it, and one line of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# What is shorter is over before anybody has read the line.
_SHOWN_AFTER_SECONDS: Final = 2.0
REDRAW_SECONDS: Final = 0.2
# Where lines stay, as in the log of a CI job, a long session must not bury the rest.
BETWEEN_LINES_SECONDS: Final = 30.0
# ECMA-48, "erase in line": clears from the cursor to the end of the line.
ERASE: Final = "\x1b[K"


@dataclass(frozen=True)
class Progress:
    """How far one task is, such as the evaluation of one model under one intervention.

    Attributes
    ----------
    key
        Identifies the task; processes that share it use the same key.
    done, total
        Number of images that are done, by any process or session, and of all images. A `total` of 0 is of a task whose
        size is not known; it has ended when both are 1.
    computed
        Number of images that this process did.
    seconds
        Time since this process began.
    task
        What is done, in words, such as ``"predicting"`` or ``"loading model.pt"``.
    unit
        What is counted.
    """

    key: str
    done: int
    total: int
    computed: int
    seconds: float
    task: str = "predicting"
    unit: str = "images"

    @property
    def is_done(self) -> bool:
        """Whether the task has ended."""
        return self.total > 0 and self.done >= self.total

    @property
    def is_rare(self) -> bool:
        """Whether it is reported once: a task has ended, or begins that cannot tell how far it is."""
        return self.total == 0 or self.is_done


def progress_text(running: Sequence[Progress]) -> str | None:
    """Return what is done, how far it is, the rate and the time left of tasks in one or several processes.

    Processes that share a task add up their rates, but not its images. None while the tasks are young; what cannot
    tell how far it is, is shown from its beginning.

    >>> progress_text([Progress("a", 1000, 5000, 1000, seconds=4)])
    'predicting 1,000 of 5,000 images, 250/s, 16 s left'
    >>> progress_text([Progress("b", 0, 0, 0, seconds=0, task="loading model.pt")])
    'loading model.pt'
    """
    unfinished = [progress for progress in running if not progress.is_done]
    texts = [progress.task for progress in unfinished if progress.total == 0]
    counting = [progress for progress in unfinished if progress.total > 0]
    if max((progress.seconds for progress in counting), default=0.0) >= _SHOWN_AFTER_SECONDS:
        kinds = dict.fromkeys((progress.task, progress.unit) for progress in counting)
        texts += [
            _counted([progress for progress in counting if (progress.task, progress.unit) == kind]) for kind in kinds
        ]
    return "; ".join(dict.fromkeys(texts)) or None


def _counted(running: Sequence[Progress]) -> str:
    totals = {progress.key: progress.total for progress in running}
    done = sum(max(progress.done for progress in running if progress.key == key) for key in totals)
    rate = sum(progress.computed / progress.seconds for progress in running if progress.seconds > 0)
    total = sum(totals.values())
    left = f", {_duration((total - done) / rate)} left" if rate > 0 else ""
    first = running[0]
    return f"{first.task} {done:,} of {total:,} {first.unit}, {rate:,.{0 if rate >= 10 else 1}f}/s{left}"


def _duration(seconds: float) -> str:
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
