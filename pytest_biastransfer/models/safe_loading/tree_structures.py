"""Verifies and rewrites the nested structures of an exported program's inputs and outputs.

torch imports the types that a structure names, and generates the source of a function with the names in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

# The outputs of Hugging Face's models have types of their own.
_TYPES: Final = re.compile(
    r"builtins\.(tuple|list|dict)|collections\.OrderedDict|transformers\.modeling_outputs\.[A-Za-z0-9_]+"
)
_NAME: Final = re.compile(r"[A-Za-z0-9_.\-/ ]{0,200}")
_FIELDS: Final = frozenset({"type", "context", "children_spec"})
_PROTOCOL: Final = 1


def canonical_structure(text: str) -> str:
    """Return the same structure; raise `ValueError` unless it has only tuples, lists, dictionaries and model outputs.

    >>> canonical_structure('[1,{"type":null,"context":null,"children_spec":[]}]')
    '[1, {"type": null, "context": null, "children_spec": []}]'
    """
    content = json.loads(text, object_pairs_hook=without_duplicates)
    if not isinstance(content, list) or len(content) != 2 or content[0] != _PROTOCOL:
        raise ValueError(f"its inputs or outputs are described by {text!r:.80}")
    return json.dumps([_PROTOCOL, _node(content[1])])


def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs of a JSON object as a dictionary; raise `ValueError` for a repeated name.

    JSON readers disagree on which of two values with the same name counts.
    """
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a name is there twice")
    return content


def _node(node: object) -> dict[str, Any]:
    if not isinstance(node, Mapping) or node.keys() != _FIELDS or not isinstance(node["children_spec"], list):
        raise ValueError(f"its inputs or outputs are described by {node!r:.80}")
    kind, context, children = node["type"], node["context"], node["children_spec"]
    if kind is None:
        if context is not None or children:
            raise ValueError("an input or output is described as a leaf with more below it")
        return {"type": None, "context": None, "children_spec": []}
    if not isinstance(kind, str) or not _TYPES.fullmatch(kind):
        raise ValueError(f"its inputs or outputs are of type {kind!r:.80}")
    return {"type": kind, "context": _context(kind, context), "children_spec": [_node(child) for child in children]}


def _context(kind: str, context: object) -> str:
    """Return the names in a dictionary, or ``null``, in JSON."""
    names = json.loads(context) if isinstance(context, str) else context
    if names is not None and (not isinstance(names, list) or not all(map(_is_name, names))):
        raise ValueError(f"its inputs or outputs are of type {kind} with {context!r:.80}")
    return json.dumps(names)


def _is_name(name: object) -> bool:
    return isinstance(name, int) or (isinstance(name, str) and _NAME.fullmatch(name) is not None)
