"""A copy of the store at a URL, such as ``s3://bucket/store``, behind the local store, which is its cache.

Files are copied as they are, with their checksums, and verified where local files are. So an object that is truncated,
changed or of another format counts as damaged, like a local file.

No failure of the remote store may cost the session more than the cache: after the first failure, or the first operation
that takes too long, nothing more is read, or written, and the user is told once, when the session ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import queue
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

from pytest_biastransfer.errors import StoreWarning
from pytest_biastransfer.fingerprints.observation import exempt_thread
from pytest_biastransfer.plain_text import shown
from pytest_biastransfer.store.remote_location import without_credentials

# A reply without content; each megabyte of content adds a second.
_REPLY_SECONDS: Final = 20.0
_BYTES_A_SECOND: Final = 2**20
# What is read or written in one batch, in parallel where the protocol can.
_BATCH_BYTES: Final = 2**25
_BATCH_FILES: Final = 128
_FLUSH_SECONDS: Final = 60.0
_MOST_LETTERS: Final = 300
_THREAD: Final = "biastransfer-remote"
# Their files are in directories, which have to be made.
_DIRECTORY_PROTOCOLS: Final = ("file", "local", "sftp", "ssh", "smb", "hdfs", "webhdfs", "ftp")

Result = TypeVar("Result")


class RemoteStore:
    """Reads and writes files at a URL, in threads that the session never waits for without a limit.

    The library of the protocol is imported, and the connection made, by the first operation: a session that finds
    everything in its local store makes none. Credentials and options are those of fsspec: environment variables and
    configuration files.

    Parameters
    ----------
    url
        The location, with a protocol of fsspec.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._opened: tuple[Any, str] | None = None
        self._listings: dict[str, Mapping[str, int]] = {}
        self._problems: list[str] = []
        self._can_be_read = True
        self._uploads = _Uploads(self._write)

    def __repr__(self) -> str:
        return f"<RemoteStore {self.name}>"

    @property
    def name(self) -> str:
        """The URL without credentials."""
        return without_credentials(self._url)

    def listing(self, directory: str) -> Mapping[str, int] | None:
        """Return the files of a directory with their sizes in bytes; None if it cannot be read.

        Each directory is listed once a session: one round trip says what there is of many chunks.
        """
        if directory not in self._listings:
            listing = self._read(lambda: self._list(directory), _REPLY_SECONDS)
            if listing is None:
                return None
            self._listings[directory] = listing
        return self._listings[directory]

    def read(self, directory: str, names: Iterable[str], most_bytes: int) -> Iterator[tuple[str, bytes]]:
        """Yield the content of those files of a directory that exist and are not larger than `most_bytes`."""
        listing = self.listing(directory) or {}
        sizes = {name: listing[name] for name in names if listing.get(name, most_bytes + 1) <= most_bytes}
        for batch in _batches(sizes):
            seconds = _REPLY_SECONDS + sum(sizes[name] for name in batch) / _BYTES_A_SECOND
            paths = [f"{directory}/{name}" for name in batch]
            contents = self._read(functools.partial(self._get, paths), seconds)
            for name, content in zip(batch, contents or (), strict=False):
                if content is not None:
                    yield name, content

    def write(self, name: str, file: Path) -> None:
        """Begin to copy a local file to the remote store, under a name relative to it."""
        if self._can_be_read:
            self._uploads.add(name, file)

    def flush(self, seconds: float | None = None) -> None:
        """Wait until all files are copied, at most so many seconds; warn once of what went wrong in this session."""
        seconds = _FLUSH_SECONDS if seconds is None else seconds
        left, error = self._uploads.finish(seconds)
        if error is not None:
            self._problems.append(f"cannot be written ({self._described(error)})")
        elif left:
            self._problems.append(f"{left} files were not written within {seconds:g} seconds")
        problems, self._problems = self._problems, []
        if problems:
            warnings.warn(
                f"{self.name}: {'; '.join(problems)}; what was computed is in the local store",
                StoreWarning,
                stacklevel=2,
            )

    def _read(self, work: Callable[[], Result], seconds: float) -> Result | None:
        """Return what reading returns; None, and nothing more is read, after a failure."""
        if not self._can_be_read:
            return None
        future = _in_background(work)
        try:
            error = future.exception(timeout=seconds)
        except TimeoutError:
            error = TimeoutError(f"no reply within {seconds:.0f} seconds")
        if error is None:
            return future.result()
        self._can_be_read = False
        self._uploads.stop()
        self._problems.append(f"cannot be read ({self._described(error)})")
        return None

    def _files(self) -> tuple[Any, str]:
        """Return the file system and the path of the store in it. It may take long."""
        with self._lock:
            if self._opened is None:
                from fsspec.core import url_to_fs
                from fsspec.registry import get_filesystem_class

                protocol = self._url.partition("://")[0]
                # Listings are cached here, for one session only.
                options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
                if protocol in ("file", "local"):
                    options["auto_mkdir"] = True
                if getattr(get_filesystem_class(protocol), "async_impl", False):
                    options["loop"] = _event_loop()
                files, root = url_to_fs(self._url, **options)
                self._opened = files, root.rstrip("/")
            return self._opened

    def _list(self, directory: str) -> Mapping[str, int]:
        files, root = self._files()
        path = f"{root}/{directory}"
        try:
            # Not ls: for a missing directory, some protocols list the one above it, which has all keys.
            entries = files.find(path, detail=True)
        except FileNotFoundError:
            return {}
        return {file.rpartition("/")[2]: entry["size"] or 0 for file, entry in entries.items()}

    def _get(self, names: Iterable[str]) -> list[bytes | None]:
        files, root = self._files()
        paths = [f"{root}/{name}" for name in names]
        contents = files.cat(paths, on_error="return")
        results: list[bytes | None] = []
        for path in paths:
            content = contents.get(path)
            # Another session may have removed it.
            if isinstance(content, FileNotFoundError):
                content = None
            elif isinstance(content, Exception):
                raise content
            results.append(content)
        return results

    def _write(self, contents: Mapping[str, bytes]) -> None:
        files, root = self._files()
        paths = {f"{root}/{name}": content for name, content in contents.items()}
        if self._url.partition("://")[0] in _DIRECTORY_PROTOCOLS:
            for directory in {path.rpartition("/")[0] for path in paths}:
                files.makedirs(directory, exist_ok=True)
        # Objects become visible when they are complete. Elsewhere, a part of a file does not have its checksum.
        files.pipe(paths)

    def _described(self, error: BaseException) -> str:
        text = f"{type(error).__name__}: {error}".replace(self._url, self.name)
        return shown(" ".join(text.split()))[:_MOST_LETTERS]


