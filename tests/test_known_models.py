"""Models of specs that are known from an earlier session: not loaded as long as nothing has changed."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pytest_biastransfer import BiasTransferError, Model, Preprocess
from pytest_biastransfer.fingerprints import source_code
from pytest_biastransfer.models.known import DeferredModel, model_of_spec
from pytest_biastransfer.store import Facts, Place, Store
from tests.test_model_formats import exported, onnx, save_classifier, script, small_timm, trained

ARCH = """
import torch
from {module}_parts import Head

class Net(torch.nn.Module):
    def __init__(self, width: int = 3):
        super().__init__()
        self.head = Head(width)

    def forward(self, images):
        return self.head(images.mean(dim=(2, 3)))
"""

PARTS = """
import torch

class Head(torch.nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.linear = torch.nn.Linear(3, width)

    def forward(self, features):
        return self.linear(features)
"""


class Project:
    """A directory with a checkpoint and the code of its architecture, some minutes old."""

    def __init__(self, directory: Path, module: str) -> None:
        self.directory = directory
        self.module = module
        self.facts = Store(directory / "store").facts
        self.weights = directory / "weights.safetensors"
        self.write(f"{module}.py", ARCH.format(module=module))
        self.write(f"{module}_parts.py", PARTS)
        self.save(0)

    def write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text)
        age(self.directory / name)

    def save(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        state = {"head.linear.weight": torch.randn(3, 3, generator=generator), "head.linear.bias": torch.zeros(3)}
        save_file(state, self.weights)
        age(self.weights)

    def model(self, more: str = "") -> Model:
        """Return the model as another process would: the modules are imported anew."""
        for name in [name for name in sys.modules if name.startswith(self.module)]:
            del sys.modules[name]
        spec = f"checkpoint:weights.safetensors?arch=python:{self.module}:Net&mean=0.5&std=0.5{more}"
        return model_of_spec(spec, self.directory, self.facts)

    def is_known(self, more: str = "") -> bool:
        return isinstance(self.model(more), DeferredModel)


def age(path: Path) -> None:
    """Let a file look as if it had been written some minutes ago."""
    then = time.time() - 600
    os.utime(path, (then, then))


@pytest.fixture
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Project]:
    module = f"net_{abs(hash(request.node.nodeid))}"
    yield Project(tmp_path, module)
    for name in [name for name in sys.modules if name.startswith(module)]:
        del sys.modules[name]


def test_an_unchanged_model_is_known_and_the_same(project: Project) -> None:
    loaded = project.model()
    content = loaded.fingerprint
    known = project.model()
    assert not isinstance(loaded, DeferredModel)
    assert isinstance(known, DeferredModel)
    assert project.module not in sys.modules, "telling what it is takes none of its code"
    assert (known.fingerprint, known.preprocess, known.classes, known.name) == (
        content,
        Preprocess(mean=0.5, std=0.5),
        None,
        "weights",
    )
    image = torch.rand(1, 3, 4, 4)
    assert torch.equal(known.module(image), loaded.module(image))


def test_weights_changed_in_place_after_loading_are_noticed(project: Project) -> None:
    project.model()
    known = project.model()
    assert isinstance(known, DeferredModel)
    before = known.fingerprint
    assert known.module is known.module
    assert known.fingerprint == before
    known.module.head.linear.bias.data += 1  # type: ignore[union-attr, operator]
    assert known.fingerprint != before


def test_a_known_model_can_be_given_another_preprocessing(project: Project) -> None:
    project.model()
    known = project.model()
    assert isinstance(known, DeferredModel)
    other = dataclasses.replace(known, preprocess=Preprocess(size=8), name="other")
    assert (other.preprocess.crop, other.name, other.fingerprint) == (8, "other", known.fingerprint)


def test_other_weights_are_another_model(project: Project) -> None:
    first = project.model().fingerprint
    project.save(1)
    assert not project.is_known()
    assert project.is_known()
    assert project.model().fingerprint != first


def test_the_same_weights_at_another_time_are_the_same_model(project: Project) -> None:
    project.model()
    project.save(0)
    assert project.is_known()


@pytest.mark.parametrize("file", ["", "_parts"])
def test_other_code_is_another_model(project: Project, file: str) -> None:
    project.model()
    path = project.directory / f"{project.module}{file}.py"
    project.write(path.name, path.read_text() + "\nADDED = 1\n")
    assert not project.is_known()


def test_other_keys_are_another_model(project: Project) -> None:
    project.model()
    assert not project.is_known("&size=8")
    assert project.is_known("&size=8")


def test_a_changed_file_of_class_names_is_noticed(project: Project) -> None:
    project.write("classes.txt", "a\nb\nc\n")
    project.model("&classes=classes.txt")
    known = project.model("&classes=classes.txt")
    assert isinstance(known, DeferredModel)
    assert known.classes == ("a", "b", "c")
    project.write("classes.txt", "a\nb\nd\n")
    assert not project.is_known("&classes=classes.txt")


def test_another_release_of_a_library_is_another_model(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.model()
    monkeypatch.setattr(source_code, "_version", lambda distribution: f"another {distribution}")
    assert not project.is_known()


def test_a_file_that_was_just_written_is_not_trusted(project: Project) -> None:
    # It may be written again within the resolution of its time stamp.
    os.utime(project.weights)
    project.model()
    facts = Facts(Place(project.directory / "facts"))
    answers = iter(range(10))
    assert [facts.of_files([project.weights], "question", lambda: next(answers)) for _ in range(2)] == [0, 1]
    age(project.weights)
    assert [facts.of_files([project.weights], "question", lambda: next(answers)) for _ in range(2)] == [2, 2]


def test_a_file_that_was_given_an_old_time_is_read_again(project: Project) -> None:
    facts = Facts(Place(project.directory / "facts"))
    path = project.directory / "file"
    path.write_text("one")
    age(path)
    before = path.stat().st_mtime
    first = facts.digest(path)
    time.sleep(0.02)
    path.write_text("two")
    os.utime(path, (before, before))
    assert facts.digest(path) != first


@pytest.mark.parametrize(
    "added",
    [
        'import os\nSCALE = float(os.environ.get("SCALE", 1))\n',
        "from pathlib import Path\ndef text():\n    return Path(__file__).read_text()\n",
        "import json\nwith open(__file__) as file:\n    FIRST = file.readline()\n",
    ],
)
def test_code_that_looks_elsewhere_is_loaded_each_time(project: Project, added: str) -> None:
    path = project.directory / f"{project.module}_parts.py"
    project.write(path.name, path.read_text() + added)
    project.model()
    assert not project.is_known()


@pytest.mark.parametrize(
    "drawn", ['self.register_buffer("drawn", torch.randn(3), persistent=False)', "self.drawn = torch.randn(3)"]
)
def test_a_model_with_tensors_of_its_own_is_loaded_each_time(project: Project, drawn: str) -> None:
    path = project.directory / f"{project.module}_parts.py"
    project.write(path.name, path.read_text().replace("super().__init__()", f"super().__init__()\n        {drawn}"))
    project.model()
    assert not project.is_known()


@pytest.mark.parametrize("spec", ["torchvision:squeezenet1_0?num_classes=3", "python:{module}:Net"])
def test_models_that_are_drawn_at_random_are_loaded_each_time(project: Project, spec: str) -> None:
    for _ in range(2):
        found = model_of_spec(spec.format(module=project.module), project.directory, project.facts)
        assert not isinstance(found, DeferredModel)


def test_without_a_store_nothing_is_known(project: Project) -> None:
    project.facts = Store().facts
    project.model()
    assert not project.is_known()


def test_weights_that_change_before_a_known_model_is_loaded_are_an_error(project: Project) -> None:
    project.model()
    known = project.model()
    assert isinstance(known, DeferredModel)
    project.save(1)
    with pytest.raises(BiasTransferError, match="model weights: has changed since the tests began; run them again"):
        known.module  # noqa: B018 - loads it


@pytest.mark.parametrize("added", ["processor_config.json", "model.safetensors.index.json", "other.json"])
def test_a_directory_with_another_file_is_another_model(
    added: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_classifier("pets")
    for path in filter(Path.is_file, tmp_path.rglob("*")):
        age(path)
    facts = Store(tmp_path / "store").facts
    for expected in (False, True):
        assert isinstance(model_of_spec("hf:pets", tmp_path, facts), DeferredModel) is expected
    Path("pets", added).write_text("{}")
    try:
        assert not isinstance(model_of_spec("hf:pets", tmp_path, facts), DeferredModel)
    except BiasTransferError as error:
        assert added in str(error)  # noqa: PT017 - what cannot be loaded is not known either.


@pytest.mark.parametrize(
    ("spec", "decides"),
    [
        ("torchscript:script.pt", "script.pt"),
        ("export:net.pt2", "net.pt2"),
        ("onnx:net.onnx", "net.onnx.data"),
        ("hf:pets", "pets/preprocessor_config.json"),
        ("timm:resnet10t?checkpoint=timm.pth&num_classes=3", "timm.pth"),
        ("checkpoint:three.pt?arch=hf:pets", "pets/config.json"),
        ("checkpoint:timm.pth?arch=timm:resnet10t&num_classes=3", "timm.pth"),
    ],
)
def test_models_of_all_files_are_known(
    spec: str, decides: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    script(trained(), "script.pt")
    exported(trained(), "net.pt2")
    onnx(trained(), "net.onnx", beside=True)
    torch.save(save_classifier("pets").state_dict(), "three.pt")
    torch.save(small_timm(3).state_dict(), "timm.pth")
    for path in filter(Path.is_file, tmp_path.rglob("*")):
        age(path)
    facts = Store(tmp_path / "store").facts

    def found(query: str = "") -> Model:
        return model_of_spec(spec + query, tmp_path, facts)

    loaded = found()
    known = found()
    assert not isinstance(loaded, DeferredModel)
    assert isinstance(known, DeferredModel)
    assert (known.fingerprint, known.preprocess, known.classes, known.name) == (
        loaded.fingerprint,
        loaded.preprocess,
        loaded.classes,
        loaded.name,
    )
    assert known.module is not None
    assert known.fingerprint == loaded.fingerprint
    # Any of its files decides: weights beside a graph, or a description beside weights.
    changed = tmp_path / decides
    changed.write_bytes(changed.read_bytes())
    os.utime(changed, (time.time() - 500, time.time() - 500))
    assert isinstance(found(), DeferredModel), "it has another time, and the same content"
    with changed.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(b" " if last != b" " else b"\n")
    age(changed)
    try:
        again = found()
    except BiasTransferError:
        return
    assert not isinstance(again, DeferredModel)
