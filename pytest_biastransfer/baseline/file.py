"""The file of the accepted measurements: read whole or not at all, written whole or not at all."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pytest_biastransfer.baseline.entry import Entry, EntryKey
from pytest_biastransfer.errors import BaselineError
from pytest_biastransfer.store.atomic_files import atomic_write

_FORMAT: Final = 1

Entries = dict[EntryKey, Entry]


def read_baseline(path: Path) -> Entries | None:
    """Return the entries of a file; None if there is no such file.

    Raises `BaselineError` for a file that is not whole; it names the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise BaselineError(f"{path}: cannot be read ({error})") from error
    try:
        content = json.loads(text, object_pairs_hook=_without_repetition)
    except json.JSONDecodeError as error:
        raise _damaged(path, error.lineno, f"{error.msg}: {_line(text, error.lineno)!r:.60}") from error
    except _RepeatedError as error:
        # The second one is the one that is too much.
        name = str(error)
        raise _damaged(path, _line_of(text, name, name), f"{name} is there twice") from error
    return _entries(path, text, content)


def write_baseline(path: Path, entries: Mapping[EntryKey, Entry]) -> None:
    """Write a file: the same entries are the same bytes, whoever writes them in whatever order.

    Raises `BaselineError` where that cannot be done; the file is then what it was.
    """
    tests: dict[str, dict[str, Any]] = {}
    for key, entry in entries.items():
        tests.setdefault(key.test, {})[key.case] = entry.to_json()
    # Once for each dataset, however many tests measure on it.
    keys = {entry.dataset["fingerprint"]: entry.image_keys for entry in entries.values() if entry.image_keys}
    content = {"format": _FORMAT, "tests": tests} | ({"image_keys": keys} if keys else {})
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    try:
        # The file is everybody's who has the project.
        with atomic_write(path, path.stat().st_mode & 0o777 if path.exists() else 0o644) as file:
            file.write(text.encode())
    except OSError as error:
        raise BaselineError(f"{path}: cannot be written ({error})") from error


def pruned(entries: Mapping[EntryKey, Entry], tests: Collection[EntryKey]) -> Entries:
    """Return the entries of tests that exist."""
    return {key: entry for key, entry in entries.items() if key in tests}


def _entries(path: Path, text: str, content: Any) -> Entries:
    version = content.get("format") if isinstance(content, dict) else None
    if type(version) is int and version > _FORMAT:
        raise BaselineError(
            f"{path}: line {_line_of(text, 'format')}: format {version} was written by a newer release; this one "
            f"reads format {_FORMAT}. Upgrade: pip install -U pytest-biastransfer"
        )
    if version != _FORMAT or not isinstance(content.get("tests"), dict):
        raise _damaged(path, 1, f'expected {{"format": {_FORMAT}, "tests": {{...}}}}')
    keys = content.get("image_keys", {})
    if not isinstance(keys, dict) or not all(isinstance(text_of_dataset, str) for text_of_dataset in keys.values()):
        raise _damaged(path, _line_of(text, "image_keys"), "expected a text for each dataset")
    entries = {}
    for test, cases in content["tests"].items():
        if not isinstance(cases, dict):
            raise _damaged(path, _line_of(text, test), f"expected the cases of {test}, found {cases!r:.60}")
        for case, entry in cases.items():
            try:
                parsed = Entry.from_json(entry)
                image_keys = keys.get(parsed.dataset["fingerprint"], "")
                entries[EntryKey(test, case)] = dataclasses.replace(parsed, image_keys=image_keys)
            except ValueError as error:
                raise damaged_entry(path, EntryKey(test, case), str(error), text) from error
    return entries


def damaged_entry(path: Path, key: EntryKey, problem: str, text: str | None = None) -> BaselineError:
    """Return the error that names the line of an entry that is not what it should be."""
    text = path.read_text(encoding="utf-8") if text is None else text
    return _damaged(path, _line_of(text, "tests", *key), f"{key.test}, {key.case}: {problem}")


def _damaged(path: Path, line: int, problem: str) -> BaselineError:
    return BaselineError(
        f"{path}: line {line}: {problem}. It is left as it is: mend it, take it back from version control "
        f"(git checkout -- {path.name}), or remove it and write it anew with --bias-update=all"
    )


def _line(text: str, number: int) -> str:
    return (text.splitlines() or [""])[min(number, text.count("\n") or 1) - 1].strip()


def _line_of(text: str, *names: str) -> int:
    """Return the line of the last of these names, each looked for behind the one before."""
    position = 0
    for name in names:
        match = max(text.find(f"{json.dumps(name, ensure_ascii=style)}:", position + 1) for style in (False, True))
        position = match if match >= 0 else position
    return text.count("\n", 0, position) + 1


class _RepeatedError(Exception):
    """A name that an object has twice, as after two versions were merged."""


def _without_repetition(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for name, value in pairs:
        if name in content:
            raise _RepeatedError(name)
        content[name] = value
    return content
