"""Which bias tests there are, whatever other plugins make of them before they run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from pytest_biastransfer.plugin.collection.baseline_keys import key_of, path_from_baseline
from pytest_biastransfer.plugin.collection.parametrize import case_of, is_bias_test
from pytest_biastransfer.plugin.pytest_internals import lacks_parameters
from pytest_biastransfer.plugin.state import COLLECTED_FILES, COLLECTED_ITEMS, DESELECTED, SETTINGS

if TYPE_CHECKING:
    from pytest_biastransfer.baseline.entry import EntryKey


@dataclass(frozen=True)
class CollectedTests:
    """The bias tests that were collected, by their entries, and the files that they were looked for in."""

    tests: frozenset[EntryKey]
    files: frozenset[str]

    def to_plain(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return {"tests": sorted(self.tests), "files": sorted(self.files)}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> CollectedTests:
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


def collected_tests(session: pytest.Session) -> CollectedTests | None:
    """Return what was collected; None if not all of it runs, because of an option or a plugin."""
    stash = session.config.stash
    if stash.get(DESELECTED, False):
        return None
    tests = _keys(stash.get(COLLECTED_ITEMS, []))
    if tests - _keys(session.items):
        return None
    files = (path_from_baseline(session.config, path) for path in stash.get(COLLECTED_FILES, ()))
    return CollectedTests(frozenset(tests), frozenset(files))


def _keys(items: list[pytest.Item]) -> set[EntryKey]:
    cases = ((item, case_of(item)) for item in items)
    return {key_of(item, case) for item, case in cases if case is not None and not lacks_parameters(item)}


def note_deselected(items: Sequence[pytest.Item]) -> None:
    """Note that not all bias tests run, where entries of the baseline are to be pruned."""
    if any(item.config.stash[SETTINGS].prune and is_bias_test(item) for item in items):
        items[0].config.stash[DESELECTED] = True
