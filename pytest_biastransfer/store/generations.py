"""Invalidates keys of the store whose cached predictions turned out to be wrong.

A key that is dropped gets the next generation number, which becomes part of the key. So a process that still reads
chunks of the old generation never mixes them with chunks of the new one.

Each drop is an empty file ``key-number.drop``. Files are only added, so there is no lock: two processes that drop the
same key at the same time write the same file, and neither undoes what the other one dropped.

A remote store is asked once for each key, before its first predictions are read from there. Its answer is kept, because
a session that finds everything in its local store makes no connection. Number 0 stands for a key without drops.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.fingerprints import fingerprint

if TYPE_CHECKING:
    from pytest_biastransfer.store.directory import StoreDirectory

_DROP: Final = "dropped"
_MOST_BYTES: Final = 2**10
_FILE: Final = re.compile(r"([0-9a-f]{32,64})-(0|[1-9][0-9]{0,5})\.drop")


class Generations:
    """Counts how often each key was dropped; the directory is listed once a session, and is almost always empty."""

    def __init__(self, root: StoreDirectory) -> None:
        self._root = root
        self._counts: dict[str, int] | None = None

    def current(self, key: str) -> str:
        """Return a key of the current generation: the key itself if it was never dropped."""
        if self._counts is None:
            self._counts = self._read()
        if key not in self._counts and self._root.is_remote:
            self._counts[key] = self._from_remote(key)
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
            self._root.write(_file(key, count), _DROP)

    def _from_remote(self, key: str) -> int:
        names = self._root.remote_names()
        if names is None:
            return 0
        names = [name for name in names if name.startswith(f"{key}-")]
        self._root.fetch("", names, _MOST_BYTES)
        self._root.write(_file(key, 0), _DROP, share=False)
        return self._counts_in(names).get(key, 0)

    def _read(self) -> dict[str, int]:
        return self._counts_in(self._names())

    def _counts_in(self, names: Iterable[str]) -> dict[str, int]:
        counts: dict[str, int] = {}
        for name in names:
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
