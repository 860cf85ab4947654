"""Files that are whole and hold what they promise, or are taken for missing.

A line with a checksum and a description of the content, then the content. Written to a temporary name and
renamed, so that a file is whole or not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pytest_biastransfer.errors import StoreWarning
from pytest_biastransfer.whole_files import written_whole


def write_checked(path: Path, description: Any, parts: Iterable[Any]) -> None:
    """Write a file; `parts` are what supports the buffer protocol, `description` is anything JSON can hold.

    Raises OSError where that cannot be done.
    """
    described = json.dumps(description).encode()
    digest = hashlib.sha256(described)
    bodies = list(parts)
    for body in bodies:
        digest.update(body)
    with written_whole(path) as file:
        file.write(f"{digest.hexdigest()} ".encode() + described + b"\n")
        for body in bodies:
            file.write(body)


def read_checked(path: Path) -> tuple[Any, memoryview] | None:
    """Return the description and the content of a file, memory-mapped; None if it is not there or damaged.

    A damaged file is removed and warned of.
    """
    try:
        return _mapped(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:  # ValueError: of another content, or empty, which cannot be mapped.
        # Before the warning, which the user may have made an error: the next session would meet it again.
        with contextlib.suppress(OSError):
            path.unlink()
        warnings.warn(f"{path}: {error}; it is computed again", StoreWarning, stacklevel=2)
        return None


def _mapped(path: Path) -> tuple[Any, memoryview]:
    with path.open("rb") as file:
        # Copy-on-write: torch takes only arrays that could be written to.
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    end = content.find(b"\n") + 1
    checksum, _, described = content[: end - 1].partition(b" ") if end else (b"", b"", b"")
    body = memoryview(content)[end:]
    digest = hashlib.sha256(described)
    digest.update(body)
    if digest.hexdigest().encode() != checksum:
        raise ValueError("its content does not match its checksum")
    return json.loads(described), body
