"""Predictions of something else are never reused: what decides in `forward`, and objects that change in a session."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pytest_biastransfer import Model
from pytest_biastransfer.data import as_images
from pytest_biastransfer.errors import StoreWarning
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.fingerprints.observation import observing
from pytest_biastransfer.store import Store
from tests.support.source_files import write_files

# Answers with the channel that something outside of it names.
NET = """
import torch

class Net(torch.nn.Module):
    def forward(self, images):
        {code}
        means = images.mean(dim=(2, 3))
        return torch.stack([means[:, (channel + other) % 3] for other in range(3)], dim=1)
"""
CHANNEL = {
    "environ.get": "import os; channel = int(os.environ.get('CHANNEL', '0'))",
    "environ": "from os import environ; channel = int(environ['CHANNEL'])",
    "getenv": "from os import getenv; channel = int(getenv('CHANNEL'))",
    "a file": "import pathlib; channel = int(pathlib.Path('channel.txt').read_text())",
    "json": "import json, pathlib; channel = json.loads(pathlib.Path('channel.txt').read_text())",
    "parsed": "import configparser; conf = configparser.ConfigParser(); conf.read('channel.ini'); channel = int(conf['net']['channel'])",
    "imported": "from heads import channel",
    "imported by a made name": "import importlib; channel = importlib.import_module('he' + 'ads').channel",
}


@pytest.fixture
def in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Return a function that makes the model, as another session would, where the named channel is brightest."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def made(code: str, channel: int) -> Any:
        import importlib
        import sys

        monkeypatch.setenv("CHANNEL", str(channel))
        texts = {"channel.txt": f"{channel}", "channel.ini": f"[net]\nchannel = {channel}\n"}
        # Of another length: Python takes files of the same second and length for the same.
        heads = f"channel = {channel}\n" + "#\n" * channel
        write_files(tmp_path, {**texts, "heads.py": heads, "channel_nets.py": NET.format(code=code)})
        for name in ("heads", "channel_nets"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        for path in tmp_path.rglob("__pycache__"):
            for file in path.iterdir():
                file.unlink()
        return importlib.import_module("channel_nets").Net()

    yield made
    import sys

    for name in ("heads", "channel_nets"):
        sys.modules.pop(name, None)


def images() -> Any:
    generator = torch.Generator().manual_seed(0)
    return as_images([(torch.rand(3, 8, 8, generator=generator), 0) for _ in range(70)], "images")


@pytest.mark.parametrize("reading", CHANNEL)
def test_what_forward_reads_is_part_of_the_key(reading: str, in_order: Callable[..., Any], tmp_path: Path) -> None:
    computed = []
    for channel in (0, 0, 0, 1, 1, 0):
        module = in_order(CHANNEL[reading], channel)
        found = Evaluator("cpu", Store(tmp_path / "store")).predictions(Model(module), images())
        with torch.inference_mode():
            truth = module(torch.stack([torch.as_tensor(images().image(int(index))) for index in found.indices]))
        assert np.array_equal(found.classes, truth.argmax(dim=1).numpy())
        computed.append(found.computed > 0)
    # In the first session it is learnt what the model reads, in the others predictions are kept by that. A module that
    # is named in the code makes it another model, of which that is learnt anew.
    assert computed[2:] == [False, True, reading == "imported", False]


def test_a_variable_that_is_changed_within_a_session_counts(
    in_order: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data = Model(in_order(CHANNEL["getenv"], 0)), images()
    evaluator = Evaluator("cpu")
    first = evaluator.predictions(model, data).classes
    monkeypatch.setenv("CHANNEL", "1")
    second = evaluator.predictions(model, data).classes
    assert np.array_equal((first - 1) % 3, second)


class Litter:
    """Lists a directory when it is collected as garbage, as a temporary directory does."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        list(Path().iterdir())


