"""Functions and classes: their code, and the values that it refers to, are in their fingerprints."""

from __future__ import annotations

import collections
import functools
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import pytest_biastransfer
from pytest_biastransfer import Square
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.interventions import BatchInfo
from pytest_biastransfer.interventions.colors import rgb
from tests.support.fingerprinted_objects import Multiplier, Slotted


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
