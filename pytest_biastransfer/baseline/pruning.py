"""Which entries are of tests that may still exist, although nobody has seen them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path

from pytest_biastransfer.baseline.entry import EntryKey


def remaining(
    entries: Iterable[EntryKey], tests: Collection[EntryKey], files: Collection[str], directory: Path
) -> set[EntryKey]:
    """Return the entries that have to stay: all but those of tests that certainly exist no longer.

    A test that was not collected may be one that a plugin, a conftest or a condition in its file took away here, and
    not elsewhere. Its entry goes only if its file is gone, or was collected and has neither the function in its text
    nor, where it has, this case of it.

    Parameters
    ----------
    entries
        What the baseline has.
    tests, files
        The tests that were collected, and the files that they were looked for in, relative to `directory`.
    directory
        That of the baseline.
    """
    functions = {_function(key) for key in tests}
    return {key for key in entries if key in tests or _may_exist(key, functions, files, directory)}


def _may_exist(key: EntryKey, functions: Collection[str], files: Collection[str], directory: Path) -> bool:
    path, _, names = _function(key).partition("::")
    if not (directory / path).exists():
        return False
    if path not in files:
        return True
    if _function(key) in functions:
        return False
    text = (directory / path).read_text(encoding="utf-8", errors="replace")
    return re.search(rf"\bdef\s+{re.escape(names.rpartition('::')[2])}\b", text) is not None


def _function(key: EntryKey) -> str:
    return key.test.partition("[")[0]
