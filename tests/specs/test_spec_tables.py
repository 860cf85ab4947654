"""Each line in the tables of docs/models-and-data.md works, on files of the names that it has."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torchvision import datasets, models

from pytest_biastransfer import load_dataset, load_model
from tests.data.test_web_dataset import write_shard
from tests.models.test_converted_graphs import save_as_jax2onnx, save_as_tf2onnx
from tests.models.test_peft_adapters import save_adapter, save_base
from tests.models.test_quantized_programs import convolutional, quantized_by_torch, save_exported, save_quantized_onnx
from tests.models.test_schemes import COMMIT, exported, onnx, save_classifier, script, trained
from tests.support.dicom_scans import scan, write
from tests.support.small_datasets import noise, write_picture
from tests.support.zero_shot_models import save_clip

pytestmark = pytest.mark.usefixtures("warm_executable")

PAGE = (Path(__file__).parents[2] / "docs" / "models-and-data.md").read_text()


def rows(heading: str) -> list[tuple[str, str]]:
    """Return the specs and the fixtures' bodies of the table under a heading."""
    table = PAGE.partition(f"\n## {heading}\n")[2].partition("\n\n- **")[0]
    return [(spec, body) for spec, body in re.findall(r"^\| `([a-z0-9]+:[^`]+)` \| `([^`]+)` \|", table, re.MULTILINE)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with all files that the tables name."""
    place = tmp_path_factory.mktemp("documentation")
    with contextlib.chdir(place):
        write_models()
        write_datasets()
    return place


@pytest.fixture(autouse=True)
def _here(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setenv("TORCH_HOME", str(place / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(place / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def in_cache(kind: str, repo: str) -> Path:
    place = Path("hub", f"{kind}s--{repo.replace('/', '--')}", "snapshots", COMMIT)
    place.mkdir(parents=True)
    return place


def write_models() -> None:
    import timm

    cached = Path("torch", "hub", "checkpoints", models.ResNet18_Weights.IMAGENET1K_V1.url.rpartition("/")[2])
    cached.parent.mkdir(parents=True)
    torch.save(models.resnet18().state_dict(), cached)
    torch.save(models.resnet18(num_classes=37).state_dict(), "pets.pt")
    script(trained(), "pets.torchscript")
    exported(trained(), "pets.pt2")
    torch.save(timm.create_model("resnet18", num_classes=37).state_dict(), "pets.pth")
    save_classifier(in_cache("model", "someone/pets"))
    save_base()
    save_adapter(directory="pets-lora")
    save_clip()
    Path("pets.txt").write_text("cat\ndog\n")
    np.savez("pets.npz", coef_=np.ones((3, 512)), intercept_=np.zeros(3), classes_=np.array(["cat", "dog", "pug"]))
    onnx(trained(), "pets.onnx")
    save_exported(quantized_by_torch(convolutional()), "pets-int8.pt2")
    save_quantized_onnx(convolutional(), "pets-int8.onnx")
    save_as_tf2onnx("pets-keras.onnx")
    save_as_jax2onnx("pets-jax.onnx")
    Path("pets").mkdir()
    Path("pets/models.py").write_text("import torch\ndef make(width):\n    return torch.nn.Linear(width, 3)\n")


def write_datasets() -> None:
    Path("pets").mkdir(exist_ok=True)
    Path("pets/data.py").write_text("import torch\ndef make():\n    return [(torch.zeros(3, 4, 4), 0)]\n")
    for name in ("cat", "dog"):
        write_picture(Path("data", "val", name, "1.png"), noise(3, 8, 8))
    Path("data/val.csv").write_text("path,label,group\nval/cat/1.png,cat,a\nval/dog/1.png,dog,b\n")
    np.savez("data/val.npz", images=np.zeros((2, 8, 8, 3), np.uint8), labels=np.array([0, 1]))
    for name in ("healthy", "ill"):
        Path("data", "xray", name).mkdir(parents=True)
        Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(Path("data", "xray", name, "1.png"))
        write(Path("data", "ct", name, "1.dcm"), scan())
    picture = Path("data/val/cat/1.png").read_bytes()
    write_shard(Path("data/shards/val-000.tar"), [("0001.png", picture), ("0001.cls", b"1")])
    photos = in_cache("dataset", "someone/photos")
    for name in ("cat", "dog"):
        write_picture(photos / "test" / name / "1.png", noise(3, 8, 8))


def returned(body: str) -> Any:
    """Return what a fixture with that body would return."""
    names: dict[str, Any] = {"torchvision": torchvision, "make": lambda width=0: ("own", width)}
    return eval(body.removeprefix("return "), names)


def test_the_tables_are_there() -> None:
    assert [spec.partition(":")[0] for spec, _ in rows("Models")] == [
        "torchvision", "checkpoint", "torchscript", "export", "export", "timm", "hf", "hf",
        "zeroshot", "probe", "onnx", "onnx", "onnx", "onnx", "onnx", "python",
    ]  # fmt: skip
    assert [spec.partition(":")[0] for spec, _ in rows("Datasets")] == [
        "imagefolder", "torchvision", "hf", "hf", "csv", "webdataset", "imagefolder", "imagefolder", "npz", "python",
    ]  # fmt: skip


@pytest.mark.parametrize("row", rows("Models"), ids=lambda row: row[0].partition(":")[0])
def test_each_line_for_models(row: tuple[str, str]) -> None:
    spec, body = row
    assert isinstance(load_model(spec).module, torch.nn.Module)
    assert returned(body) == (("own", 2) if spec.startswith("python") else spec)


@pytest.mark.parametrize("row", rows("Datasets"), ids=lambda row: row[0].partition(":")[0])
def test_each_line_for_datasets(row: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    spec, body = row
    if spec.startswith("torchvision"):
        # Its files are checked against the published ones, which cannot be made here.
        small: Callable[..., Any] = lambda *_, **__: [(torch.zeros(3, 4, 4), 0)]  # noqa: E731
        monkeypatch.setattr(datasets, "CIFAR10", small)
        assert len(returned(body)) == 1
        return
    images = load_dataset(spec)
    assert len(images) == len(images.labels) > 0
    assert images.image(0).shape[0] == 3
    assert returned(body) == (("own", 0) if spec.startswith("python") else spec)
