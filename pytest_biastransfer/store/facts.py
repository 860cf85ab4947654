"""Cached facts as plain data: hashes of files, metadata of models, intervals of measurements."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.regular_files import require_regular, sha256_of_file
from pytest_biastransfer.store.content_formats import fits
from pytest_biastransfer.store.directory import StoreDirectory

if TYPE_CHECKING:
    from pytest_biastransfer.store.chunks import ChunkStore

_SECOND: Final = 10**9
# A file that changes twice within the resolution of its time stamp looks unchanged. FAT's resolution is two seconds.
_SETTLED: Final = 2 * _SECOND
# The kernel's clock for the times of inodes advances at least a hundred times a second.
_TICK: Final = _SECOND // 50
# 2 January 1980. Archives without times have the day before, or 1 January 1970.
_FIRST_DAYS: Final = 315_619_200 * _SECOND

# A hash in hexadecimal digits, SHA-256 or the beginning of one.
Digest = Annotated[str, lambda text: bool(re.fullmatch("[0-9a-f]{32}|[0-9a-f]{64}", text))]


class Facts:
    """A cache of plain data, as JSON holds it, by key.

    There is no lock: two processes may compute the same fact. Often they need what the computation loads anyway.
    """

    def __init__(self, root: StoreDirectory) -> None:
        self._root = root

    def __reduce__(self) -> tuple[type[Facts], tuple[StoreDirectory]]:
        # Other machines have other files, and the secret of a store does not leave this process.
        return Facts, (StoreDirectory(None),)

    @property
    def are_kept(self) -> bool:
        """Whether facts are written for other processes and sessions."""
        return self._root.can_be_written

    def get(self, key: str, form: Any = Any) -> Any:
        """Return the fact under `key`, or None; a file that does not match the `form` (see `fits`) is removed."""
        entry = self._root.read(_file(key), lambda fact, size: size == 0 and fits(form, fact))
        return None if entry is None else entry[0]

    def put(self, key: str, fact: Any) -> None:
        """Write a fact, replacing an older one under the same key."""
        self._root.write(_file(key), fact, ())

    def get_or_compute(self, key: str, compute: Callable[[], Any], form: Any = Any) -> Any:
        """Return the fact under `key`, or compute and write it; `form` as in `get`."""
        fact = self.get(key, form)
        if fact is None:
            fact = compute()
            self.put(key, fact)
        return fact

    def of_files(self, paths: Iterable[Path | str], question: str, compute: Callable[[], Any], form: Any = Any) -> Any:
        """Return a fact about the content of files; it is computed again if a size or a time has changed.

        Parameters
        ----------
        paths
            Absolute paths of regular files.
        question
            Names the fact, so that several facts about the same files have different keys.
        compute
            Reads the files.
        form
            As in `get`.

        Raises
        ------
        OSError
            If a file is missing or not regular; and whatever `compute` raises.
        """
        states = [(path, os.stat(path)) for path in paths]  # noqa: PTH116 - half the time of Path.stat
        for path, state in states:
            if not stat.S_ISREG(state.st_mode):
                require_regular(path, state)
        if not _times_tell(states):
            return compute()
        # The inode's own time (ctime) changes even if a program sets the modification time back, as `cp -p` does.
        signatures = [
            f"{path}|{state.st_dev}|{state.st_ino}|{state.st_size}|{state.st_mtime_ns}|{state.st_ctime_ns}"
            for path, state in states
        ]
        return self.get_or_compute(fingerprint(question, "\n".join(signatures)), compute, form)

    def directory(self, name: str) -> Path | None:
        """Return a directory, which need not exist yet, where a library may cache its own files; None if it may not.

        It may not in a store with a secret, either: a library's files have no checksum of ours.
        """
        return self._root.inside(name).path if self._root.can_be_written and not self._root.is_sealed else None

    def arrays(self, name: str) -> ChunkStore:
        """Return where facts that are arrays are kept, such as embeddings; only one process computes a fact."""
        # Imported here: chunks need numpy.
        from pytest_biastransfer.store.chunks import ChunkStore

        return ChunkStore(self._root.inside(name))

    def digest(self, path: Path) -> str:
        """Return the SHA-256 of a file, in hexadecimal digits."""
        digest: str = self.of_files([path], "sha256", lambda: sha256_of_file(path).hex(), Digest)
        return digest


def _times_tell(states: Sequence[tuple[Path | str, os.stat_result]]) -> bool:
    """Whether a change of the files would be visible in their times; otherwise they have to be read each time.

    File systems that are built as images with fixed times, such as squashfs, show no changes. They are recognized by
    being mounted read-only, by one time in whole seconds for everything, or by a time before 1980. If a file has
    changed within the current tick of the clock, this function waits for the next tick.
    """
    now = time.time_ns()
    changes = [state.st_mtime_ns for _, state in states]
    entries = [state.st_ctime_ns for _, state in states]
    if min(*changes, *entries) < _FIRST_DAYS or max(changes) > now - _SETTLED or max(entries) > now:
        return False
    in_seconds = [(change, entry) for change, entry in zip(changes, entries, strict=True) if entry % _SECOND == 0]
    if any(change == entry or entry > now - _SETTLED for change, entry in in_seconds):
        return False
    # The caller reads the files after this, so that every later change gets a later time.
    if max(entries) > now - _TICK:
        time.sleep((max(entries) + _TICK - now) / _SECOND)
    return not any(map(_is_read_only, {state.st_dev: path for path, state in states}.values()))


def _is_read_only(path: Path | str) -> bool:
    # Windows has no statvfs.
    return hasattr(os, "statvfs") and bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def _file(key: str) -> str:
    # Subdirectories by the first digits: a directory with a file for each fact would be slow.
    return f"{key[:2]}/{key}.fact"
