"""Fingerprints: equal for equal content, in any process; different for all that could change a result."""

from __future__ import annotations

import collections
import copy
import enum
import functools
import itertools
import json
import math
import os
import pickle
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from pytest_biastransfer.fingerprints import fingerprint
from tests.support.fingerprinted_objects import Linked, Settings, Slotted

quick = settings(max_examples=100, deadline=None)


NAN = float("nan")
scalars = st.one_of(
    st.sampled_from([None, True, False, 0, 1, 0.0, -0.0, 1.0, NAN, 0j, 1j, "", "1", b"", b"1", "a", b"a", ...]),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=True),
    st.text(max_size=4),
    st.binary(max_size=4),
)
hashables = st.recursive(scalars, lambda inner: st.lists(inner, max_size=2).map(tuple), max_leaves=3)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.sets(hashables, max_size=3),
        st.frozensets(hashables, max_size=3),
        st.dictionaries(hashables, inner, max_size=3),
    ),
    max_leaves=6,
)


def canonical(value: Any) -> object:
    """Return what is equal for equal values of equal types; 1, True and 1.0 are three values."""
    kind = type(value).__name__
    if isinstance(value, float):
        return (kind, "nan" if math.isnan(value) else struct.pack("<d", value))
    if isinstance(value, complex):
        return (kind, canonical(value.real), canonical(value.imag))
    if isinstance(value, list | tuple):
        return (kind, *map(canonical, value))
    if isinstance(value, set | frozenset):
        return (kind, frozenset(collections.Counter(map(canonical, value)).items()))
    if isinstance(value, dict):
        return (kind, *((canonical(key), canonical(content)) for key, content in value.items()))
    return (kind, value)


@settings(max_examples=300, deadline=None)
@given(values, values)
@example(1, True)
@example(1, 1.0)
@example(0.0, -0.0)
@example(NAN, float("nan"))
@example([1], (1,))
@example(["ab", "c"], ["a", "bc"])
@example([[1], 2], [[1, 2]])
@example([[], []], [[[]]])
@example({"a": 1}, {"a": True})
@example({"a": 1}, [("a", 1)])
@example({1, 2}, frozenset({1, 2}))
@example({1}, {True})
@example("b'a'", b"a")
@example("None", None)
@example(0j, complex(-0.0, 0.0))
def test_values_have_equal_fingerprints_if_and_only_if_they_and_their_types_are_equal(
    one: object, other: object
) -> None:
    assert (fingerprint(one) == fingerprint(other)) == (canonical(one) == canonical(other))


@quick
@given(values)
def test_a_copy_of_a_value_has_its_fingerprint(value: object) -> None:
    assert fingerprint(pickle.loads(pickle.dumps(value))) == fingerprint(value)
    assert fingerprint(copy.deepcopy(value)) == fingerprint(value)


@quick
@given(st.lists(values, max_size=3), st.lists(values, max_size=3))
def test_several_parts_have_equal_fingerprints_if_and_only_if_all_of_them_are_equal(
    one: list[object], other: list[object]
) -> None:
    assert (fingerprint(*one) == fingerprint(*other)) == (canonical(one) == canonical(other))


@quick
@given(st.lists(hashables, min_size=2, max_size=5, unique=True), st.randoms(use_true_random=False))
def test_the_order_of_a_set_decides_nothing_and_that_of_a_mapping_counts(members: list[object], random: Any) -> None:
    shuffled = list(members)
    random.shuffle(shuffled)
    assert fingerprint(set(members)) == fingerprint(set(shuffled))
    # The order of a mapping is visible to whoever walks over it.
    equal = fingerprint(dict.fromkeys(members)) == fingerprint(dict.fromkeys(shuffled))
    assert equal == (canonical(members) == canonical(shuffled))


def test_a_fingerprint_is_32_hexadecimal_digits() -> None:
    assert len(fingerprint(1)) == 32
    assert int(fingerprint(1), 16) >= 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (range(3), range(4)),
        (slice(1, 2), slice(1, 3)),
        (Path("a"), Path("b")),
        (Path("a"), "a"),
        (int, float),
        (len, sum),
        (str.upper, str.lower),
        (np.exp, np.sin),
        (np.mean, np.median),
        (np.float32, np.float64),
        (np.dtype("f4"), np.dtype("f8")),
        (torch.float32, torch.float64),
        (torch.device("cpu"), torch.device("cuda:0")),
        (torch.Size([1, 2]), torch.Size([2, 1])),
        (torch.relu, torch.sigmoid),
        (torch.Tensor.add, torch.Tensor.mul),
        (nn.functional.relu, nn.functional.gelu),
        (functools.partial(int, base=2), functools.partial(int, base=3)),
        (functools.partial(int, "1"), functools.partial(int, "2")),
        (os.path.join, os.path.split),
        (json, os),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_library_objects_that_differ_have_different_fingerprints(one: object, other: object) -> None:
    assert fingerprint(one) == fingerprint(one)
    assert fingerprint(one) != fingerprint(other)


