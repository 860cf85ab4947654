"""Checkpoints of all kinds have the logits of the model that was saved, run nothing, and say what does not fit."""

from __future__ import annotations

import argparse
import collections
import datetime
import json
import os
import pathlib
import pickle
import random
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from pytest_biastransfer import BiasTransferError, Model, Preprocess, load_model
from pytest_biastransfer.errors import ModelError, SpecError
from pytest_biastransfer.models.safe_loading.state_files import ENTRIES, read_state
from pytest_biastransfer.models.safe_loading.state_loading import load_state

NET = """
import torch


class Net(torch.nn.Module):
    def __init__(self, num_classes=5):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.bn = torch.nn.BatchNorm2d(4)
        self.head = torch.nn.Linear(4, num_classes)

    def forward(self, images):
        return self.head(self.bn(self.conv(images)).relu().mean((2, 3)))


def net(num_classes=5):
    return Net(num_classes)
"""
SPEC = "checkpoint:{}?arch=python:checkpoint_net:net"
State = dict[str, torch.Tensor]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("checkpoint_net.py").write_text(NET)


@pytest.fixture
def net() -> torch.nn.Module:
    """Return the model that is saved: with weights and statistics that a new one does not have."""
    torch.manual_seed(7)
    made = load_model("python:checkpoint_net:net").module
    made.train()
    made(torch.randn(4, 3, 9, 9))
    return made.eval()


def logits(spec: str) -> torch.Tensor:
    output: torch.Tensor = load_model(spec).module.eval()(images())
    return output


def images() -> torch.Tensor:
    return torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def prefixed(state: State, prefix: str) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


SAVERS: dict[str, Callable[[State, str], object]] = {
    "bare.pt": torch.save,
    "ordered.pth": lambda state, path: torch.save(OrderedDict(state), path),
    "old_format.pt": lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
    "plain.safetensors": save_file,
    "ddp.pt": lambda state, path: torch.save(prefixed(state, "module."), path),
    "compiled.pt": lambda state, path: torch.save(prefixed(state, "_orig_mod."), path),
    "ddp_of_compiled.pt": lambda state, path: torch.save(prefixed(state, "module._orig_mod."), path),
    "compiled_of_ddp.safetensors": lambda state, path: save_file(prefixed(state, "_orig_mod.module."), path),
    "compiled_part.pt": lambda state, path: torch.save(
        {name.replace("conv.", "conv._orig_mod."): value for name, value in state.items()}, path
    ),
    "without_counters.pt": lambda state, path: torch.save(
        {name: value for name, value in state.items() if "num_batches" not in name}, path
    ),
    "lightning.ckpt": lambda state, path: torch.save(
        {
            "epoch": 3,
            "pytorch-lightning_version": "2.4.0",
            "state_dict": prefixed(state, "model.") | {"loss.weight": torch.ones(5)},
            "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}],
            "hyper_parameters": {"lr": 0.1, "args": argparse.Namespace(out=pathlib.PosixPath("runs"), wd=1e-4)},
        },
        path,
    ),
    "best_accuracy.pth": lambda state, path: torch.save(
        {"best": np.float64(0.91), "epoch": np.int64(3), "model": state}, path
    ),
}


@pytest.mark.parametrize("name", list(SAVERS))
def test_a_checkpoint_has_the_same_logits(net: torch.nn.Module, name: str) -> None:
    SAVERS[name](dict(net.state_dict()), name)
    assert torch.equal(logits(SPEC.format(name)), net(images()))


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_state_dict_may_be_under_the_usual_names(net: torch.nn.Module, entry: str) -> None:
    torch.save({"epoch": 1, entry: net.state_dict(), "optimizer": {"state": {}}}, "nested.pt")
    assert torch.equal(logits(SPEC.format("nested.pt")), net(images()))


def test_an_entry_may_be_named(net: torch.nn.Module) -> None:
    other = {name: torch.zeros_like(value) for name, value in net.state_dict().items()}
    torch.save({"model": other, "ema": prefixed(dict(net.state_dict()), "module."), "mine": net.state_dict()}, "two.pt")
    for entry in ("ema", "mine"):
        assert torch.equal(logits(SPEC.format("two.pt") + f"&entry={entry}"), net(images()))
    with pytest.raises(
        ModelError, match=r"two\.pt: has several sets of weights for Net, under model, ema, mine; .*&entry=model"
    ):
        load_model(SPEC.format("two.pt"))
    assert logits(SPEC.format("two.pt") + "&entry=model").eq(0).all()
    with pytest.raises(ModelError, match=r"two\.pt: has no entry 'emas'; did you mean ema\?"):
        load_model(SPEC.format("two.pt") + "&entry=emas")


