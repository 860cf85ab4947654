"""What of the store is not believed any more: predictions that turned out to be those of something else.

A key that is dropped gets the next generation, which becomes part of it. So whoever still reads what was kept under
the old one never mixes it with what is computed under the new one.
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
    """How often each key was dropped; all in one fact, so that a session with none of them looks once."""

    def __init__(self, facts: Facts, place: StoreDirectory) -> None:
        self._facts = facts
        self._place = place
        self._name = fingerprint("generations")
        self._counts: dict[str, int] | None = None

    def current(self, key: str) -> str:
        """Return a key with its generation; the key itself if it was never dropped."""
        if self._counts is None:
            self._counts = self._read()
        count = self._counts.get(key, 0)
        return fingerprint(key, count) if count else key

    def drop(self, key: str, current: str) -> None:
        """Begin the next generation of a key, unless another process has done so since `current` was returned."""
        with self._alone():
            # What could not be written holds in this session all the same.
            self._counts = (self._counts or {}) | self._read()
            if self.current(key) == current:
                self._counts[key] = self._counts.get(key, 0) + 1
                self._facts.put(self._name, self._counts)

    def _read(self) -> dict[str, int]:
        kept: dict[str, int] | None = self._facts.get(self._name, _FORM)
        return kept or {}

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes from writing meanwhile; where that fails, a key may have to be dropped again."""
        directory = self._place.path
        if directory is None or not self._place.can_be_written:
            yield
            return
        from filelock import FileLock, Timeout

        lock = FileLock(directory / "generations.lock", thread_local=False)
        with contextlib.suppress(OSError, NotImplementedError, Timeout):
            self._place.make_directory(directory)
            lock.acquire(timeout=_WAIT_SECONDS)
        try:
            yield
        finally:
            lock.release()
