"""Models of specs that are known from an earlier session: not loaded as long as nothing has changed."""

from __future__ import annotations

import dataclasses
import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pytest_biastransfer import BiasTransferError, Model, Preprocess
from pytest_biastransfer.fingerprints import installed, source_code
from pytest_biastransfer.models.deferred import DeferredModel, model_of_spec
from pytest_biastransfer.models.loading_reasons import Listener, no_listener
from pytest_biastransfer.store import Facts, Store, StoreDirectory
from tests.models.test_schemes import exported, onnx, save_classifier, script, small_timm, trained

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

    def model(self, options: str = "", listener: Listener = no_listener) -> Model:
        """Return the model as another process would: the modules are imported anew."""
        for name in [name for name in sys.modules if name.startswith(self.module)]:
            del sys.modules[name]
        spec = f"checkpoint:weights.safetensors?arch=python:{self.module}:Net&mean=0.5&std=0.5{options}"
        return model_of_spec(spec, self.directory, self.facts, listener=listener)

    def is_cached(self, options: str = "") -> bool:
        return isinstance(self.model(options), DeferredModel)


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
    deferred = project.model()
    assert not isinstance(loaded, DeferredModel)
    assert isinstance(deferred, DeferredModel)
    assert project.module not in sys.modules, "telling what it is takes none of its code"
    assert (deferred.fingerprint, deferred.preprocess, deferred.classes, deferred.name) == (
        content,
        Preprocess(mean=0.5, std=0.5),
        None,
        "weights",
    )
    image = torch.rand(1, 3, 4, 4)
    assert torch.equal(deferred.module(image), loaded.module(image))


def test_weights_changed_in_place_after_loading_are_noticed(project: Project) -> None:
    project.model()
    deferred = project.model()
    assert isinstance(deferred, DeferredModel)
    before = deferred.fingerprint
    assert deferred.module is deferred.module
    assert deferred.fingerprint == before
    deferred.module.head.linear.bias.data += 1  # type: ignore[union-attr, operator]
    assert deferred.fingerprint != before


def test_a_known_model_can_be_given_another_preprocessing(project: Project) -> None:
    project.model()
    deferred = project.model()
    assert isinstance(deferred, DeferredModel)
    other = dataclasses.replace(deferred, preprocess=Preprocess(size=8), name="other")
    assert (other.preprocess.crop, other.name, other.fingerprint) == (8, "other", deferred.fingerprint)


def test_other_weights_are_another_model(project: Project) -> None:
    first = project.model().fingerprint
    project.save(1)
    assert not project.is_cached()
    assert project.is_cached()
    assert project.model().fingerprint != first


def test_the_same_weights_at_another_time_are_the_same_model(project: Project) -> None:
    project.model()
    project.save(0)
    assert project.is_cached()


@pytest.mark.parametrize("file", ["", "_parts"])
def test_other_code_is_another_model(project: Project, file: str) -> None:
    project.model()
    path = project.directory / f"{project.module}{file}.py"
    project.write(path.name, path.read_text() + "\nADDED = 1\n")
    assert not project.is_cached()


def test_other_keys_are_another_model(project: Project) -> None:
    project.model()
    assert not project.is_cached("&size=8")
    assert project.is_cached("&size=8")


def test_a_changed_file_of_class_names_is_noticed(project: Project) -> None:
    project.write("classes.txt", "a\nb\nc\n")
    project.model("&classes=classes.txt")
    deferred = project.model("&classes=classes.txt")
    assert isinstance(deferred, DeferredModel)
    assert deferred.classes == ("a", "b", "c")
    project.write("classes.txt", "a\nb\nd\n")
    assert not project.is_cached("&classes=classes.txt")