def test_of_two_sets_of_weights_that_fit_one_is_asked_for(net: torch.nn.Module) -> None:
    state = dict(net.state_dict())
    other = {name: torch.zeros_like(value) for name, value in state.items()}
    torch.save(prefixed(state, "student.") | prefixed(other, "teacher."), "both.pt")
    with pytest.raises(ModelError, match=r"several sets of weights that fit, under student\., teacher\.; .*&prefix="):
        load_model(SPEC.format("both.pt"))
    assert torch.equal(logits(SPEC.format("both.pt") + "&prefix=student."), net(images()))


def test_an_entry_that_is_no_state_dict_is_not_passed_over(net: torch.nn.Module) -> None:
    for first in ({**net.state_dict(), "step": 3}, {"body": dict(net.state_dict())}):
        torch.save({"state_dict": first, "ema": net.state_dict()}, "two.pt")
        with pytest.raises(ModelError, match=r"under one of state_dict, model, .*&entry=NAME"):
            load_model(SPEC.format("two.pt"))


def test_part_of_a_set_of_weights_beside_a_whole_one_is_not_passed_over(net: torch.nn.Module) -> None:
    state = dict(net.state_dict())
    incomplete = {name: value for name, value in state.items() if "bias" not in name}
    torch.save(prefixed(incomplete, "model.") | prefixed(state, "model_ema."), "both.pt")
    with pytest.raises(ModelError, match=r"several sets of weights that fit, under model\., model_ema\."):
        load_model(SPEC.format("both.pt"))
    assert torch.equal(logits(SPEC.format("both.pt") + "&prefix=model_ema."), net(images()))


def test_names_with_and_without_what_compiling_adds(net: torch.nn.Module) -> None:
    state = dict(net.state_dict())
    torch.save(state | prefixed(state, "_orig_mod."), "both.pt")
    with pytest.raises(ModelError, match=r"has the same names with and without _orig_mod\."):
        load_model(SPEC.format("both.pt"))


def test_numbers_of_another_kind_are_not_put_into_weights(net: torch.nn.Module) -> None:
    state = dict(net.state_dict())
    state["conv.weight"] = (state["conv.weight"] * 127).to(torch.int8)
    torch.save(state, "quantized.pt")
    with pytest.raises(
        ModelError, match=r"1 of another type:\n  conv\.weight: torch\.int8 in the file, torch\.float32"
    ):
        load_model(SPEC.format("quantized.pt"))


def test_what_a_module_saves_beside_tensors_is_left_alone() -> None:
    class Noted(torch.nn.Linear):
        def get_extra_state(self) -> Any:
            return {"note": 1}

        def set_extra_state(self, state: Any) -> None:
            raise AssertionError

    noted = Noted(3, 2)
    load_state(noted, {"weight": torch.ones(2, 3), "bias": torch.ones(2)}, "checkpoint")
    assert noted.weight.eq(1).all()


def test_the_versions_of_saved_modules_are_kept() -> None:
    # MNASNet loads what has no version as what it was before its layers changed.
    arch = "torchvision:mnasnet0_5"
    original = load_model(f"{arch}?num_classes=3").module.eval()
    torch.save(original.state_dict(), "bare.pt")
    wrapped = torch.nn.ModuleDict({"module": original}).state_dict()
    torch.save(wrapped, "wrapped.pt")
    save_file(original.state_dict(), "numbers_only.safetensors")
    for name in ("bare.pt", "wrapped.pt", "numbers_only.safetensors"):
        loaded = load_model(f"checkpoint:{name}?arch={arch}&num_classes=3").module
        assert all(torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), wrapped.values(), strict=True))


