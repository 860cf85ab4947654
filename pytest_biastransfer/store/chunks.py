"""Content-addressed chunks of arrays on disk; each is computed once, by the first of several processes that needs it.

Each chunk is a file. The process that computes it holds a lock file, which the operating system releases if the
process dies. A damaged chunk is computed again.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.store.content_formats import fits
from pytest_biastransfer.store.directory import StoreDirectory
from pytest_biastransfer.store.file_locks import release

if TYPE_CHECKING:
    from filelock import FileLock

Content = Mapping[str, npt.NDArray[Any]]
ComputesChunks = Callable[[Iterator[range]], Iterator[Mapping[range, Content]]]
"""Takes chunks one after another, as many at a time as it computes at once, and yields what it computed together."""

_WAIT_SECONDS: Final = 0.02
_PATIENCE_SECONDS: Final = 600.0
_MOST_BYTES: Final = 2**36
_MOST_REMOTE_BYTES: Final = 2**30
_HEADER_BYTES: Final = 2**16
_MOST_DIMENSIONS: Final = 32
_MOST_ELEMENTS: Final = 2**48
_DTYPES: Final = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
_IN_USE_SECONDS: Final = 3600


class Claim:
    """A chunk that this process computes; other processes wait for it until it is written or released."""

    def __init__(self, write: Callable[[Content], None], lock: FileLock | None) -> None:
        # None where nothing is stored or files cannot be locked.
        self.lock = lock
        self._write = write

    def write(self, content: Content) -> None:
        """Store the content of the chunk, and release it."""
        self._write(content)
        self.release()

    def release(self) -> None:
        """Let other processes compute the chunk, if it is not stored."""
        release(self.lock)


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
        # What was looked for in the remote store: it is not read again if it turns out to be damaged.
        self._tried: dict[str, set[range]] = {}

    def collect(
        self,
        key: str,
        chunks: Sequence[range],
        compute: Callable[[range], Content],
        accepts: Callable[[range, Content], bool] = lambda _chunk, _content: True,
    ) -> Iterator[tuple[range, Content]]:
        """Yield each chunk once; `compute` returns the content of a missing one. See `collect_from`."""
        return self.collect_from(key, chunks, lambda claimed: ({chunk: compute(chunk)} for chunk in claimed), accepts)

    def collect_from(
        self,
        key: str,
        chunks: Sequence[range],
        run: ComputesChunks,
        accepts: Callable[[range, Content], bool] = lambda _chunk, _content: True,
    ) -> Iterator[tuple[range, Content]]:
        """Yield each chunk once, in the order in which they become available.

        Stored chunks come first. Missing chunks are computed here unless another process computes them; those are
        waited for, and computed here after all if that process dies.

        Parameters
        ----------
        key, chunks
            Which chunks.
        run
            Computes missing chunks, in any order. It gets them lazily: each chunk that it takes is claimed for this
            process until its content is yielded.
        accepts
            Whether the content of a file has the form of a computed chunk; if not, the file is removed with a warning.
        """
        missing, last_progress = list(chunks), time.monotonic()
        while missing:
            absent = yield from self._stored(key, missing, accepts)
            if absent and self.fetch(key, absent):
                absent = yield from self._stored(key, absent, accepts)
            locked = yield from self._compute_unclaimed(key, absent, run, accepts)
            if len(locked) < len(missing):
                last_progress = time.monotonic()
            # Only one chunk at a time: the holder may be alive and merely slow, and finish the others meanwhile.
            elif time.monotonic() - last_progress > self._patience:
                abandoned, last_progress = locked.pop(0), time.monotonic()
                for contents in run(iter([abandoned])):
                    for chunk, content in contents.items():
                        self._write(key, chunk, content)
                        yield chunk, content
            else:
                time.sleep(_WAIT_SECONDS)
            missing = locked

    def _stored(
        self, key: str, chunks: Sequence[range], accepts: Callable[[range, Content], bool]
    ) -> Generator[tuple[range, Content], None, list[range]]:
        """Yield the chunks that are stored; return the others."""
        absent = []
        for chunk in chunks:
            content = self.get(key, chunk, accepts)
            if content is None:
                absent.append(chunk)
            else:
                yield chunk, content
        return absent

    def _compute_unclaimed(
        self,
        key: str,
        chunks: Sequence[range],
        run: ComputesChunks,
        accepts: Callable[[range, Content], bool],
    ) -> Generator[tuple[range, Content], None, list[range]]:
        """Yield the chunks that no other process computes; return the others."""
        claims: dict[range, Claim] = {}
        finished: list[tuple[range, Content]] = []
        locked: list[range] = []

        def claimed() -> Iterator[range]:
            for chunk in chunks:
                claim = self._claim(key, chunk)
                if claim is None:
                    locked.append(chunk)
                    continue
                claims[chunk] = claim
                # Another process may have finished the chunk between the first look and the claim.
                content = None if claim.lock is None else self.get(key, chunk, accepts)
                if content is None:
                    yield chunk
                else:
                    claims.pop(chunk).release()
                    finished.append((chunk, content))

        try:
            for contents in run(claimed()):
                # All of them before the first is used: that may be interrupted.
                for chunk, content in contents.items():
                    claims.pop(chunk).write(content)
                yield from contents.items()
            yield from finished
        finally:
            # Whatever ends the loop early, other processes must not wait for chunks that nobody computes any more.
            for claim in claims.values():
                claim.release()
        if claims:
            raise RuntimeError(f"no result for the chunks {list(claims)} of {key}")
        return locked

    def claim(self, key: str, chunk: range, accepts: Callable[[range, Content], bool]) -> Claim | None:
        """Claim a chunk that somebody may ask for later; `accepts` as in `collect_from`.

        None if it is stored, if another process computes it, or if nothing can be stored.
        """
        if not self._root.can_be_written or self.get(key, chunk, accepts) is not None:
            return None
        self.fetch(key, [chunk])
        claim = self._claim(key, chunk)
        if claim is not None and self.get(key, chunk, accepts) is not None:
            claim.release()
            return None
        return claim

    def fetch(self, key: str, chunks: Sequence[range]) -> bool:
        """Copy chunks that only a remote store has to the local one; return whether there were any.

        One look at the remote store says which it has of a key, and is the only one in this session.
        """
        if not self._root.is_remote:
            return False
        tried = self._tried.setdefault(key, set())
        wanted = [chunk for chunk in chunks if chunk not in tried]
        tried.update(wanted)
        names = [_file(key, chunk).partition("/")[2] for chunk in wanted]
        return bool(names) and self._root.fetch(key, names, min(self._most_bytes, _MOST_REMOTE_BYTES) + _HEADER_BYTES)

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
            if needed + sum(sizes.values()) <= limit:
                break
            if _last_use(subdirectory) < time.time() - _IN_USE_SECONDS:
                shutil.rmtree(subdirectory, ignore_errors=True)
            # Measured again: another process may remove it, too, and a file in use stays on a network drive.
            sizes[subdirectory] = _bytes_in(subdirectory)
        return needed + sum(sizes.values()) <= limit

    def _claim(self, key: str, chunk: range) -> Claim | None:
        """Claim a chunk for this process; None if another process computes it."""
        write = functools.partial(self._write, key, chunk)
        if self._root.path is None or not self._root.can_be_written:
            return Claim(write, None)
        path = (self._root.path / _file(key, chunk)).with_suffix(".lock")
        try:
            self._root.make_directory(path.parent)
            # A pipe in place of the lock file would block; a link would lock another file.
            with contextlib.suppress(FileNotFoundError):
                if not stat.S_ISREG(os.lstat(path).st_mode):
                    self._root.drop(path, "it is not a lock file")
            is_claimed, lock = self._root.locks.claim(path)
        except OSError as error:
            self._root.give_up(error)
            return Claim(write, None)
        return Claim(write, lock) if is_claimed else None

    def _write(self, key: str, chunk: range, content: Content) -> None:
        # Where locks do not work, another process may have finished the same chunk. On a network drive, replacing its
        # file would pull it away from under the clients that have mapped it into memory.
        if self._root.path is None or self.has(key, chunk):
            return
        arrays = {name: np.asarray(array, order="C") for name, array in content.items()}
        forms = {name: [array.dtype.str, list(array.shape)] for name, array in arrays.items()}
        self._root.write(_file(key, chunk), forms, [array.data for array in arrays.values()])

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


def _file(key: str, chunk: range) -> str:
    return f"{key}/{chunk.start}-{chunk.stop}.chunk"


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
