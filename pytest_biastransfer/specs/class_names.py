"""Class name files of models and datasets: one name a line, or JSON."""

from __future__ import annotations

import json
import reprlib
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pytest_biastransfer.errors import BiasTransferError

Fail = Callable[[str], BiasTransferError]
"""Makes the error for a message about a file."""
Pairs = Callable[[Sequence[tuple[str, Any]]], Any]


def read_class_file(path: Path, fail: Fail, unreadable: str = "cannot be read ({})", pairs: Pairs = dict) -> Any:
    """Return the lines of a file without blank ones at its end, or, for JSON, its content.

    Parameters
    ----------
    path
        A file in UTF-8, with or without a byte order mark; JSON if its suffix is ``.json``.
    fail
        Makes the error to raise.
    unreadable
        The message for a file that the system cannot open; ``{}`` is the cause.
    pairs
        Converts the pairs of a JSON object, as ``object_pairs_hook`` of `json.loads`.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise fail(f"is not a text in UTF-8 ({error.reason} at byte {error.start})") from error
    # A path with a null character is a ValueError.
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else error
        raise fail(unreadable.format(cause)) from error
    if path.suffix != ".json":
        return text.rstrip().splitlines()
    try:
        return json.loads(text, object_pairs_hook=pairs)
    # A ValueError is also a number with more digits than Python converts.
    except (ValueError, RecursionError) as error:
        raise fail(f"is not JSON ({error})") from error


def as_names(content: object, fail: Fail, expected: str) -> list[str]:
    """Return the class names in a file's content, stripped; `expected` begins the message if it is not a list."""
    if not isinstance(content, list) or not content:
        raise fail(f"{expected}; found {reprlib.repr(content)}")
    for number, name in enumerate(content, 1):
        if not isinstance(name, str) or not name.strip():
            raise fail(f"{expected}; found {reprlib.repr(name)} as name {number}")
    return [name.strip() for name in content]


def composed(name: str) -> str:
    """Return a name in Unicode normalization form C, to compare it: macOS file systems may decompose accents.

    >>> composed("cafe\\u0301") == "caf\\u00e9"
    True
    """
    return unicodedata.normalize("NFC", name)


def nearest_name(name: str, valid: Sequence[str]) -> str | None:
    """Return the most similar valid name, ignoring case and word separators; None if none is similar."""
    import difflib  # Only error messages need it.

    plain: dict[str, str] = {}
    for valid_name in valid:
        plain.setdefault(_plain(valid_name), valid_name)
    matches = difflib.get_close_matches(_plain(name), plain, n=1, cutoff=0.6)
    return plain[matches[0]] if matches else None


def _plain(name: str) -> str:
    return " ".join(composed(name).casefold().replace("_", " ").replace("-", " ").split())
