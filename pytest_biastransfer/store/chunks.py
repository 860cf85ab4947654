"""Content-addressed chunks of arrays on disk, computed once by whichever process gets there first.

One small file a chunk, written to a temporary name and renamed, so a file is whole or not there. Who
computes a chunk holds its lock file; the operating system frees that when the holder dies. A chunk that
does not have the content it promises is computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.errors import StoreWarning

Content = Mapping[str, npt.NDArray[Any]]

_WAIT_SECONDS: Final = 0.02
_IN_USE_SECONDS: Final = 3600


class ChunkStore:
    """Chunks in ``directory/key/start-stop.chunk``, or none kept where `directory` is None."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory

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

    def get(self, key: str, chunk: range) -> Content | None:
        """Return a chunk's content, or None if it is not there."""
        return None if self._directory is None else _read(_path(self._directory, key, chunk))

    def put(self, key: str, chunk: range, content: Content) -> None:
        """Keep a chunk's content, replacing what is there."""
        if self._directory is not None:
            self._keep(_path(self._directory, key, chunk), content)

    def make_room(self, key: str, needed: int, limit: int) -> bool:
        """Drop what was used longest ago until `needed` bytes under `key` fit into `limit`; return whether they do.

        What was used lately stays: another process may be reading it.
        """
        if self._directory is None or needed > limit:
            return False
        others = [place for place in _subdirectories(self._directory) if place.name != key]
        sizes = {place: _bytes_in(place) for place in others}
        with contextlib.suppress(OSError):
            os.utime(self._directory / key)
        for place in sorted(others, key=_last_use):
            if needed + sum(sizes.values()) > limit and _last_use(place) < time.time() - _IN_USE_SECONDS:
                shutil.rmtree(place, ignore_errors=True)
                del sizes[place]
        return needed + sum(sizes.values()) <= limit

    def _get_or_compute(self, key: str, chunk: range, compute: Callable[[range], Content]) -> Content | None:
        """Return the chunk's content, or None while another process computes it."""
        if self._directory is None:
            return compute(chunk)
        path = _path(self._directory, key, chunk)
        found = _read(path)
        if found is not None:
            return found
        from filelock import FileLock, Timeout

        lock = FileLock(path.with_suffix(".lock"), thread_local=False)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            return None
        except OSError as error:
            self._give_up(error)
            return compute(chunk)
        try:
            # Another process may have finished it between the look and the lock.
            content = _read(path, warn=False)
            if content is None:
                content = compute(chunk)
                self._keep(path, content)
            return content
        finally:
            lock.release()

    def _keep(self, path: Path, content: Content) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, content)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Go on without keeping anything: a full or read-only disk is no reason to lose the results."""
        directory, self._directory = self._directory, None
        warnings.warn(f"{directory} cannot be written ({error}); nothing is kept there", StoreWarning, stacklevel=2)


def _subdirectories(directory: Path) -> list[Path]:
    return [place for place in directory.iterdir() if place.is_dir()] if directory.is_dir() else []


def _bytes_in(directory: Path) -> int:
    return sum(entry.stat().st_size for entry in os.scandir(directory))


def _last_use(directory: Path) -> float:
    return directory.stat().st_mtime


def _path(directory: Path, key: str, chunk: range) -> Path:
    return directory / key / f"{chunk.start}-{chunk.stop}.chunk"


def _write(path: Path, content: Content) -> None:
    arrays = {name: np.asarray(array, order="C") for name, array in content.items()}
    forms = json.dumps({name: [array.dtype.str, list(array.shape)] for name, array in arrays.items()})
    digest = hashlib.sha256(forms.encode())
    for array in arrays.values():
        digest.update(array.data)
    header = f"{digest.hexdigest()} {forms}\n".encode()
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(header)
            for array in arrays.values():
                file.write(array.data)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _read(path: Path, warn: bool = True) -> Content | None:
    """Return the chunk in a file, memory-mapped, or None (with a warning, if the file is damaged)."""
    try:
        return _mapped(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:  # ValueError: not a chunk, or an empty file, which cannot be mapped.
        if warn:
            warnings.warn(f"{path}: {error}; it is computed again", StoreWarning, stacklevel=2)
        return None


def _mapped(path: Path) -> Content:
    with path.open("rb") as file:
        # Copy-on-write: torch takes only arrays that could be written to.
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    end = content.find(b"\n") + 1
    checksum, _, forms = content[: end - 1].partition(b" ") if end else (b"", b"", b"")
    body = memoryview(content)[end:]
    digest = hashlib.sha256(forms)
    digest.update(body)
    if digest.hexdigest().encode() != checksum:
        raise ValueError("its content does not match its checksum")
    return dict(_arrays(body, json.loads(forms)))


def _arrays(body: memoryview, forms: Mapping[str, Any]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    start = 0
    for name, (dtype, shape) in forms.items():
        count = int(np.prod(shape))
        yield name, np.frombuffer(body, np.dtype(dtype), count, start).reshape(shape)
        start += count * np.dtype(dtype).itemsize
