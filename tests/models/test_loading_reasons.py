"""Why a model of a spec had to be loaded, with the file and the line."""

from __future__ import annotations

import fnmatch
import importlib
import sys
from pathlib import Path

import pytest
import torch

from pytest_biastransfer import Model
from pytest_biastransfer.fingerprints import installed, source_code
from pytest_biastransfer.models.deferred import DeferredModel, model_of_spec
from pytest_biastransfer.models.loading import sources_of
from pytest_biastransfer.models.loading_reasons import FIRST_TIME, NEEDED, NO_STORE, PATCHED, LoadingReason
from pytest_biastransfer.models.scheme import NotRecognizableError
from pytest_biastransfer.specs.spec import Spec
from pytest_biastransfer.store import Store
from tests.models.test_deferred import Project, project

__all__ = ["project"]


class Heard:
    """A listener, and what it heard."""

    def __init__(self) -> None:
        self.reasons: list[LoadingReason] = []

    def __call__(self, model: Model, reason: LoadingReason) -> None:
        assert model.name
        self.reasons.append(reason)


def reason_of(project: Project, options: str = "") -> LoadingReason | None:
    """Return why another process would load the model; None if it would not."""
    heard = Heard()
    model = project.model(options, heard)
    assert len(heard.reasons) == (0 if isinstance(model, DeferredModel) else 1)
    return heard.reasons[0] if heard.reasons else None


def add(project: Project, text: str, file: str = "_parts") -> int:
    """Add code to a module, and return the number of its first line."""
    path = project.directory / f"{project.module}{file}.py"
    lines = path.read_text().count("\n") + 1
    project.write(path.name, path.read_text() + text)
    return lines


def test_the_first_time_is_told_once(project: Project) -> None:
    assert reason_of(project) == FIRST_TIME
    assert reason_of(project) is None
    assert reason_of(project, "&size=8") == FIRST_TIME


def test_what_changed_is_told(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.directory)
    monkeypatch.setenv("SCALE", "1")
    project.write("scale.txt", "1")
    (project.directory / "scales").mkdir()
    add(
        project,
        "import os, pathlib\nSCALE = os.environ['SCALE']\nMORE = pathlib.Path('scale.txt').read_text()\nALL = os.listdir('scales')\n",
    )
    assert reason_of(project) == FIRST_TIME
    project.save(1)
    assert reason_of(project) == LoadingReason("its file weights.safetensors changed since it was measured")
    add(project, "ADDED = 1\n", file="")
    assert reason_of(project) == LoadingReason(f"its code changed ({project.module}.py)")
    project.write("scale.txt", "2")
    assert reason_of(project) == LoadingReason("scale.txt changed, which its code reads")
    monkeypatch.setenv("SCALE", "2")
    assert reason_of(project) == LoadingReason("the environment variable SCALE changed, which its code reads")
    project.write("scales/1", "")
    assert reason_of(project) == LoadingReason(f"the entries of {project.directory / 'scales'} changed")
    assert reason_of(project) is None
    monkeypatch.setattr(source_code, "_version", lambda distribution: f"9 {distribution}")
    reason = reason_of(project)
    assert reason is not None
    assert reason.text.startswith("pytest-biastransfer 9 is installed, it was 0.")


def test_a_module_in_another_file_is_told(project: Project) -> None:
    assert reason_of(project) == FIRST_TIME
    package = project.directory / f"{project.module}_parts"
    package.mkdir()
    project.write(f"{package.name}/__init__.py", (project.directory / f"{project.module}_parts.py").read_text())
    assert reason_of(project) == LoadingReason(f"import {project.module}_parts finds another file")


@pytest.mark.parametrize(
    ("text", "does"),
    [
        ("import sys\nSCALE = sys.argv[1:]\n", "reads sys.argv"),
        ("import argparse\nargparse.ArgumentParser().parse_known_args()\n", "reads sys.argv"),
        ("import os\nSCALE = len(os.environ)\n", "reads all environment variables"),
        ("import socket\nHOST = socket.gethostname()\n", "calls socket.gethostname"),
        ("import subprocess\nsubprocess.check_output(['true'])\n", "calls subprocess.Popen"),
        ("import pathlib\npathlib.Path('/proc/cpuinfo').read_text()\n", "reads /proc/cpuinfo, which changes"),
    ],
)
def test_what_cannot_be_compared_is_told_with_its_line_each_time(text: str, does: str, project: Project) -> None:
    line = add(project, text) + 1
    expected = LoadingReason(f"its code {does} ({project.module}_parts.py:{line})", lasts=True)
    assert [reason_of(project), reason_of(project)] == [expected] * 2


def test_what_may_read_unseen_is_told_with_its_line(project: Project) -> None:
    helper = "from torchvision.io import read_image\ndef helper(path):\n    return read_image(path)\n"
    line = add(project, helper) + 2
    path = project.directory / f"{project.module}_parts.py"
    project.write(path.name, path.read_text().replace("return self.linear", "helper('a')\n        return self.linear"))
    line += 1
    assert reason_of(project) == LoadingReason(
        f"its code may read a file by read_image ({path.name}:{line}), which Python does not report", lasts=True
    )


