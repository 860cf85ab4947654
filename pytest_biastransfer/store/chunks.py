"""Content-addressed chunks of arrays on disk, computed once by whichever process gets there first.

Each chunk is a file. Who computes one holds its lock file; the operating system frees that when the holder
dies. A chunk that does not have the content it promises is computed again.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.store.checked import read_checked, write_checked
from pytest_biastransfer.store.place import Place

if TYPE_CHECKING:
    from filelock import FileLock

Content = Mapping[str, npt.NDArray[Any]]

_WAIT_SECONDS: Final = 0.02
_IN_USE_SECONDS: Final = 3600


class ChunkStore:
    """Chunks in ``place/key/start-stop.chunk``, or none kept where there is no place."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def collect(
        self, key: str, chunks: Sequence[range], compute: Callable[[range], Content]
    ) -> Iterator[tuple[range, Content]]:
        """Yield each of the chunks once, in the order in which they become available.

        Missing chunks whose lock is free are computed here, those that another process computes
        meanwhile are waited for, and computed here after all if that process dies.
        """
        missing = list(chunks)
        while missing:
            left = []
            for chunk in missing:
                content = self._get_or_compute(key, chunk, compute)
                if content is None:
                    left.append(chunk)
                else:
                    yield chunk, content
            if len(left) == len(missing):
                time.sleep(_WAIT_SECONDS)
            missing = left

    def has(self, key: str, chunk: range) -> bool:
        """Whether a chunk is there; it may turn out to be damaged."""
        path = self._path(key, chunk)
        return path is not None and path.exists()

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

    def _get_or_compute(self, key: str, chunk: range, compute: Callable[[range], Content]) -> Content | None:
        """Return the chunk's content, or None while another process computes it."""
        path = self._path(key, chunk)
        if path is None:
            return compute(chunk)
        found = _read(path)
        if found is not None:
            return found
        if not self._place.can_be_written:
            return compute(chunk)
        from filelock import FileLock

        lock = FileLock(path.with_suffix(".lock"), thread_local=False)
        try:
            if not self._claim(lock, path.parent):
                return None if self._place.can_be_written else compute(chunk)
            # Another process may have finished it between the look and the claim.
            found = _read(path)
            if found is None:
                found = compute(chunk)
                self._keep(path, found)
            return found
        finally:
            lock.release()

    def _path(self, key: str, chunk: range) -> Path | None:
        directory = self._place.path
        return None if directory is None else directory / key / f"{chunk.start}-{chunk.stop}.chunk"

    def _claim(self, lock: FileLock, directory: Path) -> bool:
        from filelock import Timeout

        try:
            directory.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            return False
        except OSError as error:
            self._place.give_up(error)
            return False
        return True

    def _keep(self, path: Path, content: Content) -> None:
        if not self._place.can_be_written:
            return
        arrays = {name: np.asarray(array, order="C") for name, array in content.items()}
        forms = {name: [array.dtype.str, list(array.shape)] for name, array in arrays.items()}
        try:
            write_checked(path, forms, [array.data for array in arrays.values()])
        except OSError as error:
            self._place.give_up(error)


def _read(path: Path) -> Content | None:
    found = read_checked(path)
    return None if found is None else dict(_arrays(found[1], found[0]))


def _arrays(body: memoryview, forms: Mapping[str, Any]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    start = 0
    for name, (dtype, shape) in forms.items():
        count = int(np.prod(shape))
        yield name, np.frombuffer(body, np.dtype(dtype), count, start).reshape(shape)
        start += count * np.dtype(dtype).itemsize


def _subdirectories(directory: Path) -> list[Path]:
    return [place for place in directory.iterdir() if place.is_dir()] if directory.is_dir() else []


def _bytes_in(directory: Path) -> int:
    """Return how many bytes the files take; another process may be writing, or removing them."""
    with contextlib.suppress(FileNotFoundError), os.scandir(directory) as entries:
        return sum(map(_bytes_of, entries))
    return 0


def _bytes_of(entry: os.DirEntry[str]) -> int:
    with contextlib.suppress(FileNotFoundError):
        return entry.stat().st_size
    return 0


def _last_use(directory: Path) -> float:
    with contextlib.suppress(FileNotFoundError):
        return directory.stat().st_mtime
    return math.inf