def test_what_the_query_declares(net: torch.nn.Module) -> None:
    torch.save(net.state_dict(), "a+b 5%.pt")
    Path("c+d.json").write_text(json.dumps(list("abcde")))
    spec = SPEC.format("a+b 5%.pt") + "&num_classes=5&classes=c+d.json&size=64&mean=0.5,0.4,0.3&std=0.2"
    loaded = load_model(f"{spec}&interpolation=bicubic&crop_pct=0.5&name=pets")
    wanted = Preprocess(size=64, crop_pct=0.5, mean=(0.5, 0.4, 0.3), std=0.2, interpolation="bicubic")
    assert loaded.preprocess == wanted
    assert loaded.preprocess.resize == 128
    assert (loaded.classes, loaded.name) == (("a", "b", "c", "d", "e"), "pets")
    assert load_model(f"{SPEC.format('a+b 5%.pt')}&resize=20,30&crop=10,12").preprocess.crop == (10, 12)


def test_an_architecture_has_a_query_of_its_own(net: torch.nn.Module) -> None:
    torch.save(net.state_dict(), "five.pt")
    spec = "checkpoint:five.pt?arch=python:checkpoint_net:net?size=32%26mean=0.5&num_classes=5&std=0.25"
    assert load_model(spec).preprocess == Preprocess(size=32, mean=0.5, std=0.25)


def test_relative_paths_start_at_the_given_directory(net: torch.nn.Module, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    torch.save(net.state_dict(), tmp_path / "sub" / "a.pt")
    assert load_model(SPEC.format("a.pt"), directory=tmp_path / "sub").name == "a"


# ------------------------------------------------------------------------------------------- which weights


class WithHead(torch.nn.Module):
    """A net whose outputs go into another head."""

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.backbone = net
        self.classifier = torch.nn.Linear(5, 3)


@pytest.mark.parametrize("classes", ["", "&num_classes=3", "&num_classes=5"])
def test_weights_that_are_left_over_are_named(net: torch.nn.Module, classes: str) -> None:
    torch.save(WithHead(net).state_dict(), "larger.pt")
    with pytest.raises(ModelError) as caught:
        load_model(SPEC.format("larger.pt") + classes)
    message = str(caught.value)
    assert "larger.pt: Net is only the part under backbone. of the saved model. Name the whole model" in message
    assert "2 left over:\n  classifier.weight [3, 5]\n  classifier.bias [3]" in message
    assert "add &prefix=backbone." in message
    assert "type num_classes" not in message


def test_a_part_that_is_named_is_loaded_alone(net: torch.nn.Module) -> None:
    torch.save(WithHead(net).state_dict(), "larger.pt")
    assert torch.equal(logits(SPEC.format("larger.pt") + "&prefix=backbone."), net(images()))


HARMLESS: dict[str, torch.Tensor] = {
    "loss.weight": torch.ones(5),
    "criterion.pos_weight": torch.ones(5),
    "train_loss.ce.weight": torch.ones(5),
    "n_averaged": torch.tensor(3),
    "global_step": torch.tensor([3]),
    "other_bn.num_batches_tracked": torch.tensor(3),
    "total_ops": torch.zeros(1, dtype=torch.float64),
    "val_acc.tp": torch.zeros(5),
    "metrics.accuracy.total": torch.tensor(9.0),
    "metrics.confmat.confmat": torch.zeros(5, 5),
}


@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize("name", list(HARMLESS))
def test_what_only_training_needs_may_be_left_over(net: torch.nn.Module, name: str, prefix: str) -> None:
    torch.save(prefixed(dict(net.state_dict()), prefix) | {name: HARMLESS[name]}, "trained.pt")
    assert torch.equal(logits(SPEC.format("trained.pt")), net(images()))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        *(("loss.weight", (5, 4)), ("metric_fc.weight", (5, 4)), ("arcface.W", (5, 4)), ("fc.weight", (5, 4))),
        *(("normalize.mean", (3,)), ("temperature", ()), ("discriminator.weight", (1, 4)), ("ema.shadow", (2,))),
    ],
)
def test_what_predictions_may_depend_on_is_not_left_over(
    net: torch.nn.Module, name: str, shape: tuple[int, ...]
) -> None:
    for prefix, message in (("", r"1 unexpected"), ("model.", r"Net is only the part under model\..*1 left over")):
        torch.save(prefixed(dict(net.state_dict()), prefix) | {name: torch.zeros(shape)}, "more.pt")
        with pytest.raises(ModelError, match=rf"(?s){message}:\n  {name.replace('.', '[.]')} "):
            load_model(SPEC.format("more.pt"))


def zeros(state: State) -> State:
    return {name: torch.zeros_like(value) for name, value in state.items()}


