"""Which bias tests there are, whatever other plugins make of them before they run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.compat import NOTSET

from pytest_biastransfer.plugin.collection.parametrize import case_of, is_bias_test
from pytest_biastransfer.plugin.state import COLLECTED_FILES, COLLECTED_ITEMS, DESELECTED, SETTINGS

if TYPE_CHECKING:
    from pytest_biastransfer.baseline.entry import EntryKey


@dataclass(frozen=True)
class Collected:
    """The bias tests that were collected, by their entries, and the files that they were looked for in."""

    tests: frozenset[EntryKey]
    files: frozenset[str]

    def to_plain(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return {"tests": sorted(self.tests), "files": sorted(self.files)}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Collected:
        """Return what `to_plain` gave."""
        from pytest_biastransfer.baseline.entry import EntryKey

        return cls(frozenset(EntryKey(*key) for key in plain["tests"]), frozenset(plain["files"]))


def note_item(item: pytest.Item) -> None:
    """Note a test when it is collected: not every plugin says that it takes tests away."""
    if item.config.stash[SETTINGS].prune and is_bias_test(item):
        item.config.stash.setdefault(COLLECTED_ITEMS, []).append(item)


def note_file(collector: pytest.Collector, report: pytest.CollectReport) -> None:
    """Note a file that tests were looked for in."""
    if isinstance(collector, pytest.Module) and report.passed and collector.config.stash[SETTINGS].prune:
        collector.config.stash.setdefault(COLLECTED_FILES, set()).add(collector.path)


def collected(session: pytest.Session) -> Collected | None:
    """Return what was collected; None if not all of it runs, because of an option or a plugin."""
    stash = session.config.stash
    if stash.get(DESELECTED, False):
        return None
    directory = stash[SETTINGS].baseline.parent
    tests = _keys(stash.get(COLLECTED_ITEMS, []))
    if tests - _keys(session.items):
        return None
    return Collected(frozenset(tests), frozenset(_relative(path, directory) for path in stash.get(COLLECTED_FILES, ())))


def _keys(items: list[pytest.Item]) -> set[EntryKey]:
    from pytest_biastransfer.plugin.runtest.baseline_comparison import key_of

    cases = ((item, case_of(item)) for item in items)
    return {key_of(item, case) for item, case in cases if case is not None and not _lacks_parameters(item)}


def _lacks_parameters(item: Any) -> bool:
    """Whether a test stands for parameters of which there are none here."""
    return any(value is NOTSET for value in item.callspec.params.values())


def _relative(path: Path, directory: Path) -> str:
    return Path(os.path.relpath(path, directory)).as_posix()
