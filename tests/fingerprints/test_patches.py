"""What somebody else has put into the classes and modules of a library is part of what uses them."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any, cast
from unittest import mock

import pytest
import torch
import torchvision
from torch import nn

from pytest_biastransfer import Circle, Square
from pytest_biastransfer.fingerprints import ExaminedCode, fingerprint
from tests.support.fingerprinted_objects import fingerprint_or_refusal

Patch = Callable[[pytest.MonkeyPatch, float], object]


def scaling(factor: float) -> Callable[[Any, torch.Tensor], torch.Tensor]:
    return lambda self, images: images * factor


def wrapper(function: Any, factor: float) -> Any:
    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs) * factor

    return wrapped


def replace_code(patch: pytest.MonkeyPatch, factor: float) -> None:
    def forward(self: Any, input: Any, by: Any = factor) -> Any:
        return input * by

    patch.setattr(nn.ReLU.forward, "__code__", forward.__code__)
    patch.setattr(nn.ReLU.forward, "__defaults__", forward.__defaults__)


def hook_everywhere(patch: pytest.MonkeyPatch, factor: float) -> None:
    hooks = torch.nn.modules.module._global_forward_hooks
    patch.setitem(cast(Any, hooks), 12345, lambda module, args, output: output * factor)


def by_code(patch: pytest.MonkeyPatch, factor: float) -> None:
    names: dict[str, Any] = {}
    exec(f"def forward(self, images):\n    return images * {factor}", names)
    patch.setattr(nn.ReLU, "forward", names["forward"])


PATCHES: dict[str, Patch] = {
    "method": lambda patch, factor: patch.setattr(nn.ReLU, "forward", scaling(factor)),
    "method of a base": lambda patch, factor: patch.setattr(nn.Module, "__call__", scaling(factor)),
    "inherited method": lambda patch, factor: patch.setattr(nn.ReLU, "__call__", scaling(factor), raising=False),
    "wrapped method": lambda patch, factor: patch.setattr(nn.ReLU, "forward", wrapper(nn.ReLU.forward, factor)),
    "wrapped by torch": lambda patch, factor: patch.setattr(nn.ReLU, "forward", torch.no_grad()(scaling(factor))),
    "static method": lambda patch, factor: patch.setattr(
        nn.ReLU, "forward", staticmethod(functools.partial(scaling(factor), None).func)
    ),
    "partial method": lambda patch, factor: patch.setattr(
        nn.ReLU, "forward", functools.partialmethod(lambda self, by, images: images * by, factor)
    ),
    "property": lambda patch, factor: patch.setattr(
        nn.ReLU, "inplace", property(lambda self: factor == 2), raising=False
    ),
    "made by code": by_code,
    "code of a method": replace_code,
    "function of a module": lambda patch, factor: patch.setattr(
        nn.functional, "relu", lambda images, inplace=False: images * factor
    ),
    "wrapped function of a module": lambda patch, factor: patch.setattr(
        nn.functional, "relu", wrapper(nn.functional.relu, factor)
    ),
    "class attribute": lambda patch, factor: patch.setattr(nn.ReLU, "slope", factor, raising=False),
    "hook of all modules": hook_everywhere,
    "default precision": lambda patch, factor: torch.set_default_dtype(torch.float64 if factor == 2 else torch.float16),
}


@pytest.mark.parametrize("name", PATCHES)
def test_a_patched_library_is_another_model(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Flatten(), nn.ReLU())
    prints = [fingerprint(model)]
    try:
        for factor in (2.0, 3.0, 3.0):
            with monkeypatch.context() as patch:
                PATCHES[name](patch, factor)
                prints.append(fingerprint(model))
    finally:
        torch.set_default_dtype(torch.float32)
    assert prints[2] == prints[3]
    assert len(set(prints)) == 3
    assert fingerprint(model) == prints[0], "what was put back is what it was"


def test_a_method_of_another_class_of_the_library_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(nn.ReLU())
    monkeypatch.setattr(nn.ReLU, "forward", nn.Tanh.forward)
    assert fingerprint(nn.ReLU()) != before


def test_a_mock_in_a_library_is_noticed() -> None:
    before = fingerprint(nn.ReLU())
    with mock.patch.object(nn.ReLU, "forward"):
        assert fingerprint_or_refusal(nn.ReLU()) != before
    assert fingerprint(nn.ReLU()) == before


def test_a_method_of_torchvision_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    model = torchvision.models.resnet18(num_classes=2)
    before = fingerprint(model)
    monkeypatch.setattr(type(model), "_forward_impl", scaling(2.0))
    assert fingerprint(model) != before


class Scaled(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images


@pytest.mark.parametrize(
    "change",
    [
        lambda patch, factor: patch.setattr(Scaled, "forward", wrapper(Scaled.forward, factor)),
        lambda patch, factor: patch.setattr(
            Scaled, "by", functools.partialmethod(lambda self, by: by, factor), raising=False
        ),
        lambda patch, factor: patch.setattr(Scaled.forward, "factor", factor, raising=False),
    ],
    ids=["wrapper", "partial method", "attribute of a function"],
)
def test_what_is_put_into_ones_own_class_counts(change: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    prints = [fingerprint(Scaled())]
    for factor in (2.0, 3.0, 3.0):
        with monkeypatch.context() as patch:
            change(patch, factor)
            prints.append(fingerprint(Scaled()))
    assert prints[2] == prints[3]
    assert len(set(prints)) == 3


@pytest.mark.parametrize("layer", [0, 1])
def test_a_patched_object_counts(layer: int) -> None:
    prints = []
    for factor in (2.0, 3.0, 3.0):
        model = nn.Sequential(nn.Flatten(), nn.ReLU())
        setattr(model[layer], "forward", types.MethodType(scaling(factor), model[layer]))  # noqa: B010
        prints.append(fingerprint(model))
    assert prints[0] != prints[1] == prints[2]


def test_classes_examined_once_have_the_fingerprints_of_classes_examined_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Ours:
        def method(self) -> int:
            return 1

    # Classes that refer to one another, instances, and classes alone; in an order in which each follows its class.
    Ours.peer = type("Peer", (Ours,), {"peer": Ours})  # type: ignore[attr-defined]
    objects = [Ours, Square, Square(size=0.3), [Ours(), Ours.peer], Ours.peer(), Circle(), {"a": Circle}]  # type: ignore[attr-defined]
    expected = [fingerprint(value) for value in objects]
    code = ExaminedCode()
    for order in (1, -1):
        with code.shared():
            assert [fingerprint(value) for value in objects[::order]] == expected[::order]
    # What changes meanwhile is not seen in the context, and is seen outside.
    monkeypatch.setattr(Square, "_coverage", lambda *_: 2, raising=False)
    with code.shared():
        assert fingerprint(Square) == expected[1]
    assert fingerprint(Square) != expected[1]
