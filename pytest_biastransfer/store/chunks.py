"""Content-addressed chunks of arrays on disk, computed once by whichever process gets there first.

Each chunk is a file. Who computes one holds its lock file; the operating system frees that when the holder
dies. A chunk that does not have the content it promises is computed again.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
import stat
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.errors import StoreWarning
from pytest_biastransfer.store.content_formats import fits
from pytest_biastransfer.store.directory import StoreDirectory

if TYPE_CHECKING:
    from filelock import FileLock

Content = Mapping[str, npt.NDArray[Any]]

_WAIT_SECONDS: Final = 0.02
_PATIENCE_SECONDS: Final = 600.0
_MOST_BYTES: Final = 2**36
_MOST_DIMENSIONS: Final = 32
_MOST_ELEMENTS: Final = 2**48
_DTYPES: Final = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
_IN_USE_SECONDS: Final = 3600


class ChunkStore:
    """Chunks in ``place/key/start-stop.chunk``, or none kept where there is no place.

    Parameters
    ----------
    place
        Where they are.
    most_bytes
        A file that is larger is none of these chunks.
    patience
        After so many seconds a chunk that another process is computing is computed here too: locks of network drives
        may outlive who held them, and so may those that a child process has inherited. It costs double work.
    """

    def __init__(
        self, place: StoreDirectory, *, most_bytes: int = _MOST_BYTES, patience: float = _PATIENCE_SECONDS
    ) -> None:
        self._place = place
        self._most_bytes = most_bytes
        self._patience = patience
        self._locks: bool | None = None

    def collect(
        self,
        key: str,
        chunks: Sequence[range],
        compute: Callable[[range], Content],
        accepts: Callable[[range, Content], bool] = lambda _chunk, _content: True,
    ) -> Iterator[tuple[range, Content]]:
        """Yield each of the chunks once, in the order in which they become available.

        Missing chunks whose lock is free are computed here, those that another process computes
        meanwhile are waited for, and computed here after all if that process dies. `accepts` tells whether the
        content of a file is what `compute` may have returned; if not, the file is removed and warned of.
        """
        missing, since = list(chunks), time.monotonic()
        while missing:
            left = []
            for chunk in missing:
                content = self._get_or_compute(key, chunk, compute, accepts)
                if content is None:
                    left.append(chunk)
                else:
                    yield chunk, content
            if len(left) < len(missing):
                since = time.monotonic()
            elif time.monotonic() - since > self._patience:
                chunk, since = left.pop(0), time.monotonic()
                yield chunk, self._computed(key, chunk, compute)
            else:
                time.sleep(_WAIT_SECONDS)
            missing = left

    def has(self, key: str, chunk: range) -> bool:
        """Whether a chunk is there; it may turn out to be damaged."""
        with contextlib.suppress(OSError):
            return self._place.path is not None and (self._place.path / _file(key, chunk)).is_file()
        return False

    def get(self, key: str, chunk: range, accepts: Callable[[range, Content], bool]) -> Content | None:
        """Return the content of a chunk that is there, `accepts` is as of `collect`; else None."""
        return None if self._place.path is None else self._read(key, chunk, accepts)

    def make_room(self, key: str, needed: int, limit: int) -> bool:
        """Drop what was used longest ago until `needed` bytes under `key` fit into `limit`; return whether they do.

        What was used lately stays: another process may be reading it.
        """
        directory = self._place.path
        if directory is None or needed > limit:
            return False
        others = [place for place in _subdirectories(directory) if place.name != key]
        sizes = {place: _bytes_in(place) for place in others}
        with contextlib.suppress(OSError):
            os.utime(directory / key)
        for place in sorted(others, key=_last_use):
            if needed + sum(sizes.values()) > limit and _last_use(place) < time.time() - _IN_USE_SECONDS:
                shutil.rmtree(place, ignore_errors=True)
                del sizes[place]
        return needed + sum(sizes.values()) <= limit

    def _get_or_compute(
        self,
        key: str,
        chunk: range,
        compute: Callable[[range], Content],
        accepts: Callable[[range, Content], bool],
    ) -> Content | None:
        """Return the chunk's content, or None while another process computes it."""
        if self._place.path is None:
            return compute(chunk)
        found = self._read(key, chunk, accepts)
        if found is not None:
            return found
        path = self._place.path / _file(key, chunk)
        if not self._prepare(path.parent):
            return self._computed(key, chunk, compute)
        from filelock import FileLock

        lock = FileLock(path.with_suffix(".lock"), thread_local=False)
        if not self._claim(lock):
            return None if self._place.can_be_written else self._computed(key, chunk, compute)
        try:
            # Another process may have finished it between the look and the claim.
            found = self._read(key, chunk, accepts)
            return self._computed(key, chunk, compute) if found is None else found
        finally:
            lock.release()

    def _computed(self, key: str, chunk: range, compute: Callable[[range], Content]) -> Content:
        content = compute(chunk)
        arrays = {name: np.asarray(array, order="C") for name, array in content.items()}
        forms = {name: [array.dtype.str, list(array.shape)] for name, array in arrays.items()}
        self._place.write(_file(key, chunk), forms, [array.data for array in arrays.values()])
        return content

    def _read(self, key: str, chunk: range, accepts: Callable[[range, Content], bool]) -> Content | None:
        name = _file(key, chunk)
        found = self._place.read(
            name, lambda forms, size: size <= self._most_bytes and fits(_FORMS, forms) and size == _bytes_of(forms)
        )
        if found is None:
            return None
        content = dict(_arrays(found[1], found[0]))
        if accepts(chunk, content):
            return content
        assert self._place.path is not None
        self._place.drop(self._place.path / name, "its arrays are not of the form that they should have")
        return None

    def _prepare(self, directory: Path) -> bool:
        """Make the directory of a key; return whether its files can be locked."""
        if not self._place.can_be_written:
            return False
        try:
            self._place.make_directory(directory)
            if self._locks is None:
                self._locks = _locks_work(directory)
        except OSError as error:
            self._place.give_up(error)
            return False
        return self._locks

    def _claim(self, lock: FileLock) -> bool:
        from filelock import Timeout

        # What is in the way of the lock's file would be waited for, or locked in its place.
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(os.lstat(lock.lock_file).st_mode):
                self._place.drop(Path(lock.lock_file), "it is no lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        except OSError as error:
            self._place.give_up(error)
            return False
        return True


def _file(key: str, chunk: range) -> str:
    return f"{key}/{chunk.start}-{chunk.stop}.chunk"


def _locks_work(directory: Path) -> bool:
    """Whether files in a directory can be locked; some network drives cannot, and filelock would do without the system.

    Raises OSError where no file can be written.
    """
    try:
        import fcntl
    except ImportError:  # On Windows, files are locked in another way, and always.
        return True
    with tempfile.TemporaryFile(dir=directory) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            warnings.warn(
                f"{directory}: files cannot be locked there ({error}); what several processes need may be computed "
                f"more than once",
                StoreWarning,
                stacklevel=2,
            )
            return False
    return True


def _is_dtype(text: str) -> bool:
    # Numbers and truth values; no text, and no Python objects.
    return bool(re.fullmatch("[<>|=][a-z0-9]{2,3}", text)) and text[1:] in _DTYPES


def _is_shape(sides: Sequence[int]) -> bool:
    # numpy multiplies them even if there is a zero among them.
    return len(sides) <= _MOST_DIMENSIONS and math.prod(max(side, 1) for side in sides) < _MOST_ELEMENTS


def _bytes_of(forms: Mapping[str, tuple[str, Sequence[int]]]) -> int:
    return sum(np.dtype(dtype).itemsize * math.prod(shape) for dtype, shape in forms.values())


def _arrays(body: memoryview, forms: Mapping[str, tuple[str, Sequence[int]]]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    start = 0
    for name, (dtype, shape) in forms.items():
        count = math.prod(shape)
        yield name, np.frombuffer(body, np.dtype(dtype), count, start).reshape(shape)
        start += count * np.dtype(dtype).itemsize


# What a file says of its arrays: by name the dtype and the shape.
_FORMS: Final = dict[
    str,
    tuple[
        Annotated[str, _is_dtype],
        Annotated[list[Annotated[int, lambda side: side >= 0]], _is_shape],
    ],
]


def _subdirectories(directory: Path) -> list[Path]:
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    return []


def _bytes_in(directory: Path) -> int:
    """Return how many bytes the files take; another process may be writing, or removing them."""
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        return sum(map(_bytes_of_file, entries))
    return 0


def _bytes_of_file(entry: os.DirEntry[str]) -> int:
    with contextlib.suppress(OSError):
        return entry.stat(follow_symlinks=False).st_size
    return 0


def _last_use(directory: Path) -> float:
    with contextlib.suppress(OSError):
        return directory.stat().st_mtime
    return math.inf
