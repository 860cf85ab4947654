"""Content-addressed chunks of arrays on disk; each is computed once, by the first of several processes that needs it.

Each chunk is a file. The process that computes it holds a lock file, which the operating system releases if the
process dies. A damaged chunk is computed again.
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
    """Chunks in the files ``key/start-stop.chunk`` of a directory of the store; without one, nothing is cached.

    Parameters
    ----------
    root
        The directory.
    most_bytes
        The size limit of a chunk's arrays in bytes; a larger file counts as damaged.
    patience
        Seconds after which a chunk that another process is computing is computed here too. A lock may outlive its
        holder, on network drives or if a child process has inherited it. At worst the work is done twice.
    """

    def __init__(
        self, root: StoreDirectory, *, most_bytes: int = _MOST_BYTES, patience: float = _PATIENCE_SECONDS
    ) -> None:
        self._root = root
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

        Missing chunks whose lock is free are computed here. Chunks that another process is computing are waited for,
        and computed here if that process dies. `accepts` checks content that was read from a file: whether `compute`
        may have returned it. If not, the file is removed with a warning.
        """
        missing, last_progress = list(chunks), time.monotonic()
        while missing:
            locked = []
            for chunk in missing:
                content = self._get_or_compute(key, chunk, compute, accepts)
                if content is None:
                    locked.append(chunk)
                else:
                    yield chunk, content
            if len(locked) < len(missing):
                last_progress = time.monotonic()
            # Only one chunk at a time: the holder may be alive and merely slow, and finish the others meanwhile.
            elif time.monotonic() - last_progress > self._patience:
                chunk, last_progress = locked.pop(0), time.monotonic()
                yield chunk, self._computed(key, chunk, compute)
            else:
                time.sleep(_WAIT_SECONDS)
            missing = locked

    def has(self, key: str, chunk: range) -> bool:
        """Whether the file of a chunk exists; it may turn out to be damaged."""
        with contextlib.suppress(OSError):
            return self._root.path is not None and (self._root.path / _file(key, chunk)).is_file()
        return False

    def get(self, key: str, chunk: range, accepts: Callable[[range, Content], bool]) -> Content | None:
        """Return the content of a chunk if its file exists, else None; `accepts` as in `collect`."""
        return None if self._root.path is None else self._read(key, chunk, accepts)

    def make_room(self, key: str, needed: int, limit: int) -> bool:
        """Remove least recently used keys until `needed` bytes of `key` fit into `limit`; return whether they do.

        Keys that were used within the last hour stay: another process may be reading them.
        """
        directory = self._root.path
        if directory is None or needed > limit:
            return False
        others = [subdirectory for subdirectory in _subdirectories(directory) if subdirectory.name != key]
        sizes = {subdirectory: _bytes_in(subdirectory) for subdirectory in others}
        with contextlib.suppress(OSError):
            os.utime(directory / key)
        for subdirectory in sorted(others, key=_last_use):
            if needed + sum(sizes.values()) > limit and _last_use(subdirectory) < time.time() - _IN_USE_SECONDS:
                shutil.rmtree(subdirectory, ignore_errors=True)
                del sizes[subdirectory]
        return needed + sum(sizes.values()) <= limit

    def _get_or_compute(
        self,
        key: str,
        chunk: range,
        compute: Callable[[range], Content],
        accepts: Callable[[range, Content], bool],
    ) -> Content | None:
        """Return the chunk's content, or None while another process computes it."""
        if self._root.path is None:
            return compute(chunk)
        content = self._read(key, chunk, accepts)
        if content is not None:
            return content
        path = self._root.path / _file(key, chunk)
        if not self._prepare(path.parent):
            return self._computed(key, chunk, compute)
        from filelock import FileLock

        lock = FileLock(path.with_suffix(".lock"), thread_local=False)
        if not self._claim(lock):
            return None if self._root.can_be_written else self._computed(key, chunk, compute)
        try:
            # Another process may have finished the chunk after it was looked for and before its lock was acquired.
            content = self._read(key, chunk, accepts)
            return self._computed(key, chunk, compute) if content is None else content
        finally:
            lock.release()

    def _computed(self, key: str, chunk: range, compute: Callable[[range], Content]) -> Content:
        content = compute(chunk)
        arrays = {name: np.asarray(array, order="C") for name, array in content.items()}
        forms = {name: [array.dtype.str, list(array.shape)] for name, array in arrays.items()}
        self._root.write(_file(key, chunk), forms, [array.data for array in arrays.values()])
        return content

    def _read(self, key: str, chunk: range, accepts: Callable[[range, Content], bool]) -> Content | None:
        name = _file(key, chunk)
        entry = self._root.read(
            name, lambda forms, size: size <= self._most_bytes and fits(_FORMS, forms) and size == _bytes_of(forms)
        )
        if entry is None:
            return None
        forms, body = entry
        content = dict(_arrays(body, forms))
        if accepts(chunk, content):
            return content
        assert self._root.path is not None
        self._root.drop(self._root.path / name, "its arrays do not have the expected form")
        return None

    def _prepare(self, directory: Path) -> bool:
        """Make the directory of a key; return whether its files can be locked."""
        if not self._root.can_be_written:
            return False
        try:
            self._root.make_directory(directory)
            if self._locks is None:
                self._locks = _locks_work(directory)
        except OSError as error:
            self._root.give_up(error)
            return False
        return self._locks

    def _claim(self, lock: FileLock) -> bool:
        from filelock import Timeout

        # A pipe in place of the lock file would block; a link would lock another file.
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(os.lstat(lock.lock_file).st_mode):
                self._root.drop(Path(lock.lock_file), "it is not a lock file")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        except OSError as error:
            self._root.give_up(error)
            return False
        return True


def _file(key: str, chunk: range) -> str:
    return f"{key}/{chunk.start}-{chunk.stop}.chunk"


def _locks_work(directory: Path) -> bool:
    """Whether files in a directory can be locked; raises OSError where no file can be written.

    Some network drives have no locks. filelock would silently use soft locks there, which outlive a dead process.
    """
    try:
        import fcntl
    except ImportError:  # Windows has other locks, which always work.
        return True
    with tempfile.TemporaryFile(dir=directory) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            warnings.warn(
                f"{directory}: files cannot be locked there ({error}); several processes may compute the same "
                f"predictions",
                StoreWarning,
                stacklevel=2,
            )
            return False
    return True


def _is_dtype(text: str) -> bool:
    # Numbers and booleans only: reading Python objects would run code.
    return bool(re.fullmatch("[<>|=][a-z0-9]{2,3}", text)) and text[1:] in _DTYPES


def _is_shape(sides: Sequence[int]) -> bool:
    # numpy checks the product for overflow even if one side is zero.
    return len(sides) <= _MOST_DIMENSIONS and math.prod(max(side, 1) for side in sides) < _MOST_ELEMENTS


def _bytes_of(forms: Mapping[str, tuple[str, Sequence[int]]]) -> int:
    return sum(np.dtype(dtype).itemsize * math.prod(shape) for dtype, shape in forms.values())


def _arrays(body: memoryview, forms: Mapping[str, tuple[str, Sequence[int]]]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    start = 0
    for name, (dtype, shape) in forms.items():
        count = math.prod(shape)
        yield name, np.frombuffer(body, np.dtype(dtype), count, start).reshape(shape)
        start += count * np.dtype(dtype).itemsize


# The description of a chunk: for each array its dtype and shape.
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
    """Return the total size of the files; another process may be writing or removing them."""
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
