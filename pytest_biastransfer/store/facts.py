"""Facts that take long to find out, kept as plain data: what a file holds, what a model is, how sure a figure is."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Final

from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.store.forms import fits
from pytest_biastransfer.store.place import Place
from pytest_biastransfer.whole_files import require_regular

# A file that changes twice within the resolution of its time stamp looks unchanged; FAT's is two seconds.
_SETTLED_SECONDS: Final = 2.0


# A hash in hexadecimal digits, SHA-256 or the beginning of one.
Digest = Annotated[str, lambda text: bool(re.fullmatch("[0-9a-f]{32}|[0-9a-f]{64}", text))]


class Facts:
    """Plain data (whatever JSON can hold) by key.

    Nobody waits for a fact that another process is finding out: it may need what comes along with it.
    """

    def __init__(self, place: Place) -> None:
        self._place = place

    def get(self, key: str, form: Any = Any) -> Any:
        """Return the fact under `key`, or None; what is not of the `form`, see `fits`, is removed and warned of."""
        found = self._place.read(_file(key), lambda fact, size: size == 0 and fits(form, fact))
        return None if found is None else found[0]

    def put(self, key: str, fact: Any) -> None:
        """Keep a fact, replacing another one under the same key."""
        self._place.write(_file(key), fact, ())

    def recall(self, key: str, find_out: Callable[[], Any], form: Any = Any) -> Any:
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
            require_regular(path, state)
        # The time of the last change of the file's entry tells of files that were given an old time of change.
        seen = [f"{path}|{state.st_size}|{state.st_mtime_ns}|{state.st_ctime_ns}" for path, state in states]
        settled = max(state.st_mtime for _, state in states) < time.time() - _SETTLED_SECONDS
        return self.recall(fingerprint(what, "\n".join(seen)), find_out, form) if settled else find_out()

    def directory(self, name: str) -> Path | None:
        """Return where a library may keep files of its own, which need not exist yet; None where nothing is kept."""
        return self._place.inside(name).path if self._place.can_be_written else None

    def digest(self, path: Path) -> str:
        """Return the SHA-256 of a file, in hexadecimal digits."""
        digest: str = self.of_files([path], "sha256", lambda: _sha256(path), Digest)
        return digest


def _file(key: str) -> str:
    # As many files in one directory as there are facts would make it slow.
    return f"{key[:2]}/{key}.fact"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
