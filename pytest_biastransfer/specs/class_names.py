"""Files that name classes, a model's or a dataset's: one a line, or as JSON."""

from __future__ import annotations

import json
import reprlib
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pytest_biastransfer.errors import BiasTransferError

Fail = Callable[[str], BiasTransferError]
"""Makes the error of what was found in a file."""
Pairs = Callable[[Sequence[tuple[str, Any]]], Any]


def read_class_file(path: Path, fail: Fail, unreadable: str = "cannot be read ({})", pairs: Pairs = dict) -> Any:
    """Return what a file tells: its lines without the blank ones at its end, or what is in it if it is JSON.

    Parameters
    ----------
    path
        The file, UTF-8, with or without a byte order mark; JSON if its name ends so.
    fail
        Makes the error to raise.
    unreadable
        How the error says that the system does not open the file.
    pairs
        Makes what stands for an object of JSON.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise fail(f"is no text in UTF-8 ({error.reason} at byte {error.start})") from error
    # A ValueError is a path that no file can have.
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else error
        raise fail(unreadable.format(cause)) from error
    if path.suffix != ".json":
        return text.rstrip().splitlines()
    try:
        return json.loads(text, object_pairs_hook=pairs)
    # A ValueError is also a number of more digits than Python reads.
    except (ValueError, RecursionError) as error:
        raise fail(f"is not JSON ({error})") from error


def as_names(found: object, fail: Fail, expected: str) -> list[str]:
    """Return the names in what a file tells, without the blanks around them; `expected` says what may be in there."""
    if not isinstance(found, list) or not found:
        raise fail(f"{expected}; found {reprlib.repr(found)}")
    for number, name in enumerate(found, 1):
        if not isinstance(name, str) or not name.strip():
            raise fail(f"{expected}; found {reprlib.repr(name)} as name {number}")
    return [name.strip() for name in found]


def composed(name: str) -> str:
    """Return a name as it is compared with others: a Mac's disk has accents apart from their letters.

    >>> composed("cafe\\u0301") == "caf\\u00e9"
    True
    """
    return unicodedata.normalize("NFC", name)


def nearest_name(name: str, valid: Sequence[str]) -> str | None:
    """Return the name that is most like another one, whatever the case and the signs between words; None if none is."""
    import difflib  # Only mistakes need it.

    plain: dict[str, str] = {}
    for other in valid:
        plain.setdefault(_plain(other), other)
    near = difflib.get_close_matches(_plain(name), plain, n=1, cutoff=0.6)
    return plain[near[0]] if near else None


def _plain(name: str) -> str:
    return " ".join(composed(name).casefold().replace("_", " ").replace("-", " ").split())