@pytest.mark.parametrize(
    ("raw", "averaged"),
    [
        *(("model", "model_ema"), ("state_dict", "state_dict_ema"), ("model", "ema"), ("state_dict", "ema_state_dict")),
        *(("student", "teacher"), ("model", "swa"), ("model", "ema.shadow"), ("state_dict", "callbacks.EMA.weights")),
    ],
)
def test_averaged_weights_beside_the_raw_ones_are_asked_for(net: torch.nn.Module, raw: str, averaged: str) -> None:
    inside: Any = prefixed(zeros(dict(net.state_dict())), "module.")
    for name in reversed(averaged.split(".")[1:]):
        inside = {name: inside}
    checkpoint = {"epoch": 1, raw: net.state_dict(), averaged.partition(".")[0]: inside, "args": {"lr": 0.1}}
    torch.save(checkpoint, "both.pt")
    with pytest.raises(
        ModelError, match=rf"both\.pt: .*(has several sets .* under {raw}, {averaged}|expected a state dict)"
    ):
        load_model(SPEC.format("both.pt"))
    assert torch.equal(logits(SPEC.format("both.pt") + f"&entry={raw}"), net(images()))
    assert logits(SPEC.format("both.pt") + f"&entry={averaged}").eq(0).all()


def test_other_networks_of_a_checkpoint_are_no_rivals(net: torch.nn.Module) -> None:
    other = {"discriminator": torch.nn.Linear(4, 1).state_dict(), "resnet": torch.nn.Conv2d(3, 64, 7).state_dict()}
    extra: dict[str, Any] = {
        "model_ema": None,
        "module": "net",
        "class_weights": {"cat": torch.ones(1)},
        "optimizer": {"state": {}},
    }
    torch.save({"model": net.state_dict(), **other, **extra}, "many.pt")
    assert torch.equal(logits(SPEC.format("many.pt")), net(images()))


def test_what_holds_itself_is_not_searched_for_ever(net: torch.nn.Module) -> None:
    state: dict[str, Any] = {"state_dict": net.state_dict()}
    state["self"] = state["callbacks"] = {"self": state}
    torch.save(state, "loop.pt")
    assert torch.equal(logits(SPEC.format("loop.pt") + "&entry=state_dict"), net(images()))


@pytest.mark.parametrize(
    ("entries", "chosen"),
    [
        (("state_dict", "state_dict_ema"), "state_dict_ema"),
        (("model", "model_ema"), "model_ema"),
        (("model", "state_dict"), "state_dict"),
        (("model",), "model"),
    ],
)
def test_timm_takes_the_weights_that_timm_would(entries: tuple[str, ...], chosen: str) -> None:
    timm = pytest.importorskip("timm")
    states = {}
    for seed, name in enumerate(entries):
        torch.manual_seed(seed)
        states[name] = timm.create_model("resnet10t", num_classes=3).state_dict()
    torch.save(states, "timm.pth")
    theirs = timm.create_model("resnet10t", num_classes=3, checkpoint_path="timm.pth").state_dict()
    ours = load_model("timm:resnet10t?checkpoint=timm.pth&num_classes=3").module.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert all(torch.equal(ours[name], states[chosen][name]) for name in theirs)
    torch.save(states | {"ema": states[entries[0]]}, "more.pth")
    with pytest.raises(
        ModelError, match=r"several sets of weights for ResNet, under .*ema; choose one, such as &entry="
    ):
        load_model("timm:resnet10t?checkpoint=more.pth&num_classes=3")


# ------------------------------------------------------------------------------------------- what does not fit


def test_a_head_of_another_size_is_reported_as_such(net: torch.nn.Module) -> None:
    torch.save(net.state_dict(), "five.pt")
    with pytest.raises(ModelError) as caught:
        load_model(SPEC.format("five.pt") + "&num_classes=7")
    message = str(caught.value)
    assert "the head head has 5 classes in the file and 7 in the model: type num_classes=5" in message
    assert "head.weight: [5, 4] in the file, [7, 4] in the model" in message