class Colour(enum.Enum):
    RED = 1
    GREEN = 2


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Flags(enum.Flag):
    A = 1
    B = 2


class Point(NamedTuple):
    x: int
    y: int


def linked(*contents: object) -> Linked:
    ring = [Linked(content) for content in contents]
    for one, other in zip(ring, [*ring[1:], ring[0]], strict=True):
        one.neighbour = other
    return ring[0]


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (lambda: Colour.RED, lambda: Colour.GREEN),
        (lambda: Level.LOW, lambda: Level.HIGH),
        (lambda: Flags.A | Flags.B, lambda: Flags.A),
        (lambda: Point(1, 2), lambda: Point(1, 3)),
        (lambda: Point(1, 2), lambda: (1, 2)),
        (lambda: Settings(1, ["a"]), lambda: Settings(1, ["b"])),
        (lambda: Slotted(1), lambda: Slotted(2)),
        (lambda: linked(1, 2), lambda: linked(1, 3)),
        (lambda: linked(1, 1), lambda: linked(1, 1, 2)),
        (lambda: collections.OrderedDict(a=1), lambda: {"a": 1}),
        (lambda: Slotted(1).describe, lambda: Slotted(2).describe),
        (lambda: Slotted(1).describe, lambda: Slotted(1).display),
    ],
)
def test_objects_are_their_type_and_content(make: Callable[[], object], change: Callable[[], object]) -> None:
    assert fingerprint(make()) == fingerprint(make())
    assert fingerprint(make()) != fingerprint(change())


def doubled(times: int) -> list[object]:
    nested: list[object] = [1]
    for _ in range(times):
        nested = [nested, nested]
    return nested


def test_an_object_that_is_referred_to_often_is_described_once() -> None:
    # As many paths lead to the innermost list as there are atoms in the universe.
    assert fingerprint(doubled(266)) == fingerprint(pickle.loads(pickle.dumps(doubled(266))))
    assert fingerprint(doubled(266)) != fingerprint(doubled(267))


def test_one_object_twice_is_two_equal_objects() -> None:
    part = [1, {"a": 2}]
    assert fingerprint([part, part]) == fingerprint([part, copy.deepcopy(part)])


def chain(length: int, last: object) -> Linked:
    first = current = Linked(0)
    for number in range(1, length):
        current.neighbour = Linked(number)
        current = current.neighbour
    current.neighbour = Linked(last)
    return first


def test_a_long_chain_of_objects_is_followed_to_its_end() -> None:
    length = 2 * sys.getrecursionlimit()
    before = fingerprint(chain(length, "a"))
    assert fingerprint(chain(length, "a")) == before
    assert fingerprint(chain(length, "b")) != before


def web(content: object) -> list[Linked]:
    """Return objects that all know one another."""
    nodes = [Linked(number) for number in range(30)]
    nodes[7].content = content
    for node in nodes:
        node.neighbour = cast(Any, nodes)
    return nodes


def test_objects_that_know_one_another_are_described_once_each() -> None:
    assert fingerprint(web("a")) == fingerprint(pickle.loads(pickle.dumps(web("a"))))
    assert fingerprint(web("a")) != fingerprint(web("b"))
    # The same web, met at another of its objects first.
    assert fingerprint(web("a")[3], web("a")) == fingerprint(web("a")[3], web("a"))


class Team:
    """Its members are in no order, and know it."""

    def __init__(self, *names: str) -> None:
        self.members = {Linked(name) for name in names}
        for member in self.members:
            member.neighbour = cast(Any, self)


def test_a_set_of_objects_that_lead_back_to_it_is_fingerprinted() -> None:
    prints = {fingerprint(Team(*names)) for names in itertools.permutations("abc")}
    assert len(prints) == 1
    assert fingerprint(Team("a", "b", "d")) not in prints