def test_finalizers_of_other_objects_are_not_what_a_model_reads() -> None:
    gc.collect()
    Litter()
    with observing() as reads:
        # So many objects that garbage is collected.
        _ = [[] for _ in range(10**5)]
    assert reads.directories == set()
    assert gc.isenabled()
    with observing() as reads:
        list(Path().iterdir())
    assert reads.directories == {str(Path.cwd())}


class Served(torch.nn.Module):
    """A model that cannot be told by its content."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()
        self.settings = {"channels": [0, 1, 2]}
        self.weight = torch.nn.Parameter(torch.ones(3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with self.lock:
            return images.mean(dim=(2, 3))[:, self.settings["channels"]] * self.weight


class Client:
    """What says itself that it cannot be saved."""

    def __init__(self) -> None:
        self.channels = [0, 1, 2]

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("a connection")


class Asking(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.client = Client()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3))[:, self.client.channels]


CHANGES: dict[str, tuple[type[torch.nn.Module], Callable[[Any], object]]] = {
    "an attribute": (Served, lambda module: module.settings.__setitem__("channels", [1, 2, 0])),
    "a weight": (Served, lambda module: module.weight.data.copy_(torch.tensor([-1.0, 1.0, -1.0]))),
    "a method": (Served, lambda module: setattr(module, "forward", lambda images: -images.mean(dim=(2, 3)))),
    "a hook": (Served, lambda module: module.register_forward_hook(lambda module, args, output: -output)),
    "an attribute of what holds a connection": (Asking, lambda module: setattr(module.client, "channels", [1, 2, 0])),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_object_that_cannot_be_told_by_its_content_may_change_in_a_session(change: str) -> None:
    kind, make = CHANGES[change]
    module, data = kind(), images()
    model, evaluator = Model(module), Evaluator("cpu")
    with pytest.warns(StoreWarning, match="kept for this session only"):
        before = evaluator.predictions(model, data)
    assert evaluator.predictions(model, data).computed == 0, "unchanged, they are reused"
    make(module)
    after = evaluator.predictions(model, data)
    pixels = torch.stack([torch.as_tensor(data.image(int(index))) for index in after.indices])
    with torch.inference_mode():
        truth = module(pixels).argmax(dim=1).numpy()
    assert np.array_equal(after.classes, truth)
    assert not np.array_equal(after.classes, before.classes)


class Grouped(torch.utils.data.Dataset[Any]):
    """A dataset whose attribute decides about labels, images and groups."""

    by = "odd"

    def __init__(self) -> None:
        self.pictures = list(torch.rand(70, 3, 4, 4, generator=torch.Generator().manual_seed(0)))
        self.settings = {"shift": 0}
        self.reads = 0

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Any:
        # Not for the images that are read again to see whether they are what they were.
        special = index == 1
        label = int(self.settings["shift"] and special)
        return self.pictures[index], label, {"group": str(special and self.by)}


@pytest.mark.parametrize(
    "change",
    [
        lambda data: setattr(data, "by", "size"),
        lambda data: setattr(Grouped, "by", "size"),
        lambda data: data.settings.__setitem__("shift", 1),
        lambda data: data.pictures[1].mul_(0.5),
        lambda data: data.pictures.__setitem__(1, data.pictures[2]),
        lambda data: data.pictures.append(data.pictures[2]),
    ],
    ids=["attribute", "attribute of the class", "setting", "pixels", "another picture", "one more"],
)
def test_a_dataset_object_may_change_between_two_tests(change: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Grouped, "by", "odd")
    data = Grouped()
    images = as_images(data, "images")

    def all_of_it() -> tuple[object, ...]:
        return images.fingerprint, images.labels.tolist(), dict(images.attributes)

    before = all_of_it()
    assert images.looks_unchanged()
    change(data)
    assert not images.looks_unchanged()
    assert all_of_it() != before
    fresh = as_images(data, "images")
    assert all_of_it() == (fresh.fingerprint, fresh.labels.tolist(), dict(fresh.attributes))
    assert images.looks_unchanged()
