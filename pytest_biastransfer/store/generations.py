"""Invalidates keys of the store whose cached predictions turned out to be wrong.

A key that is dropped gets the next generation number, which becomes part of the key. So a process that still reads
chunks of the old generation never mixes them with chunks of the new one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Final

from pytest_biastransfer.fingerprints import fingerprint

if TYPE_CHECKING:
    from pytest_biastransfer.store.directory import StoreDirectory
    from pytest_biastransfer.store.facts import Facts

_WAIT_SECONDS: Final = 10
_FORM: Final = dict[str, Annotated[int, lambda count: count > 0]]


class Generations:
    """Counts how often each key was dropped; all counts are one fact, so that a session reads one file."""

    def __init__(self, facts: Facts, root: StoreDirectory) -> None:
        self._facts = facts
        self._root = root
        self._name = fingerprint("generations")
        self._counts: dict[str, int] | None = None

    def current(self, key: str) -> str:
        """Return a key of the current generation: the key itself if it was never dropped."""
        if self._counts is None:
            self._counts = self._read()
        count = self._counts.get(key, 0)
        return fingerprint(key, count) if count else key

    def drop(self, key: str, current: str) -> None:
        """Begin the next generation of a key, unless another process already did since `current` was returned."""
        with self._locked():
            # Merged, not replaced: counts that could not be written still hold in this session.
            self._counts = (self._counts or {}) | self._read()
            if self.current(key) == current:
                self._counts[key] = self._counts.get(key, 0) + 1
                self._facts.put(self._name, self._counts)

    def _read(self) -> dict[str, int]:
        counts: dict[str, int] | None = self._facts.get(self._name, _FORM)
        return counts or {}

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes from writing the counts; without a lock, at worst a key has to be dropped again."""
        directory = self._root.path
        if directory is None or not self._root.can_be_written:
            yield
            return
        from filelock import FileLock, Timeout

        lock = FileLock(directory / "generations.lock", thread_local=False)
        with contextlib.suppress(OSError, NotImplementedError, Timeout):
            self._root.make_directory(directory)
            lock.acquire(timeout=_WAIT_SECONDS)
        try:
            yield
        finally:
            lock.release()
