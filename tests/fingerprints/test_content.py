"""Fingerprints: equal for equal content, in any process; different for all that could change a result."""

from __future__ import annotations

import array
import collections
import contextlib
import copy
import decimal
import enum
import functools
import importlib
import io
import itertools
import json
import math
import multiprocessing
import os
import pickle
import random
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

import pytest_biastransfer
from pytest_biastransfer import Square
from pytest_biastransfer.fingerprints import NotFingerprintableError, fingerprint
from pytest_biastransfer.interventions import BatchInfo
from pytest_biastransfer.interventions.colors import rgb

quick = settings(max_examples=100, deadline=None)


def fingerprint_or_refusal(value: object) -> str:
    """Return the fingerprint, or something unequal to any other where there is none."""
    try:
        return fingerprint(value)
    except NotFingerprintableError:
        return f"refused {next(REFUSALS)}"


REFUSALS = itertools.count()

# ------------------------------------------------------------------------------------ plain values

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


@dataclass
class Settings:
    size: int
    names: list[str]


class Slotted:
    __slots__ = ("content", "unset")

    def __init__(self, content: object) -> None:
        self.content = content

    def describe(self) -> str:
        return f"{self.content}"

    def display(self) -> None:
        self.content = self.describe()


class Linked:
    """An object that knows itself and its neighbour."""

    def __init__(self, content: object) -> None:
        self.content = content
        self.me = self
        self.neighbour: Linked | None = None


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


# --------------------------------------------------------------------------------- tensors and arrays

arrays = hnp.arrays(
    dtype=st.sampled_from(["u1", "i4", "i8", "f2", "f4", "f8", "?", "c8"]),
    shape=hnp.array_shapes(min_dims=0, max_dims=3, max_side=3),
)


