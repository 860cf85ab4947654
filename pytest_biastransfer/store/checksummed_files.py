"""Files with a checksum: a damaged or replaced file counts as missing.

A file has one line with the checksum and a description of the content as JSON, then the content. It is written
atomically. The checksum covers the file's name within the store too, so that content of one key is never read under
another one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import mmap
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, Protocol

from pytest_biastransfer.regular_files import require_regular
from pytest_biastransfer.store.atomic_files import atomic_write

Accepts = Callable[[Any, int], bool]
"""Whether a description, and the number of bytes after it, are those of the requested content."""

# Longer descriptions are parsed only after the checksum was compared.
_SHORT_BYTES: Final = 2**16
_LONGEST_BYTES: Final = 2**28
_MAPPED_BYTES: Final = 2**20
# Without O_NONBLOCK, opening a pipe blocks until another process writes to it.
_READ_ONLY: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class Digest(Protocol):
    """An object of hashlib, hmac or xxhash that computes a checksum."""

    def update(self, data: Any, /) -> None:
        """Add content."""

    def hexdigest(self) -> str:
        """Return the checksum in hexadecimal digits."""


class Seal:
    """Makes the checksums of files: plain SHA-256, or, with a secret, an HMAC that only its owners can make."""

    def __init__(self, secret: bytes | None = None) -> None:
        self._secret = secret

    def __repr__(self) -> str:
        return f"<Seal {self.name}>"

    @property
    def name(self) -> str:
        """The name of the subdirectory of files with this seal; it does not reveal the secret."""
        if self._secret is None:
            return ""
        return f"sealed-{hmac.new(self._secret, b'name of a directory', 'sha256').hexdigest()[:16]}"

    @property
    def is_secret(self) -> bool:
        """Whether a secret is needed to make it."""
        return self._secret is not None

    def digest(self, name: str, *, fast: bool = False) -> Digest:
        """Begin the checksum of the file `name`, relative to the store.

        A `fast` one, XXH3 with 128 bits, finds damage as surely as SHA-256 does, at ten times the speed. It does not
        find forgeries, and neither does SHA-256 without a secret.
        """
        begin = name.encode(errors="surrogateescape") + b"\n"
        if self._secret is not None:
            return hmac.new(self._secret, begin, "sha256")
        if fast:
            import xxhash

            return xxhash.xxh3_128(begin)
        return hashlib.sha256(begin)


def write_checked(path: Path, digest: Digest, description: Any, arrays: Iterable[Any]) -> None:
    """Write a file with its checksum.

    Parameters
    ----------
    path
        The file.
    digest
        The checksum, as `Seal.digest` begins it.
    description
        Plain data, as JSON holds it.
    arrays
        The content: objects that support the buffer protocol.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    header = json.dumps(description).encode()
    digest.update(header)
    buffers = list(arrays)
    for buffer in buffers:
        digest.update(buffer)
    with atomic_write(path) as file:
        file.write(f"{digest.hexdigest()} ".encode() + header + b"\n")
        for buffer in buffers:
            file.write(buffer)


def read_checked(path: Path, digest: Digest, accepts: Accepts) -> tuple[Any, memoryview]:
    """Return the description and the content of a file, memory-mapped if it is large.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError, RecursionError
        If its content is not the requested one, or is damaged.
    """
    content = _content(path)
    end = content.find(b"\n", 0, _LONGEST_BYTES) + 1
    checksum, _, header = content[: end - 1].partition(b" ") if end else (b"", b"", b"")
    body = memoryview(content)[end:]
    description: Any = None
    # Checked before the whole body is hashed: a sparse file of terabytes takes no space and would take hours to hash.
    if len(header) <= _SHORT_BYTES:
        description = _accepted(header, len(body), accepts)
    digest.update(header)
    digest.update(body)
    # In constant time: the time of a plain comparison would reveal how much of a forged checksum is right.
    if not hmac.compare_digest(digest.hexdigest().encode(), checksum):
        raise ValueError("its content does not match its checksum")
    # A long header could exhaust the memory of the JSON parser; only content of our own gets this far.
    if len(header) > _SHORT_BYTES:
        description = _accepted(header, len(body), accepts)
    return description, body


def _accepted(header: bytes | bytearray, size: int, accepts: Accepts) -> Any:
    description = json.loads(header)
    if not accepts(description, size):
        raise ValueError("its content does not have the expected form")
    return description


def _content(path: Path) -> bytearray | mmap.mmap:
    descriptor = os.open(path, _READ_ONLY)
    try:
        state = os.fstat(descriptor)
        require_regular(path, state)
        if state.st_size <= _MAPPED_BYTES:
            # Not mapped: a client of a network drive that reads a mapped file after another one has replaced it is
            # killed by SIGBUS. Small files are those that are replaced, and reading them costs less than mapping.
            with open(descriptor, "rb", buffering=0, closefd=False) as file:
                # Not bytes: torch warns of arrays that cannot be written to.
                return bytearray(file.readall())
        # Copy-on-write, for the same reason.
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)
    finally:
        os.close(descriptor)
