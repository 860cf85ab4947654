"""Files that are whole and hold what they promise, or are taken for missing.

A line with a checksum and a description of the content, then the content. Written to a temporary name and
renamed, so that a file is whole or not there. The checksum covers the file's name within the store too: what was
written under one key is not read under another one.
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
"""Whether a file of that description and of so many further bytes is what was asked for."""

# Longer descriptions are read after their checksum was compared.
_SHORT: Final = 2**16
_LONGEST: Final = 2**28
# Opening a pipe would wait for whoever writes to it.
_READ_ONLY: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class Digest(Protocol):
    """What makes a checksum: one of hashlib's or hmac's objects."""

    def update(self, data: Any, /) -> None:
        """Take more of the content."""

    def hexdigest(self) -> str:
        """Return the checksum."""


class Seal:
    """Makes the checksums of files: anybody's, or with a secret those of whoever knows it."""

    def __init__(self, secret: bytes | None = None) -> None:
        self._secret = secret

    def __repr__(self) -> str:
        return f"<Seal {self.name}>"

    @property
    def name(self) -> str:
        """The name of the directory of what has this seal; it does not tell the secret."""
        if self._secret is None:
            return ""
        return f"sealed-{hmac.new(self._secret, b'name of a directory', 'sha256').hexdigest()[:16]}"

    @property
    def is_secret(self) -> bool:
        """Whether only those who know a secret can make it."""
        return self._secret is not None

    def digest(self, name: str) -> Digest:
        """Begin the checksum of the file of that name."""
        if self._secret is None:
            return hashlib.sha256(name.encode(errors="surrogateescape") + b"\n")
        return hmac.new(self._secret, name.encode(errors="surrogateescape") + b"\n", "sha256")


def write_checked(path: Path, digest: Digest, description: Any, parts: Iterable[Any]) -> None:
    """Write a file; `parts` are what supports the buffer protocol, `description` is anything JSON can hold.

    Raises OSError where that cannot be done.
    """
    described = json.dumps(description).encode()
    digest.update(described)
    bodies = list(parts)
    for body in bodies:
        digest.update(body)
    with atomic_write(path) as file:
        file.write(f"{digest.hexdigest()} ".encode() + described + b"\n")
        for body in bodies:
            file.write(body)


def read_checked(path: Path, digest: Digest, accepts: Accepts) -> tuple[Any, memoryview]:
    """Return the description and the content of a file, memory-mapped.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError, RecursionError
        If it is not what was asked for.
    """
    content = _mapped(path)
    end = content.find(b"\n", 0, _LONGEST) + 1
    checksum, _, described = content[: end - 1].partition(b" ") if end else (b"", b"", b"")
    body = memoryview(content)[end:]
    description: Any = None
    # A file may say that it is larger than anybody has the time to read.
    if len(described) <= _SHORT:
        description = _accepted(described, len(body), accepts)
    digest.update(described)
    digest.update(body)
    if not hmac.compare_digest(digest.hexdigest().encode(), checksum):
        raise ValueError("its content does not match its checksum")
    if len(described) > _SHORT:
        description = _accepted(described, len(body), accepts)
    return description, body


def _accepted(described: bytes, size: int, accepts: Accepts) -> Any:
    description = json.loads(described)
    if not accepts(description, size):
        raise ValueError("its content is not of the form that it should have")
    return description


def _mapped(path: Path) -> mmap.mmap:
    descriptor = os.open(path, _READ_ONLY)
    try:
        require_regular(path, os.fstat(descriptor))
        # Copy-on-write: torch takes only arrays that could be written to.
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)
    finally:
        os.close(descriptor)
