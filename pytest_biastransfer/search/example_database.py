"""Hypothesis' database of examples, as the search needs it: for one search, and for the next one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from hypothesis.database import ExampleDatabase

# Hypothesis keeps under the plain key what failed, and beside it what was nearly so.
_SECONDARY = b".secondary"
_BESIDE = (_SECONDARY, b".pareto")


class Memory(ExampleDatabase):
    """Keeps the examples of one search in memory; those that failed in an earlier one come from another database.

    Parameters
    ----------
    lasting
        Where what was found is kept for the next search; None to keep nothing.
    key
        Tells this search from others there.
    """

    def __init__(self, lasting: ExampleDatabase | None, key: bytes) -> None:
        super().__init__()
        self._examples: dict[bytes, set[bytes]] = defaultdict(set)
        self._lasting = lasting
        self._key = key

    def save(self, key: bytes, value: bytes) -> None:
        """Keep an example in memory."""
        self._examples[key].add(value)

    def fetch(self, key: bytes) -> Iterable[bytes]:
        """Return the examples under a key; among those that once failed, those of earlier searches."""
        known = set(self._examples[key])
        # As a secondary one: Hypothesis does not shrink what it takes for shrunk already.
        if self._lasting is not None and key.endswith(_SECONDARY):
            known |= set(self._lasting.fetch(self._key))
        return sorted(known, key=lambda example: (len(example), example))

    def delete(self, key: bytes, value: bytes) -> None:
        """Forget an example; one that failed in an earlier search and does not fail now is forgotten there too."""
        self._examples[key].discard(value)
        if self._lasting is not None and key.endswith(_SECONDARY):
            self._lasting.delete(self._key, value)

    def failing(self) -> list[bytes]:
        """Return the examples that failed in this search."""
        return [value for key, values in self._examples.items() if not key.endswith(_BESIDE) for value in values]

    def keep(self, examples: Iterable[bytes]) -> None:
        """Keep examples for the next search, instead of those of earlier ones."""
        if self._lasting is None:
            return
        for known in list(self._lasting.fetch(self._key)):
            self._lasting.delete(self._key, known)
        for example in examples:
            self._lasting.save(self._key, example)
