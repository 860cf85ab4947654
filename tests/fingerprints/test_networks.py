"""Networks: what evaluation depends on is in their fingerprints, and nothing else."""

from __future__ import annotations

import collections
import copy
import io
import itertools
import pickle
import threading
import types
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import nn

from pytest_biastransfer.fingerprints import NotFingerprintableError, fingerprint
from tests.support.fingerprinted_objects import fingerprint_or_refusal


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
