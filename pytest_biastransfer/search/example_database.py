"""Hypothesis' example database for a search: in memory during the search, and kept for the next one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from hypothesis.database import ExampleDatabase

# Hypothesis saves failing examples under a test's key, and near misses under the key with these suffixes.
_SECONDARY = b".secondary"
_SUFFIXES = (_SECONDARY, b".pareto")


class SearchDatabase(ExampleDatabase):
    """Keeps the examples of one search in memory, and reads the failing ones of earlier searches from a database.

    Parameters
    ----------
    persistent
        The database of earlier and later searches; None to read and keep nothing.
    key
        The key of this search in there.
    """

    def __init__(self, persistent: ExampleDatabase | None, key: bytes) -> None:
        super().__init__()
        self._examples: dict[bytes, set[bytes]] = defaultdict(set)
        self._persistent = persistent
        self._key = key

    def save(self, key: bytes, value: bytes) -> None:
        """Keep an example in memory."""
        self._examples[key].add(value)

    def fetch(self, key: bytes) -> Iterable[bytes]:
        """Return the examples under a key; for secondary ones also those that failed in earlier searches."""
        examples = set(self._examples[key])
        # As secondary examples: Hypothesis would not shrink primary ones, which it takes for shrunk already.
        if self._persistent is not None and key.endswith(_SECONDARY):
            examples |= set(self._persistent.fetch(self._key))
        return sorted(examples, key=lambda example: (len(example), example))

    def delete(self, key: bytes, value: bytes) -> None:
        """Remove an example; one of an earlier search that does not fail any more is removed there too."""
        self._examples[key].discard(value)
        if self._persistent is not None and key.endswith(_SECONDARY):
            self._persistent.delete(self._key, value)

    def failing(self) -> list[bytes]:
        """Return the examples that failed in this search."""
        return [value for key, values in self._examples.items() if not key.endswith(_SUFFIXES) for value in values]

    def replace(self, examples: Iterable[bytes]) -> None:
        """Keep examples for the next search in place of those of earlier ones."""
        if self._persistent is None:
            return
        for outdated in list(self._persistent.fetch(self._key)):
            self._persistent.delete(self._key, outdated)
        for example in examples:
            self._persistent.save(self._key, example)
