"""What files hold, as a hash that is not computed again as long as they look the same."""

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

    Raises `DatasetError` for one that cannot be read: `subject` is the beginning of its message, for the place of the
    file, or for None where it is not known which one.
    """
    try:
        contents: str = facts.of_files(paths, "contents", lambda: _digest(paths), Digest)
    except OSError as error:
        place = paths.index(error.filename) if error.filename in paths else None
        raise DatasetError(f"{subject(place)} cannot be read ({error})") from error
    return contents


def _digest(paths: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:  # noqa: PTH123 - half the time of Path.open
            digest.update(hashlib.sha256(file.read()).digest())
    return digest.hexdigest()