@quick
@given(arrays, arrays)
def test_arrays_have_equal_fingerprints_if_and_only_if_dtype_shape_and_bytes_are_equal(
    one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]
) -> None:
    equal = (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    assert (fingerprint(one) == fingerprint(other)) == equal
    tensors = torch.from_numpy(one.copy()), torch.from_numpy(other.copy())
    assert (fingerprint(tensors[0]) == fingerprint(tensors[1])) == equal


@quick
@given(arrays)
def test_the_layout_in_memory_is_no_content(content: np.ndarray[Any, Any]) -> None:
    assert fingerprint(content.copy(order="F")) == fingerprint(content)
    doubled = np.repeat(content[None], 2, axis=0)[::-1][0]
    assert fingerprint(doubled) == fingerprint(content)
    tensor = torch.from_numpy(content.copy())
    turned = tensor.mT.contiguous().mT if tensor.ndim >= 2 else tensor.clone()
    assert fingerprint(turned) == fingerprint(tensor)


@pytest.mark.parametrize("dtype", ["u1", "f4", "i8"])
def test_arrays_and_tensors_without_elements_are_fingerprinted(dtype: str) -> None:
    flat, wide = np.empty((0,), dtype), np.empty((0, 3), dtype)
    assert fingerprint(flat) == fingerprint(flat.copy()) != fingerprint(wide)
    tensors = torch.from_numpy(flat), torch.from_numpy(wide)
    assert fingerprint(tensors[0]) == fingerprint(tensors[0].clone()) != fingerprint(tensors[1])


def test_gradients_are_no_content_of_a_tensor() -> None:
    tensor = torch.tensor([1.0, 2.0])
    tracked = tensor.clone().requires_grad_()
    torch.autograd.backward(tracked.square().sum())
    assert fingerprint(tracked) == fingerprint(tensor)


def test_precisions_that_numpy_does_not_know_are_fingerprinted() -> None:
    one = torch.tensor([1.0, 2.0], dtype=torch.bfloat16)
    assert fingerprint(one) == fingerprint(one.clone())
    assert fingerprint(one) != fingerprint(one * 2)
    assert fingerprint(one) != fingerprint(one.half())


# -------------------------------------------------------------------------------------------- modules


class Net(nn.Module):
    offset: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.scale = 2.0
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(4, 2)
        self.register_buffer("offset", torch.zeros(2))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(self.body(images).mean(dim=(2, 3)))
        return scores * self.scale + self.offset


class OtherNet(Net):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return -super().forward(images)


def net() -> Net:
    torch.manual_seed(0)
    return Net()


def flip_last_bit(model: Net) -> None:
    with torch.no_grad():
        model.head.weight.view(torch.int32)[1, 2] ^= 1


def set_running_mean(model: Net) -> None:
    model.train()(torch.rand(2, 3, 8, 8))
    model.eval()


def double_output(module: nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
    return output * 2


def halve_output(module: nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
    return output / 2


def double_input(module: nn.Module, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    return (args[0] * 2,)


def override_forward(model: Net, by: float) -> None:
    plain = model.forward
    model.forward = lambda images: plain(images) * by  # type: ignore[method-assign]


def bind_forward(model: Net, by: float) -> None:
    def forward(self: Net, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(images)
        return scores * by

    model.forward = types.MethodType(forward, model)  # type: ignore[method-assign]


CHANGES: dict[str, Callable[[Net], object]] = {
    "nothing": lambda model: None,
    "one bit of a weight": flip_last_bit,
    "bias": lambda model: model.head.bias.data.add_(1e-3),
    "plain attribute": lambda model: setattr(model, "scale", 3.0),
    "new attribute": lambda model: setattr(model, "temperature", 3.0),
    "attribute in a list": lambda model: setattr(model, "classes", ["a", "b"]),
    "buffer": lambda model: model.offset.add_(1),
    "BatchNorm statistics": set_running_mean,
    "BatchNorm momentum": lambda model: setattr(model.body[1], "eps", 1e-3),
    "Dropout rate": lambda model: setattr(model.body[3], "p", 0.2),
    "activation": lambda model: model.body.__setitem__(2, nn.GELU()),
    "one more layer": lambda model: model.body.append(nn.Identity()),
    "a child that is not used": lambda model: model.add_module("extra", nn.Identity()),
    "precision": lambda model: model.double(),
    "shape": lambda model: setattr(model.head, "weight", nn.Parameter(model.head.weight.data.T.contiguous())),
    "forward hook": lambda model: model.register_forward_hook(double_output),
    "another forward hook": lambda model: model.register_forward_hook(halve_output),
    "forward hook of a child": lambda model: model.head.register_forward_hook(double_output),
    "two forward hooks": lambda model: [model.register_forward_hook(double_output) for _ in range(2)],
    "forward pre-hook": lambda model: model.register_forward_pre_hook(double_input),
    "overridden forward": lambda model: override_forward(model, 2.0),
    "overridden forward by another value": lambda model: override_forward(model, 3.0),
    "forward bound to it": lambda model: bind_forward(model, 2.0),
    "forward bound to it, by another value": lambda model: bind_forward(model, 3.0),
    "class": lambda model: setattr(model, "__class__", OtherNet),
    "parametrization": lambda model: nn.utils.parametrizations.weight_norm(model.head),
}


def changed_by(name: str) -> Net:
    model = net()
    CHANGES[name](model)
    return model


def test_every_change_of_a_model_gives_a_fingerprint_of_its_own() -> None:
    prints = {name: fingerprint(changed_by(name)) for name in CHANGES}
    twins = [(one, other) for one, other in itertools.combinations(CHANGES, 2) if prints[one] == prints[other]]
    assert twins == []


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_the_same_change_gives_the_same_fingerprint(name: str) -> None:
    torch.manual_seed(1)
    once = fingerprint(changed_by(name))
    assert fingerprint(changed_by(name)) == once


def train_a_step(model: Net) -> None:
    model.body.eval()
    torch.autograd.backward(model(torch.rand(2, 3, 8, 8)).sum())


def run_often(model: Net) -> None:
    model.eval()
    for _ in range(60):  # so often that Python specializes the bytecode
        model(torch.rand(1, 3, 5, 5))


NO_CHANGES: dict[str, Callable[[Net], object]] = {
    "evaluation mode": lambda model: model.eval(),
    "training mode of a child": lambda model: model.body.eval(),
    "frozen": lambda model: model.requires_grad_(False),
    "gradients": train_a_step,
    "evaluated": run_often,
    "hook that was removed": lambda model: model.register_forward_hook(double_output).remove(),
    "backward hook": lambda model: model.register_full_backward_hook(lambda *args: None),
    "state dict loaded": lambda model: model.load_state_dict(net().state_dict()),
    "moved and back": lambda model: model.double().float(),
    "memory format": lambda model: model.to(memory_format=torch.channels_last),
    "set to the same": lambda model: setattr(model, "scale", 2.0),
}


@pytest.mark.parametrize("name", sorted(NO_CHANGES))
def test_what_evaluation_does_not_depend_on_leaves_the_fingerprint(name: str) -> None:
    model = net()
    NO_CHANGES[name](model)
    assert fingerprint(model) == fingerprint(net())


def test_a_model_rebuilt_from_a_state_dict_has_the_fingerprint_of_the_original() -> None:
    original = net()
    set_running_mean(original)
    buffer = io.BytesIO()
    torch.save(original.state_dict(), buffer)
    torch.manual_seed(99)
    rebuilt = Net()
    assert fingerprint(rebuilt) != fingerprint(original)
    buffer.seek(0)
    rebuilt.load_state_dict(torch.load(buffer, weights_only=True))
    assert fingerprint(rebuilt) == fingerprint(original)


def test_a_copied_and_a_pickled_model_have_the_fingerprint_of_the_original() -> None:
    original = net()
    assert fingerprint(copy.deepcopy(original)) == fingerprint(original)
    assert fingerprint(pickle.loads(pickle.dumps(original))) == fingerprint(original)


def test_which_layer_has_which_name_and_which_comes_first_counts() -> None:
    layers = [("one", nn.ReLU()), ("two", nn.GELU())]
    in_order = nn.Sequential(collections.OrderedDict(layers))
    turned = nn.Sequential(collections.OrderedDict(layers[::-1]))
    renamed = nn.Sequential(collections.OrderedDict([("one", nn.GELU()), ("two", nn.ReLU())]))
    assert len({fingerprint(module) for module in (in_order, turned, renamed)}) == 3


def test_a_parameter_is_not_a_buffer() -> None:
    class Holder(nn.Module):
        content: torch.Tensor

    one, other = Holder(), Holder()
    one.register_parameter("content", nn.Parameter(torch.ones(1)))
    other.register_buffer("content", torch.ones(1))
    assert fingerprint(one) != fingerprint(other)


def test_a_model_that_refers_to_itself_is_fingerprinted() -> None:
    one, other = net(), net()
    for model in (one, other):
        for part in (model, model.head):
            setattr(part, "owner", [model])  # noqa: B010 - no parameter, module or tensor
    assert fingerprint(one) == fingerprint(other)
    assert fingerprint(one) != fingerprint(net())


def traced(activation: nn.Module) -> nn.Module:
    return torch.fx.symbolic_trace(nn.Sequential(*(nn.ReLU() for _ in range(20)), activation))


@pytest.mark.timeout(30)
def test_a_traced_model_is_fingerprinted_in_no_time() -> None:
    assert fingerprint(traced(nn.GELU())) == fingerprint(traced(nn.GELU()))
    assert fingerprint(traced(nn.GELU())) != fingerprint(traced(nn.SELU()))


# ----------------------------------------------------------------------------------- functions, classes


def multiplier(factor: float) -> Callable[[float], float]:
    return lambda value: value * factor


def defaulting(factor: float) -> Callable[[float], float]:
    def multiply(value: float, by: float = factor) -> float:
        return value * by

    return multiply


def keyword_defaulting(factor: float) -> Callable[[float], float]:
    def multiply(value: float, *, by: float = factor) -> float:
        return value * by

    return multiply


def nested(factor: float) -> Callable[[float], float]:
    inner = multiplier(factor)

    def outer(value: float) -> float:
        return inner(value)

    return outer


def by_tensor(factor: float) -> Callable[[float], float]:
    factors = torch.tensor([1.0, factor])
    return lambda value: value * float(factors[1])


def by_method(factor: float) -> Callable[[float], float]:
    return functools.partial(Multiplier(factor).multiply)


def by_local_class(factor: float) -> Callable[[float], float]:
    class Local:
        def __call__(self, value: float) -> float:
            return value * factor

    return Local()


def by_static_method(factor: float) -> Callable[[float], float]:
    class Local:
        @staticmethod
        def multiply(value: float) -> float:
            return value * factor

        def __call__(self, value: float) -> float:
            return self.multiply(value)

    return Local()


def by_property(factor: float) -> Callable[[float], float]:
    class Local:
        @property
        def factor(self) -> float:
            return factor

        def __call__(self, value: float) -> float:
            return value * self.factor

    return Local()


def by_class_attribute(value: float) -> Callable[[float], float]:
    class Local:
        factor = value

        def __call__(self, value: float) -> float:
            return value * self.factor

    return Local()


def by_class_list(value: float) -> Callable[[float], float]:
    class Local:
        factors = [value]  # noqa: RUF012 - what users write

        def __call__(self, value: float) -> float:
            return value * self.factors[0]

    return Local()


def by_bound_function(factor: float) -> Callable[[float], float]:
    def multiply(self: object, value: float) -> float:
        return value * factor

    return types.MethodType(multiply, Slotted(None))


def by_cached_property(factor: float) -> Callable[[float], float]:
    class Local:
        @functools.cached_property
        def factor(self) -> float:
            return factor

        def __call__(self, value: float) -> float:
            return value * self.factor

    return Local()


def by_cached_method(factor: float) -> Callable[[float], float]:
    class Local:
        @functools.cache  # noqa: B019 - what users write
        def multiply(self, value: float) -> float:
            return value * factor

        def __call__(self, value: float) -> float:
            return self.multiply(value)

    return Local()


def by_cached_function(factor: float) -> Callable[[float], float]:
    return functools.cache(multiplier(factor))


class Multiplier:
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def multiply(self, value: float) -> float:
        return value * self.factor


@pytest.mark.parametrize(
    "make",
    [
        multiplier,
        defaulting,
        keyword_defaulting,
        nested,
        by_tensor,
        by_method,
        by_local_class,
        by_static_method,
        by_property,
        by_class_attribute,
        by_class_list,
        by_cached_function,
        by_bound_function,
        by_cached_property,
        by_cached_method,
    ],
)
def test_functions_that_hold_another_value_have_another_fingerprint(
    make: Callable[[float], Callable[[float], float]],
) -> None:
    # The premise: they compute different things.
    assert make(2.0)(1.0) == 2.0
    assert make(3.0)(1.0) == 3.0
    assert fingerprint(make(2.0)) == fingerprint(make(2.0))
    assert fingerprint(make(2.0)) != fingerprint(make(3.0))


def test_functions_that_compute_something_else_have_another_fingerprint() -> None:
    functions: list[Callable[[Any], Any]] = [
        lambda value: value + 1,
        lambda value: value + 2,
        lambda value: value - 1,
        lambda value: value.real,
        lambda value: value.imag,
        lambda value: min(value, 1),
        lambda value: max(value, 1),
        lambda value: [one + 1 for one in value],
        lambda value: [one + 2 for one in value],
        lambda value: sorted(value, key=lambda one: one + 1),
        lambda value: sorted(value, key=lambda one: one + 2),
    ]
    assert len({fingerprint(function) for function in functions}) == len(functions)


def test_a_function_that_calls_itself_is_fingerprinted() -> None:
    def countdown(start: int) -> Callable[[int], int]:
        def count(number: int) -> int:
            return start if number == 0 else count(number - 1)

        return count

    assert fingerprint(countdown(1)) == fingerprint(countdown(1))
    assert fingerprint(countdown(1)) != fingerprint(countdown(2))


def test_a_function_that_has_run_often_keeps_its_fingerprint() -> None:
    def halved(value: float) -> float:
        return value / 2 if value > 1 else value * 2

    before = fingerprint(halved)
    for number in range(5000):
        halved(number)
    assert fingerprint(halved) == before


SCALE = 1.0
TABLE = [1.0]


def uses_scale(value: float) -> float:
    return value * SCALE


def uses_scale_inside(value: float) -> list[float]:
    return [value * SCALE for _ in range(1)]


def uses_scale_later(value: float) -> float:
    def scaled() -> float:
        return value * SCALE

    return scaled()


def calls_what_uses_scale(value: float) -> float:
    return uses_scale(value)


def uses_table(value: float) -> float:
    return value * TABLE[0]


@pytest.mark.parametrize(
    ("function", "constant", "value"),
    [
        (uses_scale, "SCALE", 2.0),
        (uses_scale_inside, "SCALE", 2.0),
        (uses_scale_later, "SCALE", 2.0),
        (calls_what_uses_scale, "SCALE", 2.0),
        (uses_table, "TABLE", [2.0]),
    ],
)
def test_a_constant_that_the_source_does_not_tell_is_part_of_the_functions_that_use_it(
    function: Callable[[float], object], constant: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if it had been read from a file or from the environment.
    before, result = fingerprint(function), function(1.0)
    monkeypatch.setitem(globals(), constant, value)
    assert function(1.0) != result
    assert fingerprint(function) != before
    monkeypatch.undo()
    assert fingerprint(function) == before


def test_an_attribute_set_on_a_class_is_part_of_its_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(Multiplier(1.0))
    monkeypatch.setattr(Multiplier, "multiply", lambda self, value: value)
    assert fingerprint(Multiplier(1.0)) != before
    monkeypatch.undo()
    monkeypatch.setattr(Multiplier, "mode", "fast", raising=False)
    assert fingerprint(Multiplier(1.0)) != before
    monkeypatch.undo()
    assert fingerprint(Multiplier(1.0)) == before


def _in_module(kind: type, module_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a class stand in another module, of the same file."""
    module = types.ModuleType(module_name)
    module.__file__ = sys.modules[kind.__module__].__file__
    monkeypatch.setitem(sys.modules, module_name, module)
    monkeypatch.setattr(kind, "__module__", module_name)


@pytest.mark.parametrize("kind", [Square, BatchInfo], ids=lambda kind: kind.__name__)
def test_a_class_of_this_package_has_the_same_fingerprint_in_whichever_of_its_modules(
    kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint(kind), fingerprint(Square())
    _in_module(kind, "pytest_biastransfer.moved_here", monkeypatch)
    assert (fingerprint(kind), fingerprint(Square())) == before


def test_a_function_of_this_package_has_the_same_fingerprint_in_whichever_of_its_modules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = fingerprint(rgb)
    monkeypatch.setattr(rgb, "__module__", "pytest_biastransfer.moved_here")
    assert fingerprint(rgb) == before


def test_a_class_of_somebody_else_has_another_fingerprint_in_another_module(monkeypatch: pytest.MonkeyPatch) -> None:
    class Trigger:
        """A class of the tests."""

    before = fingerprint(Trigger)
    _in_module(Trigger, "pytest_biastransfer_of_others.moved_here", monkeypatch)
    assert fingerprint(Trigger) != before


def test_no_two_public_classes_of_this_package_have_the_same_name() -> None:
    """The module does not distinguish them in fingerprints, so their names must."""
    sources = Path(pytest_biastransfer.__file__).parent.rglob("*.py")
    names = [
        name
        for source in sources
        for name in re.findall(r"^class\s+(\w+)", source.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    twice = {name for name, count in collections.Counter(names).items() if count > 1 and not name.startswith("_")}
    assert names
    assert twice == set()


# -------------------------------------------------------------------------- what cannot be described


class Text(str):
    pass


class Queue(collections.deque[int]):
    pass


class Named(list[int]):
    def __init__(self, *members: int, name: str) -> None:
        super().__init__(members)
        self.name = name


class NamedMapping(dict[str, int]):
    def __init__(self, name: str) -> None:
        self.name = name


class Noise:
    """A callable with a generator of its own, as users write them."""

    def __init__(self, seed: int) -> None:
        self.generator = random.Random(seed)


def masked(*mask: bool) -> object:
    return np.ma.masked_array([1, 2], mask=mask)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Text("a"), Text("b")),
        (Queue([1]), Queue([2])),
        (Named(1, name="a"), Named(1, name="b")),
        (NamedMapping("a"), NamedMapping("b")),
        (collections.defaultdict(int), collections.defaultdict(list)),
        (collections.deque([1]), collections.deque([2])),
        (random.Random(1), random.Random(2)),
        (Noise(1), Noise(2)),
        (np.random.default_rng(1), np.random.default_rng(2)),
        (np.random.RandomState(1), np.random.RandomState(2)),
        (torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)),
        (io.BytesIO(b"a"), io.BytesIO(b"b")),
        (io.StringIO("a"), io.StringIO("b")),
        (ValueError("a"), ValueError("b")),
        (array.array("i", [1]), array.array("i", [2])),
        (bytearray(b"a"), bytearray(b"b")),
        (decimal.Decimal(1), decimal.Decimal(2)),
        (masked(False, True), masked(False, False)),
        (slice(np.arange(3), None), slice(np.arange(4), None)),
        (slice(np.zeros(2000)), slice(np.eye(1, 2000, 1000)[0])),
        (10**5000, 10**5000 + 1),
        (torch.tensor([1 + 2j]).conj(), torch.tensor([1 + 3j]).conj()),
        (weakref.ref(Settings), weakref.ref(Multiplier)),
        ([].append, [1].append),
    ],
    ids=lambda value: type(value).__name__,
)
def test_content_held_outside_of_attributes_counts_or_is_refused_but_is_never_left_out(
    one: object, other: object
) -> None:
    assert fingerprint_or_refusal(one) != fingerprint_or_refusal(other)


def generator() -> Iterator[int]:
    yield 1


@pytest.fixture
def opened() -> Iterator[dict[str, Any]]:
    """Yield things that hold on to the operating system, and close them."""
    with contextlib.ExitStack() as stack:
        yield {
            "text file": stack.enter_context(tempfile.TemporaryFile("w+")),
            "binary file": stack.enter_context(tempfile.TemporaryFile()),
            "unbuffered file": stack.enter_context(tempfile.TemporaryFile(buffering=0)),
            "named file": stack.enter_context(tempfile.NamedTemporaryFile()),
            "socket": stack.enter_context(socket.socket()),
        }


@pytest.mark.parametrize("kind", ["text file", "binary file", "unbuffered file", "named file", "socket"])
def test_what_is_open_is_refused(opened: dict[str, Any], kind: str) -> None:
    with pytest.raises(NotFingerprintableError):
        fingerprint(opened[kind])
    with pytest.raises(NotFingerprintableError):
        fingerprint({"log": [opened[kind]]})


@pytest.mark.parametrize(
    "make",
    [
        generator,
        threading.Lock,
        threading.RLock,
        threading.Thread,
        lambda: memoryview(b"1"),
        sys._getframe,
        lambda: np.array([object()]),
        lambda: torch.eye(2).to_sparse(),
    ],
)
def test_what_has_no_content_to_hash_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(NotFingerprintableError):
        fingerprint(make())
    with pytest.raises(NotFingerprintableError):
        fingerprint(Settings(1, [make()]))  # type: ignore[list-item]


def test_a_model_with_state_that_cannot_be_described_is_refused() -> None:
    model = net()
    setattr(model, "lock", threading.Lock())  # noqa: B010 - no parameter, module or tensor
    with pytest.raises(NotFingerprintableError, match="lock"):
        fingerprint(model)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated")
def test_a_torchscript_model_is_told_from_another_or_refused() -> None:
    images, trace = torch.rand(2, 3, 8, 8), cast(Any, torch.jit.trace)
    models = [trace(net().eval(), images), trace(changed_by("bias").eval(), images)]
    functions = [trace(lambda given: given + 1, images), trace(lambda given: given - 1, images)]
    scripted = [torch.jit.script(nn.ReLU()), torch.jit.script(nn.GELU())]
    for one, other in (models, functions, scripted):
        assert fingerprint_or_refusal(one) != fingerprint_or_refusal(other)


@pytest.mark.parametrize(
    "make",
    [multiprocessing.Lock, multiprocessing.Queue, lambda: torch.quantized_lstm],
    ids=["lock", "queue", "pybind11"],
)
def test_an_object_that_cannot_be_saved_is_refused_with_whatever_error_it_says_so(
    make: Callable[[], object],
) -> None:
    with pytest.raises(NotFingerprintableError):
        fingerprint(Settings(1, [make()]))  # type: ignore[list-item]


def test_the_order_in_which_attributes_were_set_is_no_content() -> None:
    one, other = Linked(1), Linked(1)
    del other.content
    other.content = 1
    assert list(vars(one)) != list(vars(other))
    assert fingerprint(one) == fingerprint(other)


def test_a_variable_that_is_not_set_yet_is_refused_or_described_but_is_no_crash() -> None:
    def make(wanted: bool) -> Callable[[], float]:
        if wanted:
            factor = 2.0
        return lambda: factor

    assert fingerprint_or_refusal(make(False)) != fingerprint_or_refusal(make(True))


# ------------------------------------------------------------------------------------ other processes

PROJECT = {
    "project/__init__.py": "",
    "project/model.py": """
import os

import project.deep
from project import maths
from project.base import Base
from project.blocks import scaled
from project.constants import FACTOR
from project.decorators import doubled
from project.tables import WEIGHTS

class Net(Base):
    def __call__(self, value):
        from project.local import shifted

        return shifted(scaled(value)) * FACTOR * WEIGHTS[0] + project.deep.inner.offset(value)

    @doubled
    def other(self, value):
        return maths.triple(value)
""",
    "project/base.py": "class Base:\n    def start(self):\n        return 1\n",
    "project/blocks.py": "from project.maths import double\n\ndef scaled(value):\n    return double(value)\n",
    "project/maths.py": "def double(value):\n    return 2 * value\n\ndef triple(value):\n    return 3 * value\n",
    "project/constants.py": "FACTOR = 2\n",
    "project/tables.py": "WEIGHTS = [1.0, 2.0]\n",
    "project/decorators.py": "def doubled(function):\n    return lambda *args: 2 * function(*args)\n",
    "project/local.py": "def shifted(value):\n    return value + 1\n",
    "project/deep/__init__.py": "from . import inner\n",
    "project/deep/inner.py": "def offset(value):\n    return 0 * value\n",
    "project/unrelated.py": "def unrelated():\n    return 1\n",
}
OF_NET = "import project.model; print(fingerprint(project.model.Net()))"


def write(directory: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return directory


def run(directory: Path, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    # No bytecode: a file that is changed twice in a second would look unchanged to Python.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment}
    code = f"from pytest_biastransfer.fingerprints import fingerprint\n{code}"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=directory, env=environment, capture_output=True, text=True, check=False
    )


def printed(directory: Path, code: str, **environment: str) -> str:
    done = run(directory, code, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def print_of_net(tmp_path_factory: pytest.TempPathFactory) -> str:
    return printed(write(tmp_path_factory.mktemp("original"), PROJECT), OF_NET)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("project/model.py", "scaled(value)", "scaled(-value)"),
        ("project/base.py", "return 1", "return 2"),
        ("project/blocks.py", "double(value)", "-double(value)"),
        ("project/maths.py", "2 * value", "3 * value"),
        ("project/maths.py", "3 * value", "4 * value"),
        ("project/decorators.py", "2 *", "3 *"),
        ("project/deep/inner.py", "0 *", "1 *"),
        ("project/constants.py", "2", "3"),
        ("project/tables.py", "1.0", "1.5"),
    ],
)
def test_a_change_in_any_file_of_the_users_that_decides_changes_the_fingerprint(
    file: str, old: str, new: str, tmp_path: Path, print_of_net: str
) -> None:
    assert old in PROJECT[file]
    write(tmp_path, PROJECT | {file: PROJECT[file].replace(old, new)})
    assert printed(tmp_path, OF_NET) != print_of_net


FLAT = {
    "net.py": "import sizes\nfrom tables import WEIGHTS\n\ndef net(value):\n    return WEIGHTS[0] * sizes.SIZE\n",
    "tables.py": "WEIGHTS = [1.0, 2.0]\n",
    "sizes.py": "SIZE = 3\n",
}


@pytest.mark.parametrize(("file", "old", "new"), [("tables.py", "1.0", "1.5"), ("sizes.py", "3", "4")])
def test_a_change_in_a_module_without_code_of_its_own_changes_the_fingerprint(
    file: str, old: str, new: str, tmp_path: Path
) -> None:
    code = "from net import net; print(fingerprint(net))"
    before = printed(write(tmp_path / "before", FLAT), code)
    after = write(tmp_path / "after", FLAT | {file: FLAT[file].replace(old, new)})
    assert printed(after, code) != before


def test_a_change_in_a_file_that_is_not_used_changes_nothing(tmp_path: Path, print_of_net: str) -> None:
    write(tmp_path, PROJECT | {"project/unrelated.py": "", "project/more.py": "X = 1\n", "readme.md": "x"})
    assert printed(tmp_path, OF_NET) == print_of_net


def test_another_place_another_time_and_compiled_files_change_nothing(tmp_path: Path, print_of_net: str) -> None:
    write(tmp_path, PROJECT)
    for path in tmp_path.rglob("*.py"):
        os.utime(path, (1, 1))
    compiled = {"PYTHONDONTWRITEBYTECODE": ""}
    assert [printed(tmp_path, OF_NET, **compiled) for _ in range(2)] == [print_of_net] * 2
    shutil.move(tmp_path / "project", tmp_path / "elsewhere" / "deeper" / "project")
    assert printed(tmp_path / "elsewhere" / "deeper", OF_NET) == print_of_net


FROM_THE_ENVIRONMENT = {
    "direct.py": """
import os
SCALE = float(os.environ["SCALE"])
def function(value):
    return value * SCALE
""",
    "inside.py": """
import os
SCALE = float(os.environ["SCALE"])
def function(value):
    return [SCALE * one for one in [value]]
""",
    "helper.py": "import direct\ndef function(value):\n    return direct.function(value)\n",
    "method.py": """
import os
SCALE = float(os.environ["SCALE"])
class Function:
    def __call__(self, value):
        return value * SCALE
function = Function()
""",
    "table.py": """
import json, os
TABLE = json.loads(os.environ["SCALE"])
SCALES = {"one": [TABLE]}
def function(value):
    return value * SCALES["one"][0]
""",
    "elsewhere.py": "from direct import SCALE\ndef function(value):\n    return value * SCALE\n",
    "qualified.py": "import direct\ndef function(value):\n    return value * direct.SCALE\n",
}


@pytest.mark.parametrize("module", sorted(name.removesuffix(".py") for name in FROM_THE_ENVIRONMENT))
def test_a_constant_from_the_environment_is_part_of_what_uses_it(module: str, tmp_path: Path) -> None:
    write(tmp_path, FROM_THE_ENVIRONMENT)
    code = f"from {module} import function; print(function(1.0), fingerprint(function))"
    (one, first), (two, second) = (printed(tmp_path, code, SCALE=scale).split() for scale in ("1", "2"))
    assert one != two
    assert first != second


@pytest.mark.parametrize("known_by", ["__version__", "metadata"])
def test_another_version_of_a_library_changes_what_comes_from_it(known_by: str, tmp_path: Path) -> None:
    found = []
    for version in ("1.0", "2.0"):
        base = tmp_path / version
        place = printed(tmp_path, "import site; print(site.getusersitepackages())", PYTHONUSERBASE=str(base))
        text = f"__version__ = {version!r}\n" if known_by == "__version__" else ""
        metadata = f"Metadata-Version: 2.1\nName: somelibrary\nVersion: {version}\n"
        write(
            Path(place),
            {
                "somelibrary/__init__.py": text + "from somelibrary.layers import act\n",
                "somelibrary/layers.py": "from somelibrary import maths\n\ndef act(value):\n"
                "    return maths.times(value)\n",
                "somelibrary/maths.py": f"def times(value):\n    return {version} * value\n",
                f"somelibrary-{version}.dist-info/METADATA": metadata,
                f"somelibrary-{version}.dist-info/top_level.txt": "somelibrary\n",
                f"somelibrary-{version}.dist-info/RECORD": "somelibrary/__init__.py,,\n",
            },
        )
        code = "import somelibrary; print(fingerprint(somelibrary.act))"
        found.append(printed(tmp_path, code, PYTHONUSERBASE=str(base), PYTHONPATH=place))
    assert found[0] != found[1]


def test_code_typed_into_a_session_is_told_by_what_it_does(tmp_path: Path) -> None:
    typed = "class Typed:\n    def own(self): return {}\nprint(fingerprint(Typed()))"
    found = [printed(tmp_path, typed.format(result)) for result in (1, 1, 2)]
    assert found[0] == found[1] != found[2]


def test_code_of_a_script_is_its_file(tmp_path: Path) -> None:
    script = (
        "from pytest_biastransfer.fingerprints import fingerprint\n"
        "def own(value):\n    return {}\n"
        "print(fingerprint(own))\n"
    )
    found = []
    for name, result in (("one.py", 1), ("two.py", 1), ("three.py", 2)):
        path = write(tmp_path, {name: script.format(result)}) / name
        done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=True)
        found.append(done.stdout)
    assert found[0] == found[1] != found[2]


ZOO = {
    "zoo.py": """
import enum, functools, pathlib
import numpy as np
import torch
from torch import nn

class Kind(enum.Enum):
    FIRST = "first"

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.names = {"dog", "cat", "bird"}

    def forward(self, images):
        return self.layers(images) if "dog" in {"dog", "cat", "bird"} else images

def closure(words):
    return lambda word: word in words and word in {"a", "b", "c"}

def make():
    torch.manual_seed(0)
    return {
        "texts": {"a", "b", "c", "é"},
        "frozen": frozenset({("a", 1), ("b", 2), None}),
        "mapping": {"a": [1.0, True], 2: {"x", "y"}},
        "closure": closure({"one", "two", "three"}),
        "method": Net().forward.__func__,
        "enum": Kind.FIRST,
        "path": pathlib.PurePosixPath("a/b"),
        "array": np.arange(6).reshape(2, 3),
        "tensor": torch.rand(3),
        "module": Net(),
        "partial": functools.partial(nn.functional.gelu, approximate="tanh"),
        "class": Net,
    }
"""
}


def test_equal_content_has_the_same_fingerprint_in_another_process_and_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(write(tmp_path / "here", ZOO))
    zoo = importlib.import_module("zoo")
    here = {name: fingerprint(one) for name, one in zoo.make().items()}
    del sys.modules["zoo"]
    code = "import json, zoo; print(json.dumps({name: fingerprint(one) for name, one in zoo.make().items()}))"
    # Another seed of the hashes orders sets in another way.
    there = json.loads(printed(write(tmp_path / "there" / "deeper", ZOO), code, PYTHONHASHSEED="1"))
    assert here == there
    assert len(set(here.values())) == len(here)
