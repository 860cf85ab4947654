"""Models from spec strings, loaded safely, with errors that say what does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torchvision import models

from pytest_biastransfer import BiasTransferError, Model, Preprocess, load_dataset, load_model
from pytest_biastransfer.errors import ModelError, SpecError
from pytest_biastransfer.specs.spec import Spec

SQUEEZENET = "torchvision:squeezenet1_1?num_classes=4"


def squeezenet() -> torch.nn.Module:
    torch.manual_seed(0)
    module: torch.nn.Module = models.squeezenet1_1(num_classes=4)
    return module


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_relative_paths_start_at_the_given_directory(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    torch.save(squeezenet().state_dict(), tmp_path / "sub" / "a.pt")
    assert load_model(f"checkpoint:a.pt?arch={SQUEEZENET.replace('?', '&')}", directory=tmp_path / "sub").name == "a"


def test_python_factory_gets_the_keys_of_the_spec(tmp_path: Path) -> None:
    (tmp_path / "own_models.py").write_text(
        "import torch\n"
        "def small(width, kind='plain'):\n    return torch.nn.Linear(width, len(kind))\n"
        "ready = torch.nn.Linear(2, 2)\n"
        "data = [(torch.zeros(3, 4, 4), 0)]\n"
    )
    assert load_model("python:own_models:small?width=7&kind=abc&size=9").module.weight.shape == (3, 7)
    assert load_model("python:own_models:ready").preprocess == Preprocess()
    assert len(load_dataset("python:own_models:data")) == 1


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resnet18", "expected scheme:rest"),
        ("torchvison:resnet18", "unknown scheme 'torchvison'; did you mean torchvision"),
        ("torchvision:resnet19", "no classification model 'resnet19'; did you mean resnet1"),
        ("torchvision:fasterrcnn_resnet50_fpn", "no classification model"),
        ("torchvision:resnet18?weight=DEFAULT", "unknown key 'weight'; did you mean weights"),
        ("torchvision:resnet18?weights=IMAGENET1K_V7", "no weights 'IMAGENET1K_V7'; did you mean IMAGENET1K_V1"),
        ("torchvision:resnet18?num_classes=many", "num_classes='many', expected a whole number above 0"),
        (f"torchvision:squeezenet1_1?size={'9' * 5000}", "expected a whole number above 0"),
        ("torchvision:squeezenet1_1?size=8&crop_pct=1e-320", "crop_pct=1e-320, expected a number from 0.01 to 1"),
        ("torchvision:squeezenet1_1?mean=grey", "mean='grey', expected numbers separated by commas"),
        ("torchvision:squeezenet1_1?std=0", r"std=\(0.0,\), expected one number or one a channel, above 0"),
        ("torchvision:squeezenet1_1?interpolation=sinc", "interpolation='sinc', expected one of"),
        ("torchvision:squeezenet1_1?normalized_input=yes", "normalized_input='yes', expected 1 or 0"),
        ("torchvision:squeezenet1_1?classes=missing.txt", "class names .*missing.txt: No such file"),
        ("checkpoint:a.pt", "a state dict needs its architecture, such as &arch=torchvision:resnet18"),
        ("checkpoint:missing.pt?arch=torchvision:squeezenet1_1", "spec .*missing.pt: no such file"),
        ("python:json", "expected python:package.module:factory"),
        ("python:no_such_module:make", "no module named 'no_such_module', neither installed nor in"),
        ("python:json:lods", "json has no 'lods'; did you mean loads"),
        ("python:sys:version", "expected a torch.nn.Module, or"),
    ],
)
def test_specs_that_cannot_be(spec: str, message: str) -> None:
    with pytest.raises((SpecError, ModelError), match=message):
        load_model(spec)


def test_a_file_of_class_names_may_have_a_byte_order_mark_blanks_and_empty_lines_at_its_end() -> None:
    names = ["cat", "dög", "yak", "two words"]
    Path("names.txt").write_bytes("\ufeffcat\r\n dög \r\nyak\t\r\ntwo words\r\n \r\n\r\n".encode())
    Path("names.json").write_text("\ufeff" + json.dumps(names), encoding="utf-8")
    for name in ("names.txt", "names.json"):
        assert load_model(f"{SQUEEZENET}&classes={name}").classes == tuple(names)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("names.txt", b"", r"expected one name a line, or in a \.json file a list of names; found \[\]"),
        ("names.txt", b"\n \n", r"found \[\]"),
        ("names.txt", b"cat\n \ndog\n", "found ' ' as name 2"),
        ("names.txt", b"\ncat\ndog\n", "found '' as name 1"),
        ("names.txt", "köter".encode("latin-1"), "is not a text in UTF-8"),
        ("names.json", b"[", "is not JSON"),
        ("names.json", b"[" + b"1" * 5000 + b"]", "is not JSON"),
        ("names.json", b"[" * 100_000, "is not JSON"),
        ("names.json", b'{"cat": 0}', "found {'cat': 0}"),
        ("names.json", b"[]", r"found \[\]"),
        ("names.json", b'["cat", ""]', "found '' as name 2"),
        ("names.json", b'["cat", 3]', "found 3 as name 2"),
    ],
)
def test_a_bad_file_of_class_names_is_an_error_that_names_it(name: str, content: bytes, message: str) -> None:
    Path(name).write_bytes(content)
    with pytest.raises(ModelError, match=f"class names .*{name}: .*{message}"):
        load_model(f"{SQUEEZENET}&classes={name}")


def test_a_file_of_class_names_that_no_system_can_have_is_an_error() -> None:
    with pytest.raises(ModelError, match=r"class names .*: embedded null"):
        load_model(Spec("by hand", "torchvision", "squeezenet1_1", {"classes": "na\0mes.txt"}))


def test_dataset_specs_that_cannot_be() -> None:
    with pytest.raises(SpecError, match="unknown scheme 'folder'; did you mean imagefolder"):
        load_dataset("folder:data")
    with pytest.raises(SpecError, match="unknown key 'limits'"):
        load_dataset("imagefolder:data?limits=3")
    with pytest.raises(BiasTransferError, match=r"imagefolder .*data: no such directory"):
        load_dataset("imagefolder:data")
    Path("data").mkdir()
    with pytest.raises(BiasTransferError, match=r"imagefolder .*data: no pictures; expected one folder a class"):
        load_dataset("imagefolder:data")


def test_model_arguments() -> None:
    module = torch.nn.Flatten()
    with pytest.raises(ModelError, match=r"got a str as module, expected a torch\.nn\.Module"):
        Model("resnet18")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"got a dict as preprocess, expected Preprocess\("):
        Model(module, preprocess={"size": 3})  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="classes='cats', expected the class names as a list of strings"):
        Model(module, classes="cats")
