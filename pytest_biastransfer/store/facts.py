"""Facts that take long to find out, kept as plain data: what a file holds, what a model is, how sure a figure is."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.regular_files import require_regular, sha256_of_file
from pytest_biastransfer.store.content_formats import fits
from pytest_biastransfer.store.directory import StoreDirectory

_SECOND: Final = 10**9
# A file that changes twice within the resolution of its time stamp looks unchanged; FAT's is two seconds.
_SETTLED: Final = 2 * _SECOND
# The kernel's clock for the times of files' entries advances a hundred times a second or more often.
_TICK: Final = _SECOND // 50
# 2 January 1980: archives without a time have the day before, or 1 January 1970.
_FIRST_DAYS: Final = 315_619_200 * _SECOND

# A hash in hexadecimal digits, SHA-256 or the beginning of one.
Digest = Annotated[str, lambda text: bool(re.fullmatch("[0-9a-f]{32}|[0-9a-f]{64}", text))]


class Facts:
    """Plain data (whatever JSON can hold) by key.

    Nobody waits for a fact that another process is finding out: it may need what comes along with it.
    """

    def __init__(self, place: StoreDirectory) -> None:
        self._place = place

    def get(self, key: str, form: Any = Any) -> Any:
        """Return the fact under `key`, or None; what is not of the `form`, see `fits`, is removed and warned of."""
        found = self._place.read(_file(key), lambda fact, size: size == 0 and fits(form, fact))
        return None if found is None else found[0]

    def put(self, key: str, fact: Any) -> None:
        """Keep a fact, replacing another one under the same key."""
        self._place.write(_file(key), fact, ())

    def get_or_compute(self, key: str, find_out: Callable[[], Any], form: Any = Any) -> Any:
        """Return the fact under `key`, of a form as in `get`, found out now if it is not known."""
        known = self.get(key, form)
        if known is None:
            known = find_out()
            self.put(key, known)
        return known

    def of_files(self, paths: Iterable[Path | str], what: str, find_out: Callable[[], Any], form: Any = Any) -> Any:
        """Return what was found out about files, anew if a size or a time of change is another.

        `paths` are absolute; `what` names the question, `form` is that of its answer, as in `get`. Raises what
        `find_out` and looking at the files raise.
        """
        states = [(path, os.stat(path)) for path in paths]  # noqa: PTH116 - half the time of Path.stat
        for path, state in states:
            if not stat.S_ISREG(state.st_mode):
                require_regular(path, state)
        if not _times_tell(states):
            return find_out()
        # The time of the last change of the file's entry tells of files that were given an old time of change.
        seen = [
            f"{path}|{state.st_dev}|{state.st_ino}|{state.st_size}|{state.st_mtime_ns}|{state.st_ctime_ns}"
            for path, state in states
        ]
        return self.get_or_compute(fingerprint(what, "\n".join(seen)), find_out, form)

    def directory(self, name: str) -> Path | None:
        """Return where a library may keep files of its own, which need not exist yet; None where nothing is kept.

        Nor where only what has a seal is read: a library's files have none.
        """
        return self._place.inside(name).path if self._place.can_be_written and not self._place.is_sealed else None

    def digest(self, path: Path) -> str:
        """Return the SHA-256 of a file, in hexadecimal digits."""
        digest: str = self.of_files([path], "sha256", lambda: sha256_of_file(path).hex(), Digest)
        return digest


def _times_tell(states: Sequence[tuple[Path | str, os.stat_result]]) -> bool:
    """Whether files that change would have other times: if not, they have to be read again.

    Not those of images of a file system, such as squashfs, that were made with fixed times: these are mounted
    read-only, have one time in whole seconds for everything, or one of the first days of computers. Within the tick
    of the clock in which a file changed, it is waited for the next one.
    """
    now = time.time_ns()
    changes = [state.st_mtime_ns for _, state in states]
    entries = [state.st_ctime_ns for _, state in states]
    if min(*changes, *entries) < _FIRST_DAYS or max(changes) > now - _SETTLED or max(entries) > now:
        return False
    in_seconds = [(change, entry) for change, entry in zip(changes, entries, strict=True) if entry % _SECOND == 0]
    if any(change == entry or entry > now - _SETTLED for change, entry in in_seconds):
        return False
    # Files are read after this: what changes from then on gets a later time.
    if max(entries) > now - _TICK:
        time.sleep((max(entries) + _TICK - now) / _SECOND)
    return not any(map(_is_read_only, {state.st_dev: path for path, state in states}.values()))


def _is_read_only(path: Path | str) -> bool:
    # There is none on Windows.
    return hasattr(os, "statvfs") and bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def _file(key: str) -> str:
    # As many files in one directory as there are facts would make it slow.
    return f"{key[:2]}/{key}.fact"
