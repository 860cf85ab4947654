"""Content hashes of files, cached as long as the files' sizes and times are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pytest_biastransfer.errors import DatasetError
from pytest_biastransfer.store.facts import Digest

if TYPE_CHECKING:
    from pytest_biastransfer.store import Facts


def contents_of(paths: Sequence[str], facts: Facts, subject: Callable[[int | None], str]) -> str:
    """Return a hash of the content of files, in order.

    Raises `DatasetError` for a file that cannot be read. `subject` returns the beginning of the message for the
    file's index in `paths`, or for None where the error does not name the file.
    """
    try:
        contents: str = facts.of_files(paths, "contents", lambda: _digest(paths), Digest)
    except OSError as error:
        index = paths.index(error.filename) if error.filename in paths else None
        raise DatasetError(f"{subject(index)} cannot be read ({error})") from error
    return contents


def _digest(paths: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:  # noqa: PTH123 - half the time of Path.open
            digest.update(hashlib.sha256(file.read()).digest())
    return digest.hexdigest()
