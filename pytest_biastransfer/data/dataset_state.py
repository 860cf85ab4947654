"""What a dataset object looks like at a glance: its attributes, without the content of what is large.

A fixture may change an attribute of a dataset between two tests. To read all images again would tell, and takes long.
"""

from __future__ import annotations

import sys
import types
from typing import Any, Final

from pytest_biastransfer.fingerprints.content import fingerprint_in_session

_DEPTH: Final = 6
# Longer lists are told by which they are, how long they are, and some of their members.
_MANY: Final = 1000
_SOME: Final = 32
_PLAIN: Final = (str, int, float, complex, bool, bytes, type(None))


class DatasetState:
    """The state of a dataset object; two of them are equal as long as it looks the same."""

    def __init__(self, dataset: object) -> None:
        # An identity may be used again once its object is gone.
        self._alive: list[object] = []
        self._seen: dict[int, int] = {}
        self._content = self._of(dataset, _DEPTH)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DatasetState) and self._content == other._content

    __hash__ = None  # type: ignore[assignment]

    def _of(self, value: Any, depth: int) -> object:
        kind = type(value)
        if kind in _PLAIN:
            return kind.__name__, value
        if id(value) in self._seen:
            return "again", self._seen[id(value)]
        self._seen[id(value)] = len(self._seen)
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
            step = 1 if len(value) <= _MANY else len(value) // _SOME
            return kind, len(value), id(value), [self._of(member, depth) for member in value[::step]]
        if isinstance(value, dict):
            return kind, id(value), len(value), self._of_entries(list(value.items())[:_MANY], depth)
        if isinstance(value, set | frozenset):
            return kind, id(value), len(value)
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(value, torch.Tensor):
            # Writing to a tensor raises its version.
            version = None if value.is_inference() else value._version
            return kind, id(value), tuple(value.shape), version
        attributes = getattr(value, "__dict__", None)
        if not isinstance(attributes, dict):
            return kind, id(value)
        return self._of(kind, depth), id(value), self._of_entries(sorted(attributes.items()), depth)

    def _of_entries(self, entries: list[tuple[Any, Any]], depth: int) -> list[tuple[object, object]]:
        return [(self._of(name, depth), self._of(content, depth)) for name, content in entries]
