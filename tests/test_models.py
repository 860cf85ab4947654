"""Models from spec strings, loaded safely, with errors that say what does not fit."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from pytest_biastransfer import BiasTransferError, Model, Preprocess, load_dataset, load_model
from pytest_biastransfer.errors import ModelError, SpecError

SQUEEZENET = "torchvision:squeezenet1_1?num_classes=4"


def squeezenet() -> torch.nn.Module:
    torch.manual_seed(0)
    module: torch.nn.Module = models.squeezenet1_1(num_classes=4)
    return module


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


SAVERS: dict[str, Callable[[dict[str, torch.Tensor], Path], None]] = {
    "bare.pt": torch.save,
    "nested.pth": lambda state, path: torch.save({"state_dict": state, "epoch": 3}, path),
    "model.safetensors": save_file,
}


@pytest.mark.parametrize("name", list(SAVERS))
def test_checkpoint_has_the_same_logits(name: str) -> None:
    original = squeezenet().eval()
    SAVERS[name](original.state_dict(), Path(name))
    Path("classes.json").write_text(json.dumps(["a", "b", "c", "d"]))
    spec = f"checkpoint:{name}?arch=torchvision:squeezenet1_1&num_classes=4&size=64&mean=0.5,0.4,0.3&std=0.2"
    loaded = load_model(f"{spec}&classes=classes.json&interpolation=bicubic")
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(loaded.module.eval()(images), original(images))
    assert loaded.preprocess == Preprocess(size=64, mean=(0.5, 0.4, 0.3), std=0.2, interpolation="bicubic")
    assert loaded.classes == ("a", "b", "c", "d")
    assert loaded.name == Path(name).stem


def test_relative_paths_start_at_the_given_directory(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    torch.save(squeezenet().state_dict(), tmp_path / "sub" / "a.pt")
    assert load_model(f"checkpoint:a.pt?arch={SQUEEZENET.replace('?', '&')}", directory=tmp_path / "sub").name == "a"


def test_torchvision_weights_bring_preprocessing_and_classes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # The real loading code, on a file that stands where a download would have put it.
    weights = models.SqueezeNet1_1_Weights.IMAGENET1K_V1
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    place = tmp_path / "hub" / "checkpoints" / Path(weights.url).name
    place.parent.mkdir(parents=True)
    torch.manual_seed(0)
    module = models.squeezenet1_1()
    torch.save(module.state_dict(), place)
    monkeypatch.setattr(torch.hub, "HASH_REGEX", __import__("re").compile("never"))
    loaded = load_model("torchvision:squeezenet1_1?weights=IMAGENET1K_V1")
    assert all(torch.equal(a, b) for a, b in zip(loaded.module.parameters(), module.parameters(), strict=True))
    expected = Preprocess(resize=256, crop=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    assert loaded.preprocess == expected
    assert loaded.classes is not None
    assert (len(loaded.classes), loaded.classes[0]) == (1000, "tench")
    assert load_model("torchvision:squeezenet1_1?weights=DEFAULT&size=64").preprocess.crop == 64


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


class Hostile:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return Path.touch, (Path("executed"),)  # type: ignore[return-value]


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_hostile_pickle_is_not_executed() -> None:
    torch.save({"weight": Hostile()}, "hostile.pt")
    Path("plain_pickle.pt").write_bytes(pickle.dumps(Hostile()))
    for name in ("hostile.pt", "plain_pickle.pt"):
        with pytest.raises(ModelError, match=rf"checkpoint .*{name}: not a plain state dict .*nothing in it was run"):
            load_model(f"checkpoint:{name}?arch={SQUEEZENET.replace('?', '&')}")
    assert not Path("executed").exists()


def test_whole_pickled_module_is_refused() -> None:
    torch.save(squeezenet(), "whole.pt")
    with pytest.raises(ModelError, match="not a plain state dict"):
        load_model(f"checkpoint:whole.pt?arch={SQUEEZENET.replace('?', '&')}")


def test_keys_and_shapes_that_do_not_fit_are_listed() -> None:
    state = {f"extra.{place}": torch.zeros(place) for place in range(7)}
    state |= {name: value for name, value in squeezenet().state_dict().items() if "classifier" not in name}
    state["features.0.weight"] = torch.zeros(64, 1, 3, 3)
    torch.save(state, "other.pt")
    with pytest.raises(ModelError) as caught:
        load_model(f"checkpoint:other.pt?arch={SQUEEZENET.replace('?', '&')}")
    message = str(caught.value)
    assert "other.pt does not fit SqueezeNet; check arch= and num_classes=." in message
    assert "2 missing:\n  classifier.1.weight [4, 512, 1, 1]\n  classifier.1.bias [4]" in message
    assert "7 unexpected:\n  extra.0 [0]" in message
    assert "extra.4 [4]\n  and 2 more" in message
    assert "1 of another shape:\n  features.0.weight: [64, 1, 3, 3] in the file, [64, 3, 3, 3] in the model" in message


def test_head_of_another_size_is_reported_with_both_shapes() -> None:
    torch.save(squeezenet().state_dict(), "four.pt")
    with pytest.raises(ModelError, match=r"classifier.1.bias: \[4\] in the file, \[10\] in the model"):
        load_model("checkpoint:four.pt?arch=torchvision:squeezenet1_1&num_classes=10")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda path: torch.save([1, 2], path), "holds a list, expected a state dict"),
        (lambda path: torch.save({"a": 1}, path), "holds a dict, expected a state dict"),
        (lambda path: torch.save({}, path), "holds a dict, expected a state dict"),
        (lambda path: Path(path).write_bytes(b""), "not a plain state dict"),
        (lambda path: Path(path).write_bytes(b"PK\x03\x04 nothing"), "not a plain state dict"),
    ],
)
def test_files_that_are_no_state_dict(content: Callable[[str], object], message: str) -> None:
    content("a.pt")
    with pytest.raises(ModelError, match=rf"checkpoint .*a.pt: {message}"):
        load_model(f"checkpoint:a.pt?arch={SQUEEZENET.replace('?', '&')}")


def test_broken_safetensors() -> None:
    Path("a.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match=r"a\.safetensors: not a safetensors file"):
        load_model(f"checkpoint:a.safetensors?arch={SQUEEZENET.replace('?', '&')}")


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
        ("torchvision:squeezenet1_1?mean=grey", "mean='grey', expected numbers separated by commas"),
        ("torchvision:squeezenet1_1?std=0", r"std=\(0.0,\), expected one number or one a channel, above 0"),
        ("torchvision:squeezenet1_1?interpolation=lanczos", "interpolation='lanczos', expected one of"),
        ("torchvision:squeezenet1_1?normalized_input=yes", "normalized_input='yes', expected 1 or 0"),
        ("torchvision:squeezenet1_1?classes=missing.txt", "class names .*missing.txt: No such file"),
        ("checkpoint:a.pt", "a state dict needs its architecture, such as &arch=torchvision:resnet18"),
        ("checkpoint:missing.pt?arch=torchvision:squeezenet1_1", "checkpoint .*missing.pt: no such file"),
        ("python:json", "expected python:package.module:factory"),
        ("python:no_such_module:make", "no module named 'no_such_module', neither installed nor in"),
        ("python:json:lods", "json has no 'lods'; did you mean loads"),
        ("python:sys:version", "expected a torch.nn.Module, or"),
    ],
)
def test_specs_that_cannot_be(spec: str, message: str) -> None:
    with pytest.raises((SpecError, ModelError), match=message):
        load_model(spec)


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