def test_names_and_shapes_that_do_not_fit_are_listed(net: torch.nn.Module) -> None:
    state = {f"extra.{index}": torch.zeros(index) for index in range(7)}
    state |= {name: value for name, value in net.state_dict().items() if "head" not in name}
    state["conv.weight"] = torch.zeros(4, 1, 3, 3)
    torch.save(state, "other.pt")
    with pytest.raises(ModelError) as caught:
        load_model(SPEC.format("other.pt"))
    message = str(caught.value)
    assert "other.pt does not fit Net; check arch= and num_classes=." in message
    assert "2 missing:\n  head.weight [5, 4]\n  head.bias [5]" in message
    assert "7 unexpected:\n  extra.0 [0]" in message
    assert "extra.4 [4]\n  and 2 more" in message
    assert "1 of another shape:\n  conv.weight: [4, 1, 3, 3] in the file, [4, 3, 3, 3] in the model" in message
    assert "the head" not in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda path: torch.save([1, 2], path), "holds a list, expected a state dict"),
        (lambda path: torch.save({"a": 1}, path), "holds a dict of a, expected a state dict"),
        (lambda path: torch.save({}, path), "holds an empty dict, expected a state dict"),
        (lambda path: torch.save({"weights": {"a": torch.ones(1)}}, path), "holds a dict of weights, expected"),
        (lambda path: Path(path).write_bytes(b""), "holds more than plain data, or is damaged"),
        (lambda path: Path(path).write_bytes(b"PK\x03\x04 nothing"), "holds more than plain data, or is damaged"),
    ],
)
def test_files_that_are_no_state_dict(content: Callable[[str], object], message: str) -> None:
    content("a.pt")
    with pytest.raises(ModelError, match=rf"checkpoint .*a\.pt: {message}"):
        load_model(SPEC.format("a.pt"))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("checkpoint:~nobody-here/a.pt?arch=python:x:y", "spec 'checkpoint:~nobody-here/a.pt.*~nobody-here/a.pt"),
        ("checkpoint:a.pt?arch=torchvision:resnet18%00", "arch= has a null character, which no path can have"),
        ("checkpoint:a.pt", "a state dict needs its architecture, such as &arch=torchvision:resnet18"),
        ("checkpoint:a.pt?arch=torchvision:squeezenet1_1", r"spec .*a\.pt: no such file"),
        ("checkpoint:.?arch=torchvision:squeezenet1_1", r"spec .*: a directory"),
        ("checkpoint:a.pt?archs=torchvision:squeezenet1_1", "unknown key 'archs'; did you mean arch"),
        ("checkpoint:a.pt?arch=x&arch=y", "arch= is given twice"),
        ("checkpoint:a.pt?arch", "'arch' after the question mark, expected key=value, separated by &"),
    ],
)
def test_specs_that_cannot_be(spec: str, message: str) -> None:
    with pytest.raises(BiasTransferError, match=message):
        load_model(spec)


def test_an_architecture_must_have_named_weights(net: torch.nn.Module) -> None:
    torch.save(net.state_dict(), "a.pt")
    with pytest.raises(SpecError, match="arch= needs a module with named weights, which onnx: is not"):
        load_model("checkpoint:a.pt?arch=onnx:model.onnx")


# ------------------------------------------------------------------------------------------- nothing is run