def test_another_release_of_a_library_is_another_model(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.model()
    monkeypatch.setattr(source_code, "_version", lambda distribution: f"another {distribution}")
    assert not project.is_cached()


def test_a_file_that_was_just_written_is_not_trusted(project: Project) -> None:
    # It may be written again within the resolution of its time stamp.
    os.utime(project.weights)
    project.model()
    facts = Facts(StoreDirectory(project.directory / "facts"))
    answers = iter(range(10))
    assert [facts.of_files([project.weights], "question", lambda: next(answers)) for _ in range(2)] == [0, 1]
    age(project.weights)
    assert [facts.of_files([project.weights], "question", lambda: next(answers)) for _ in range(2)] == [2, 2]


def test_a_file_that_was_given_an_old_time_is_read_again(project: Project) -> None:
    facts = Facts(StoreDirectory(project.directory / "facts"))
    path = project.directory / "file"
    path.write_text("one")
    age(path)
    before = path.stat().st_mtime
    first = facts.digest(path)
    time.sleep(0.02)
    path.write_text("two")
    os.utime(path, (before, before))
    assert facts.digest(path) != first


READING = {
    "environ.get": "import os\nSCALE = float(os.environ.get('SCALE', 1))\n",
    "environ": "from os import environ\nSCALE = float(environ['SCALE']) if 'SCALE' in environ else 1\n",
    "getenv": "from os import getenv\nSCALE = float(getenv('SCALE', '1'))\n",
    "environb": "import os\nSCALE = float(os.environb.get(b'SCALE', b'1'))\n",
    "a file": "import pathlib\nSCALE = float(pathlib.Path(__file__).with_name('scale.txt').read_text())\n",
    "json": "import json\nwith open('scale.txt') as file:\n    SCALE = json.load(file)\n",
    "parsed": "import configparser\nCONF = configparser.ConfigParser()\nCONF.read('scale.ini')\n",
    "bytes": "import io\nwith io.open('scale.txt', 'rb') as file:\n    SCALE = file.read()\n",
    "a listing": "import os\nSCALE = len(os.listdir('scales'))\n",
    "glob": "import glob\nSCALE = len(glob.glob('scales/*'))\n",
    "a file that is not there": "try:\n    SCALE = __import__('pathlib').Path('more.txt').read_text()\nexcept OSError:\n    SCALE = 1\n",
}


@pytest.mark.parametrize("when", ["imported", "constructed"])
@pytest.mark.parametrize("reading", READING)
def test_what_is_read_when_a_model_is_loaded_is_part_of_what_it_is_known_by(
    reading: str, when: str, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.directory)
    monkeypatch.setenv("SCALE", "1")
    for name, text in (("scale.txt", "1"), ("scale.ini", "[net]\nscale = 1\n"), ("scales/1", "")):
        (project.directory / name).parent.mkdir(exist_ok=True)
        project.write(name, text)
    path = project.directory / f"{project.module}_parts.py"
    code = READING[reading]
    if when == "constructed":
        lines = "\n        ".join(code.splitlines())
        project.write(path.name, path.read_text().replace("super().__init__()", f"super().__init__()\n        {lines}"))
    else:
        project.write(path.name, path.read_text() + code)
    assert not project.is_cached()
    assert project.is_cached()
    monkeypatch.setenv("SCALE", "2")
    for name, text in (("scale.txt", "2"), ("scale.ini", "[net]\nscale = 2\n"), ("scales/2", ""), ("more.txt", "2")):
        project.write(name, text)
    assert not project.is_cached()


@pytest.mark.parametrize(
    "added",
    [
        "import os\nSCALE = len(os.environ)\n",
        "import os\nSETTINGS = dict(os.environ)\n",
        "import sys\nSCALE = len(sys.argv[1:])\n",
        "import sys\nSCALE = len(sys.argv)\n",
        "import sys\nFAST = '--fast' in sys.argv\n",
        "import sys\nDEFAULT = sys.argv == ['pytest']\n",
        "import sys\nARGUMENTS = sys.argv.copy()\n",
        "import argparse\nOPTIONS = argparse.ArgumentParser().parse_known_args()\n",
        "import socket\nHOST = socket.gethostname()\n",
        "import subprocess\nSCALE = subprocess.check_output(['true'])\n",
        "import sqlite3\nBASE = sqlite3.connect(':memory:')\n",
        "import pathlib\nCPUS = pathlib.Path('/proc/cpuinfo').read_text()\n",
        "from pydantic_settings import BaseSettings\nclass Settings(BaseSettings):\n    pool: str = 'mean'\nS = Settings()\n",
        "from safetensors import safe_open\nOPEN = safe_open\n",
    ],
)
def test_code_that_asks_for_what_cannot_be_compared_is_loaded_each_time(added: str, project: Project) -> None:
    if "pydantic_settings" in added:
        pytest.importorskip("pydantic_settings")
    path = project.directory / f"{project.module}_parts.py"
    project.write(path.name, path.read_text() + added)
    project.model()
    assert not project.is_cached()


def test_code_that_was_imported_before_is_loaded_each_time(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(project.directory)
    spec = f"checkpoint:weights.safetensors?arch=python:{project.module}:Net&mean=0.5&std=0.5"
    for _ in range(2):
        importlib.import_module(f"{project.module}_parts")
        assert not isinstance(model_of_spec(spec, project.directory, project.facts), DeferredModel)
        for name in [name for name in sys.modules if name.startswith(project.module)]:
            del sys.modules[name]


def test_two_models_of_one_architecture_are_both_known(project: Project) -> None:
    spec = f"checkpoint:weights.safetensors?arch=python:{project.module}:Net&mean=0.5&std=0.5"
    specs = [spec, f"{spec}&name=other"]
    for expected in (False, True):
        models = [model_of_spec(text, project.directory, project.facts) for text in specs]
        assert [isinstance(model, DeferredModel) for model in models] == [expected] * 2
        for name in [name for name in sys.modules if name.startswith(project.module)]:
            del sys.modules[name]


def test_a_known_model_is_loaded_where_a_library_was_patched(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    before = project.model().fingerprint
    deferred = project.model()
    assert isinstance(deferred, DeferredModel)
    monkeypatch.setattr(torch.nn.Linear, "forward", lambda self, features: features * 2)
    assert deferred.fingerprint != before, "patched after it was known"
    assert not project.is_cached()
    monkeypatch.undo()
    assert project.model().fingerprint == before


def test_a_module_that_comes_before_the_models_own_is_noticed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.model()
    assert project.is_cached()
    # A package comes before a module of the same name.
    package = project.directory / f"{project.module}_parts"
    package.mkdir()
    project.write(f"{package.name}/__init__.py", PARTS)
    assert not project.is_cached()


def test_another_install_of_the_same_version_is_another_model(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.fingerprints.test_installed import install

    project.write(f"{project.module}.py", ARCH.format(module="petparts").replace("petparts_parts", "petparts"))
    (project.directory / f"{project.module}_parts.py").unlink()
    site = project.directory / "site"
    monkeypatch.syspath_prepend(site)
    cached = []
    for text in (PARTS, PARTS, PARTS + "\nMORE = 1\n", PARTS + "\nMORE = 1\n"):
        install(site, "petparts", text)
        sys.modules.pop("petparts", None)
        importlib.invalidate_caches()
        installed._installed_at.cache_clear()
        cached.append(project.is_cached())
    sys.modules.pop("petparts", None)
    assert cached == [False, True, False, True]


@pytest.mark.parametrize(
    "statement", ['self.register_buffer("drawn", torch.randn(3), persistent=False)', "self.drawn = torch.randn(3)"]
)
def test_a_model_with_tensors_of_its_own_is_loaded_each_time(project: Project, statement: str) -> None:
    path = project.directory / f"{project.module}_parts.py"
    project.write(path.name, path.read_text().replace("super().__init__()", f"super().__init__()\n        {statement}"))
    project.model()
    assert not project.is_cached()


@pytest.mark.parametrize("spec", ["torchvision:squeezenet1_0?num_classes=3", "python:{module}:Net"])
def test_models_that_are_drawn_at_random_are_loaded_each_time(project: Project, spec: str) -> None:
    for _ in range(2):
        model = model_of_spec(spec.format(module=project.module), project.directory, project.facts)
        assert not isinstance(model, DeferredModel)


def test_without_a_store_nothing_is_known(project: Project) -> None:
    project.facts = Store().facts
    project.model()
    assert not project.is_cached()


def test_weights_that_change_before_a_known_model_is_loaded_are_an_error(project: Project) -> None:
    project.model()
    deferred = project.model()
    assert isinstance(deferred, DeferredModel)
    project.save(1)
    with pytest.raises(BiasTransferError, match="model weights: has changed since the tests began; run them again"):
        deferred.module  # noqa: B018 - loads it


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


def save_onnx() -> None:
    """Write a graph and its weights beside it, by torch's first exporter, which takes a tenth of the time."""
    import onnx as library

    onnx(trained(), "whole.onnx", dynamic=False, dynamo=False)
    graph = library.load("whole.onnx")
    library.save(graph, "net.onnx", save_as_external_data=True, location="net.onnx.data", size_threshold=0)


def save_timm() -> None:
    torch.save(small_timm(3).state_dict(), "timm.pth")


@pytest.mark.parametrize(
    ("spec", "write", "decides"),
    [
        ("torchscript:script.pt", lambda: script(trained(), "script.pt"), "script.pt"),
        ("export:net.pt2", lambda: exported(trained(), "net.pt2"), "net.pt2"),
        ("onnx:net.onnx", save_onnx, "net.onnx.data"),
        ("hf:pets", lambda: save_classifier("pets"), "pets/preprocessor_config.json"),
        ("timm:resnet10t?checkpoint=timm.pth&num_classes=3", save_timm, "timm.pth"),
        (
            "checkpoint:three.pt?arch=hf:pets",
            lambda: torch.save(save_classifier("pets").state_dict(), "three.pt"),
            "pets/config.json",
        ),
        ("checkpoint:timm.pth?arch=timm:resnet10t&num_classes=3", save_timm, "timm.pth"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.usefixtures("warm_executable")
def test_models_of_all_files_are_known(
    spec: str, write: Callable[[], object], decides: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write()
    for path in filter(Path.is_file, tmp_path.rglob("*")):
        age(path)
    facts = Store(tmp_path / "store").facts

    def load(query: str = "") -> Model:
        return model_of_spec(spec + query, tmp_path, facts)

    loaded = load()
    deferred = load()
    assert not isinstance(loaded, DeferredModel)
    assert isinstance(deferred, DeferredModel)
    assert (deferred.fingerprint, deferred.preprocess, deferred.classes, deferred.name) == (
        loaded.fingerprint,
        loaded.preprocess,
        loaded.classes,
        loaded.name,
    )
    assert deferred.module is not None
    assert deferred.fingerprint == loaded.fingerprint
    # Any of its files decides: weights beside a graph, or a description beside weights.
    changed = tmp_path / decides
    changed.write_bytes(changed.read_bytes())
    os.utime(changed, (time.time() - 500, time.time() - 500))
    assert isinstance(load(), DeferredModel), "it has another time, and the same content"
    with changed.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(b" " if last != b" " else b"\n")
    age(changed)
    try:
        again = load()
    except BiasTransferError:
        return
    assert not isinstance(again, DeferredModel)


def test_what_an_installed_package_reads_is_part_of_what_its_model_is_known_by(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.fingerprints.test_installed import install

    code = (project.directory / f"{project.module}.py").read_text().replace(f"{project.module}_parts", "petparts")
    install(project.directory / "site", "petparts", PARTS + "import os\nSCALE = float(os.environ.get('SCALE', 1))\n")
    project.write(f"{project.module}.py", code)
    monkeypatch.syspath_prepend(project.directory / "site")
    cached = []
    for scale in ("1", "1", "2", "2"):
        monkeypatch.setenv("SCALE", scale)
        sys.modules.pop("petparts", None)
        cached.append(project.is_cached())
    sys.modules.pop("petparts", None)
    assert cached == [False, True, False, True]
