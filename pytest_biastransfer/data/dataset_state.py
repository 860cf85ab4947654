"""A cheap snapshot of a dataset object's attributes, which shows whether a fixture has changed the object.

A fixture may change an attribute of a dataset between two tests. Reading all images again would detect that too, but
takes long. So large content is represented by its identity and its length.
"""

from __future__ import annotations

import sys
import types
from typing import Any, Final

from pytest_biastransfer.fingerprints.content import fingerprint_in_session

_DEPTH: Final = 6
# A longer list is represented by its identity, its length, and a sample of its members.
_LONG_LIST: Final = 1000
_SAMPLE: Final = 32
_PLAIN: Final = (str, int, float, complex, bool, bytes, type(None))


class DatasetState:
    """The state of a dataset object; two states are equal as long as the object looks the same."""

    def __init__(self, dataset: object) -> None:
        # Python reuses the identity of an object that is gone; references keep all compared objects alive.
        self._alive: list[object] = []
        # The number of each object in the order of the visits; it also ends the recursion in circular references.
        self._visits: dict[int, int] = {}
        self._content = self._of(dataset, _DEPTH)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DatasetState) and self._content == other._content

    __hash__ = None  # type: ignore[assignment]

    def _of(self, value: Any, depth: int) -> object:
        kind = type(value)
        if kind in _PLAIN:
            return kind.__name__, value
        if id(value) in self._visits:
            return "again", self._visits[id(value)]
        self._visits[id(value)] = len(self._visits)
        self._alive.append(value)
        if isinstance(value, types.FunctionType | types.MethodType | type):
            content, identified = fingerprint_in_session(value)
            self._alive.extend(identified)
            return content
        if depth == 0 or isinstance(value, types.ModuleType):
            return kind, id(value)
        return self._of_compound(value, depth - 1)

    def _of_compound(self, value: Any, depth: int) -> object:
        kind = type(value)
        if isinstance(value, list | tuple):
            step = 1 if len(value) <= _LONG_LIST else len(value) // _SAMPLE
            return kind, len(value), id(value), [self._of(member, depth) for member in value[::step]]
        if isinstance(value, dict):
            return kind, id(value), len(value), self._of_entries(list(value.items())[:_LONG_LIST], depth)
        if isinstance(value, set | frozenset):
            return kind, id(value), len(value)
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(value, torch.Tensor):
            # Each write in place increments a tensor's version; inference tensors have none.
            version = None if value.is_inference() else value._version
            return kind, id(value), tuple(value.shape), version
        attributes = getattr(value, "__dict__", None)
        if not isinstance(attributes, dict):
            return kind, id(value)
        return self._of(kind, depth), id(value), self._of_entries(sorted(attributes.items()), depth)

    def _of_entries(self, entries: list[tuple[Any, Any]], depth: int) -> list[tuple[object, object]]:
        return [(self._of(name, depth), self._of(content, depth)) for name, content in entries]