@pytest.mark.parametrize(
    "text",
    [
        "import sys\ndef main():\n    print(sys.argv, open('file').read())\nif __name__ == '__main__':\n    main()\n",
        "import torchvision\ndef show(path):\n    return torchvision.io.read_image(path)\n",
        "from safetensors.torch import load_file\nclass Photos(torch.utils.data.Dataset):\n"
        "    def __getitem__(self, index):\n        return load_file(index)\n",
    ],
)
@pytest.mark.parametrize("file", ["", "_parts"])
def test_what_the_class_cannot_reach_does_not_count(text: str, file: str, project: Project) -> None:
    add(project, text, file)
    assert reason_of(project) == FIRST_TIME
    assert reason_of(project) is None


def test_code_that_was_imported_before_is_told(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(project.directory)
    spec = f"checkpoint:weights.safetensors?arch=python:{project.module}:Net&mean=0.5&std=0.5"
    heard = Heard()
    importlib.import_module(f"{project.module}_parts")
    model_of_spec(spec, project.directory, project.facts, listener=heard)
    (reason,) = heard.reasons
    assert reason.lasts
    assert reason.text.startswith(f"its module {project.module}_parts was imported before")


def test_tensors_of_its_own_are_told(project: Project) -> None:
    path = project.directory / f"{project.module}_parts.py"
    changed = path.read_text().replace("super().__init__()", "super().__init__()\n        self.drawn = torch.randn(3)")
    project.write(path.name, changed)
    assert reason_of(project) == LoadingReason(
        "head.drawn is a tensor that its file of weights does not have", lasts=True
    )


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (
            "torchvision:squeezenet1_0?num_classes=3",
            "its weights are drawn at random, as its spec names no file of weights",
        ),
        (
            "python:{module}:Net",
            "a factory may read anything; name its weights with checkpoint:FILE?arch=python:MODULE:FACTORY",
        ),
        ("ours:net", "ours: is the scheme of a plugin, whose code may read anything"),
        (
            "checkpoint:weights.safetensors?arch=ours:net",
            "ours: is the scheme of a plugin, whose code may read anything",
        ),
    ],
)
def test_specs_without_files_are_told_each_time(spec: str, text: str, project: Project) -> None:
    class Head(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(3, 3)

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = Head()

    heard = Heard()
    for _ in range(2):
        model_of_spec(
            spec.format(module=project.module), project.directory, project.facts, lambda spec: Net(), listener=heard
        )
    assert heard.reasons == [LoadingReason(text, lasts=True)] * 2


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("python:nets:make?arch=resnet18", "a factory may read anything; *"),
        ("probe:ours:net?head=head.npz", "ours: is the scheme of a plugin, *"),
        ("probe:checkpoint:net.pt%3Farch=ours:net?head=head.npz", "ours: is the scheme of a plugin, *"),
        ("timm:resnet18?pretrained=1", "timm finds its weights only after *; name their file with &checkpoint=FILE"),
        ("timm:resnet18", "its weights are drawn at random, *"),
    ],
)
def test_the_reason_is_that_of_what_cannot_be_listed(spec: str, text: str) -> None:
    with pytest.raises(NotRecognizableError) as error:
        sources_of(Spec.parse(spec))
    assert fnmatch.fnmatchcase(str(error.value), text)


def test_without_a_store_that_is_told(project: Project) -> None:
    project.facts = Store().facts
    assert [reason_of(project), reason_of(project)] == [NO_STORE] * 2


def test_known_models_that_are_loaded_later_are_told(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.model()
    heard = Heard()
    deferred = project.model("", heard)
    assert isinstance(deferred, DeferredModel)
    assert not heard.reasons
    assert deferred.module is deferred.module
    assert heard.reasons == [NEEDED]
    heard = Heard()
    deferred = project.model("", heard)
    monkeypatch.setattr(torch.nn.Linear, "forward", lambda self, features: features * 2)
    assert deferred.fingerprint
    assert heard.reasons == [PATCHED]


def test_another_install_of_a_library_is_told(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.fingerprints.test_installed import install
    from tests.models.test_deferred import ARCH, PARTS

    project.write(f"{project.module}.py", ARCH.format(module="petparts").replace("petparts_parts", "petparts"))
    (project.directory / f"{project.module}_parts.py").unlink()
    site = project.directory / "site"
    monkeypatch.syspath_prepend(site)
    reasons = []
    for text in (PARTS, PARTS + "\nMORE = 1\n"):
        install(site, "petparts", text)
        sys.modules.pop("petparts", None)
        importlib.invalidate_caches()
        installed._installed_at.cache_clear()
        reasons.append(reason_of(project))
    sys.modules.pop("petparts", None)
    assert reasons == [FIRST_TIME, LoadingReason("another petparts is installed than when it was measured")]


def test_a_file_that_vanished_is_told(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.directory)
    project.write("scale.txt", "1")
    add(
        project,
        "from pathlib import Path\nMORE = Path('scale.txt').read_text() if Path('scale.txt').exists() else ''\n",
    )
    assert reason_of(project) == FIRST_TIME
    Path("scale.txt").unlink()
    assert reason_of(project) == LoadingReason("scale.txt is missing")
