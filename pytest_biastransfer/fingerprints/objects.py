"""Descriptions of objects: containers, networks, and anything else as pickle would save it."""

from __future__ import annotations

import copyreg
import os
import sys
import types
from collections.abc import Callable
from typing import Any

from pytest_biastransfer.fingerprints.arrays import array_content, is_torch
from pytest_biastransfer.fingerprints.definitions import DefinitionElements, code_elements, full_name
from pytest_biastransfer.fingerprints.elements import (
    Elements,
    NotFingerprintableError,
    ReferredObject,
    UnorderedObjects,
    all_of,
    named,
    word,
)
from pytest_biastransfer.fingerprints.patches import Origins


class ObjectElements:
    """Describes any object that is not plain, by its kind."""

    def __init__(self, code_of: Callable[[str], str], origins: Origins) -> None:
        definitions = DefinitionElements(code_of, origins)
        self._by_kind: tuple[tuple[type, Callable[[Any], Elements]], ...] = (
            (types.ModuleType, definitions.of_module),
            (type, definitions.of_class),
            (types.FunctionType, definitions.of_function),
            (types.CodeType, code_elements),
            # Pickle would save the name only, but any function can be bound to any object.
            (types.MethodType, lambda method: all_of("method", (method.__self__, method.__func__))),
            # Its content is no part of it: `observation` records which variables are read.
            (type(os.environ), lambda environment: iter([word("environment")])),
        )

    def of(self, value: Any) -> Elements:
        """Yield the description of an object that is not plain."""
        describe = next((describe for kind, describe in self._by_kind if isinstance(value, kind)), None)
        if describe is not None:
            yield from describe(value)
        elif type(value) in (tuple, list, set, frozenset, dict):
            yield from _container(value)
        elif hasattr(type(value), "__fingerprint__"):
            # A class of this package with state that cannot be described, such as a compiled program: it names its
            # own inputs.
            yield from all_of("own", (type(value), value.__fingerprint__()))
            # Hooks that the user has added.
            hooks = ("_forward_hooks", "_forward_pre_hooks")
            yield from all_of("hooks", [hook for name in hooks for hook in getattr(value, name, {}).values()])
        elif (array := array_content(value)) is not None:
            yield from array
        elif is_torch(value, "nn", "Module"):
            yield from _network(value)
        elif is_torch(value, "fx", "Graph"):
            # Not as an object: its nodes refer to one another, and to the code lines that they were traced from.
            yield word("graph", str(value).encode())
            yield from all_of("targets", [node.target for node in value.nodes])
        else:
            yield from _saved(value)


def _network(module: Any) -> Elements:
    """Describe a torch.nn.Module: class, plain attributes, parameters, buffers, hooks, children.

    Evaluation does not depend on gradients, training flags, backward hooks and the numbers of hooks; these are
    left out.
    """
    yield ReferredObject(type(module))
    torch: Any = sys.modules["torch"]
    yield word("default", str(torch.get_default_dtype()).encode())
    everywhere = torch.nn.modules.module
    for hooks in (everywhere._global_forward_hooks, everywhere._global_forward_pre_hooks):
        yield from all_of("hooks of all modules", hooks.values())
    state = dict(vars(module))
    if isinstance(module, torch.fx.GraphModule):
        # The graph is in the generated class already; `meta` has notes of tools, which do not compute anything.
        state.pop("_graph", None)
        state.pop("meta", None)
    for name in sorted(vars(torch.nn.Module()).keys() & state.keys()):
        content = state.pop(name)
        if name in ("_parameters", "_buffers", "_modules"):
            yield from all_of(name, (*content.keys(), *content.values()))
        elif name in ("_forward_hooks", "_forward_pre_hooks"):
            yield from all_of(name, content.values())
    yield from named("attributes", state)


def _saved(value: Any) -> Elements:
    """Describe an object by what pickle would save: its constructor, its state and its items."""
    try:
        registered = copyreg.dispatch_table.get(type(value))
        saved = registered(value) if registered else value.__reduce_ex__(4)
    except Exception as error:  # `__reduce_ex__` is code of the user's class, and may raise anything.
        raise NotFingerprintableError(f"an object of type {type(value).__qualname__}: {error}") from error
    if isinstance(saved, str):
        yield word("global", full_name(getattr(value, "__module__", None), saved).encode())
        yield ReferredObject(getattr(value, "__wrapped__", None))
        return
    constructor, arguments, state, items, pairs = (*saved, None, None, None)[:5]
    yield ReferredObject(type(value))
    yield from all_of("object", (constructor, arguments, _in_order(state), tuple(items or ()), tuple(pairs or ())))


def identity(value: Any) -> Elements:
    """Describe an object by its identity and attributes, as its content cannot be described."""
    yield word("identity", str(id(value)).encode())
    attributes = getattr(value, "__dict__", None)
    if isinstance(attributes, dict):
        yield from named("attributes", attributes)


def _container(value: Any) -> Elements:
    if type(value) in (tuple, list):
        yield from all_of(type(value).__name__, value)
    elif type(value) is dict:
        yield from all_of("keys", value.keys())
        yield from all_of("values", value.values())
    else:
        yield word(type(value).__name__)
        yield UnorderedObjects(value)


def _in_order(state: object) -> object:
    """Return the attributes of an object sorted by name: the order in which they were set does not matter."""
    if type(state) is dict and all(type(name) is str for name in state):
        return dict(sorted(state.items()))
    return state
