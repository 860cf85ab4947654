"""Invalidates keys of the store whose cached predictions turned out to be wrong.

A key that is dropped gets the next generation number, which becomes part of the key. So a process that still reads
chunks of the old generation never mixes them with chunks of the new one.

Each drop is an empty file ``key-number.drop``. Files are only added, so there is no lock: two processes that drop the
same key at the same time write the same file, and neither undoes what the other one dropped.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.fingerprints import fingerprint

if TYPE_CHECKING:
    from pytest_biastransfer.store.directory import StoreDirectory

_DROP: Final = "dropped"
_FILE: Final = re.compile(r"([0-9a-f]{32,64})-([1-9][0-9]{0,5})\.drop")


class Generations:
    """Counts how often each key was dropped; the directory is listed once a session, and is almost always empty."""

    def __init__(self, root: StoreDirectory) -> None:
        self._root = root
        self._counts: dict[str, int] | None = None

    def current(self, key: str) -> str:
        """Return a key of the current generation: the key itself if it was never dropped."""
        if self._counts is None:
            self._counts = self._read()
        count = self._counts.get(key, 0)
        return fingerprint(key, count) if count else key

    def drop(self, key: str, current: str) -> None:
        """Begin the next generation of a key, unless another process already did since `current` was returned."""
        counts, stored = self._counts or {}, self._read()
        # Merged, not replaced: drops that could not be written still hold in this session.
        self._counts = stored | {name: max(count, stored.get(name, 0)) for name, count in counts.items()}
        if self.current(key) == current:
            count = self._counts.get(key, 0) + 1
            self._counts[key] = count
            self._root.write(_file(key, count), _DROP, ())

    def _read(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for name in self._names():
            match = _FILE.fullmatch(name)
            if match is None or self._root.read(name, lambda text, size: text == _DROP and size == 0) is None:
                continue
            key, count = match[1], int(match[2])
            counts[key] = max(count, counts.get(key, 0))
        return counts

    def _names(self) -> list[str]:
        if self._root.path is not None:
            with contextlib.suppress(OSError):
                return [entry.name for entry in self._root.path.iterdir()]
        return []


def _file(key: str, count: int) -> str:
    return f"{key}-{count}.drop"