class Hostile:
    """What an attacker would save: unpickling it calls something."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, ("executed",)


HOSTILE: dict[str, Callable[[str], object]] = {
    "value.pt": lambda path: torch.save({"weight": Hostile()}, path),
    "beside_weights.ckpt": lambda path: torch.save({"state_dict": {"a": torch.ones(1)}, "callbacks": Hostile()}, path),
    "inside_namespace.pt": lambda path: torch.save({"args": argparse.Namespace(out=Hostile())}, path),
    "old_format.pth": lambda path: torch.save([Hostile()], path, _use_new_zipfile_serialization=False),
    "plain_pickle.pt": lambda path: Path(path).write_bytes(pickle.dumps(Hostile())),
    "pickle_called.safetensors": lambda path: Path(path).write_bytes(pickle.dumps(Hostile())),
    "whole_module.pt": lambda path: torch.save(load_model("python:checkpoint_net:net").module, path),
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_a_hostile_pickle_is_not_executed_and_is_named(name: str) -> None:
    HOSTILE[name](name)
    with pytest.raises(ModelError, match=rf"checkpoint .*{name}: (holds more than plain|not a safetensors)"):
        load_model(SPEC.format(name))
    assert not Path("executed").exists()


def test_what_a_hostile_pickle_wanted_to_call_is_said() -> None:
    torch.save({"weight": Hostile()}, "a.pt")
    with pytest.raises(ModelError, match=r"\(it calls posix\.mkdir\); nothing in it was run"):
        load_model(SPEC.format("a.pt"))


@pytest.mark.parametrize("metadata", [3, "x", {1: 2}, {"": 3}, {"bn": {"version": 2}}, {"bn": [1]}])
def test_metadata_of_another_form_are_left_alone(net: torch.nn.Module, metadata: Any) -> None:
    for prefix in ("", "module."):
        state = OrderedDict(prefixed(dict(net.state_dict()), prefix))
        state._metadata = metadata  # type: ignore[attr-defined]
        torch.save(state, "a.pt")
        assert torch.equal(logits(SPEC.format("a.pt")), net(images()))


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 46830571\n"


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors", "a.bin"])
def test_what_stands_in_for_weights_is_named(net: torch.nn.Module, name: str) -> None:
    Path(name).write_text(POINTER)
    with pytest.raises(
        ModelError, match=r"is a Git LFS pointer, its 46,830,571 bytes are elsewhere; type: git lfs pull"
    ):
        load_model(SPEC.format(name))
    Path(name).write_text("\n<!DOCTYPE html><html>404</html>")
    with pytest.raises(ModelError, match="is an HTML page; download the file itself"):
        load_model(SPEC.format(name))
    save_file(dict(net.state_dict()), "a.bin")
    with pytest.raises(ModelError, match=r"a\.bin: is a safetensors file; rename it to a\.safetensors"):
        load_model(SPEC.format("a.bin"))
    torch.save(net.state_dict(), "b.safetensors")
    with pytest.raises(ModelError, match=r"b\.safetensors: is a file of torch\.save; rename it to b\.pt"):
        load_model(SPEC.format("b.safetensors"))


BESIDE: dict[str, Any] = {
    "array": np.arange(3, dtype=np.float32),
    "names": np.array(["cat", "dog"]),
    "random state": np.random.RandomState(0).get_state(),
    "float16": np.float16(0.9),
    "text": np.str_("cat"),
    "uint8": np.uint8(3),
    "truth": np.bool_(True),
    "defaultdict": collections.defaultdict(list, {"loss": [0.1]}),
    "datetime": datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
    "duration": datetime.timedelta(seconds=3),
}


@pytest.mark.parametrize("name", list(BESIDE))
def test_plain_data_beside_weights_is_read(net: torch.nn.Module, name: str) -> None:
    torch.save({"model": net.state_dict(), "extra": BESIDE[name]}, "a.pt")
    assert torch.equal(logits(SPEC.format("a.pt")), net(images()))


class Plain:
    """What a user's own code would have saved."""


def test_the_advice_to_run_what_is_in_a_file_is_not_repeated() -> None:
    contents: list[Any] = [Plain(), Hostile(), np.array([Plain()], dtype=object), {"a": collections.UserDict()}]
    for content in contents:
        torch.save({"state_dict": {"a": torch.ones(1)}, "extra": content}, "a.pt")
        with pytest.raises(ModelError) as caught:
            load_model(SPEC.format("a.pt"))
        assert "weights_only" not in str(caught.value)
        assert re.search(r"\(it calls |ObjectDType", str(caught.value))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["zip", "old", "safetensors"]), st.integers(1, 8))
def test_damaged_files_are_named_and_never_crash(seed: int, form: str, count: int) -> None:
    path = Path(f"damaged{'.safetensors' if form == 'safetensors' else '.pt'}")
    state = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)}
    if form == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "zip")
    content = bytearray(path.read_bytes())
    generator = random.Random(seed)
    for _ in range(count):
        content[generator.randrange(len(content))] = generator.randrange(256)
    path.write_bytes(bytes(content[: generator.choice([len(content), generator.randrange(len(content))])]))
    module = torch.nn.Linear(3, 2)
    try:
        load_state(module, read_state(path), "checkpoint")
    except ModelError as error:
        assert "checkpoint" in str(error)  # noqa: PT017 - damage that changes only numbers is not seen.


def test_a_model_keeps_nothing_of_the_file(net: torch.nn.Module) -> None:
    # A file that is replaced while tests run must not change a model that was loaded.
    torch.save(net.state_dict(), "a.pt")
    loaded: Model = load_model(SPEC.format("a.pt"))
    before, size = loaded.fingerprint, Path("a.pt").stat().st_size
    Path("a.pt").write_bytes(bytes(size))
    assert loaded.fingerprint == before
