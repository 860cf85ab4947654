"""Content hashes of files, cached as long as the files' sizes and times are the same."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

from pytest_biastransfer.errors import DatasetError
from pytest_biastransfer.progress.activities import counted
from pytest_biastransfer.store.facts import Digest

if TYPE_CHECKING:
    from pytest_biastransfer.store import Facts

# How many bytes of a file's hash tell it from the other files of a dataset.
_SHORT: Final = 8


def contents_of(paths: Sequence[str], facts: Facts, subject: Callable[[int | None], str]) -> str:
    """Return a hash of the content of files, in order.

    Raises `DatasetError` for a file that cannot be read. `subject` returns the beginning of the message for the
    file's index in `paths`, or for None where the error does not name the file.
    """
    contents: str = _of_files(paths, facts, subject, "contents", _digest, Digest)
    return contents


def digests_of(paths: Sequence[str], facts: Facts, subject: Callable[[int | None], str]) -> list[bytes]:
    """Return a hash of the content of each file, in order; errors are those of `contents_of`."""
    form = Annotated[str, lambda text: bool(re.fullmatch(f"[0-9a-f]{{{2 * _SHORT * len(paths)}}}", text))]
    digits = _of_files(paths, facts, subject, "digests", lambda paths: b"".join(_short_digests(paths)).hex(), form)
    raw = bytes.fromhex(digits)
    return [raw[start : start + _SHORT] for start in range(0, len(raw), _SHORT)]


def _of_files(
    paths: Sequence[str],
    facts: Facts,
    subject: Callable[[int | None], str],
    question: str,
    compute: Callable[[Sequence[str]], str],
    form: Any,
) -> str:
    try:
        fact: str = facts.of_files(paths, question, lambda: compute(paths), form)
    except OSError as error:
        index = paths.index(error.filename) if error.filename in paths else None
        raise DatasetError(f"{subject(index)} cannot be read ({error})") from error
    return fact


def _digest(paths: Sequence[str]) -> str:
    return hashlib.sha256(b"".join(_digests(paths))).hexdigest()


def _short_digests(paths: Sequence[str]) -> Iterator[bytes]:
    return (digest[:_SHORT] for digest in _digests(paths))


def _digests(paths: Sequence[str]) -> Iterator[bytes]:
    for path in counted(paths, len(paths), "hashing", "files"):
        with open(path, "rb") as file:  # noqa: PTH123 - half the time of Path.open
            yield hashlib.sha256(file.read()).digest()