class _Uploads:
    """Files that wait to be copied, and the thread that copies them, which starts with the first one.

    The thread is a daemon: where a connection hangs, the process ends without it.
    """

    def __init__(self, write: Callable[[Mapping[str, bytes]], None]) -> None:
        self._write = write
        self._waiting: queue.SimpleQueue[tuple[str, Path] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: Future[None] | None = None
        self._left = 0
        self._stopped = False

    def add(self, name: str, file: Path) -> None:
        """Copy a file after the others."""
        with self._lock:
            if self._stopped or (self._thread is not None and self._thread.done()):
                return
            self._left += 1
            self._waiting.put((name, file))
            if self._thread is None:
                self._thread = _in_background(self._run)

    def stop(self) -> None:
        """Copy nothing more, and let the thread end."""
        self._stopped = True
        self._waiting.put(None)

    def finish(self, seconds: float) -> tuple[int, BaseException | None]:
        """Wait for the last file; return how many were not copied, and the error that ended the copying."""
        if self._thread is None or self._stopped:
            return 0, None
        self._waiting.put(None)
        error: BaseException | None = None
        with contextlib.suppress(TimeoutError):
            error = self._thread.exception(timeout=seconds)
        self._stopped = True
        return self._left, error

    def _run(self) -> None:
        ended = False
        while not ended and not self._stopped:
            batch, size = {}, 0
            entry = self._waiting.get()
            while entry is not None:
                name, file = entry
                # Another process may have removed it as damaged, or to make room.
                with contextlib.suppress(OSError):
                    batch[name] = file.read_bytes()
                    size += len(batch[name])
                if name not in batch:
                    self._count(-1)
                if size >= _BATCH_BYTES or len(batch) >= _BATCH_FILES or self._waiting.empty():
                    break
                entry = self._waiting.get()
            ended = entry is None
            if batch and not self._stopped:
                self._write(batch)
                self._count(-len(batch))

    def _count(self, more: int) -> None:
        with self._lock:
            self._left += more


def _in_background(work: Callable[[], Result]) -> Future[Result]:
    """Return the future result of some work in a thread of its own, which may never end.

    The threads of `concurrent.futures` would have to end before the process can.
    """
    future: Future[Result] = Future()

    def run() -> None:
        # A model may predict meanwhile: what is read here is not what it reads.
        exempt_thread()
        try:
            result = work()
        # Libraries of object stores have errors of their own, and whoever asks for the result gets it.
        except BaseException as error:  # noqa: BLE001
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, name=_THREAD, daemon=True).start()
    return future


def _event_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop that runs in a thread of its own; the model may use that of fsspec."""
    loop = asyncio.new_event_loop()
    loop.set_default_executor(ThreadPoolExecutor(thread_name_prefix=_THREAD, initializer=exempt_thread))

    def run() -> None:
        exempt_thread()
        loop.run_forever()

    threading.Thread(target=run, name=f"{_THREAD}-loop", daemon=True).start()
    return loop


def _batches(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for name, count in sizes.items():
        if batch and (size + count > _BATCH_BYTES or len(batch) >= _BATCH_FILES):
            yield batch
            batch, size = [], 0
        batch.append(name)
        size += count
    if batch:
        yield batch
