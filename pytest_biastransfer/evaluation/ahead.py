"""Loading the next thing while the current one is in use."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """Loads chunks, and in the background the one that follows; a single thread does all the loading.

    Parameters
    ----------
    load
        Loads a chunk.
    chunks
        All chunks, in the order in which they are probably asked for.
    """

    def __init__(self, load: Callable[[range], T], chunks: Sequence[range]) -> None:
        self._load = load
        self._next = dict(itertools.pairwise(chunks))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="biastransfer-load")
        self._begun: dict[range, Future[T]] = {}

    def take(self, chunk: range) -> T:
        """Return a loaded chunk."""
        begun = self._begun.pop(chunk, None) or self._thread.submit(self._load, chunk)
        # What was begun and not asked for is of no use: another process has done that chunk.
        self._begun.clear()
        following = self._next.get(chunk)
        if following is not None:
            self._begun[following] = self._thread.submit(self._load, following)
        return begun.result()

    def close(self) -> None:
        """Stop loading; nothing that was begun is waited for any longer than it takes."""
        self._thread.shutdown(cancel_futures=True)
