"""Reports of tasks that take long from wherever they are done, to whoever shows them.

Files are loaded and hashed far below what knows of a terminal. So they report to the listener of the process, if there
is one, and cost next to nothing without.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from pytest_biastransfer.progress.record import REDRAW_SECONDS, Progress

Listener = Callable[[Progress], None]
Item = TypeVar("Item")

# The innermost listener is the last one.
_LISTENERS: Final[list[Listener]] = []
# Tasks that go on, each a part of the one before.
_BEGUN: Final[list[Progress]] = []


@contextmanager
def listening(listener: Listener | None) -> Iterator[None]:
    """Have a listener told of all tasks that this process reports meanwhile; None changes nothing."""
    if listener is None:
        yield
        return
    _LISTENERS.append(listener)
    try:
        yield
    finally:
        _LISTENERS.pop()


@contextmanager
def reported(task: str) -> Iterator[None]:
    """Report a task whose length is not known, such as ``"loading model.pt"``.

    >>> with listening(lambda progress: print(progress.task, progress.is_done)), reported("loading model.pt"):
    ...     pass
    loading model.pt False
    loading model.pt True
    """
    start = time.monotonic()
    begun = Progress(task, 0, 0, 0, 0.0, task)
    _BEGUN.append(begun)
    report(begun)
    try:
        yield
    finally:
        _BEGUN.remove(begun)
        report(Progress(task, 1, 1, 1, time.monotonic() - start, task))
        # What this was a part of goes on.
        if _BEGUN:
            report(_BEGUN[-1])


def counted(items: Iterable[Item], total: int, task: str, unit: str) -> Iterator[Item]:
    """Yield the items, and report now and then how many were done.

    >>> with listening(print):
    ...     list(counted("ab", 2, "hashing", "files"))
    Progress(key='hashing', done=2, total=2, computed=2, seconds=0.0, task='hashing', unit='files')
    ['a', 'b']
    """
    if not _LISTENERS:
        yield from items
        return
    start = last = time.monotonic()
    done = 0
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= REDRAW_SECONDS and done < total:
            last = now
            report(Progress(task, done, total, done, now - start, task, unit))
    report(Progress(task, total, total, done, round(time.monotonic() - start, 1), task, unit))


def report(progress: Progress) -> None:
    """Tell the listener how far a task is."""
    if _LISTENERS:
        _LISTENERS[-1](progress)
