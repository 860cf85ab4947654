"""Interventions of later measurements, computed while the pixels are on the device; the CPU plays the device."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from pytest_biastransfer import Custom, Grayscale, Intervention, Model, Preprocess, Square
from pytest_biastransfer.data import as_images
from pytest_biastransfer.errors import InterventionError
from pytest_biastransfer.evaluation import local_executor
from pytest_biastransfer.evaluation.device_memory import DeviceMemory
from pytest_biastransfer.evaluation.device_pixels import DevicePixels
from pytest_biastransfer.evaluation.environment import Upcoming
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.evaluation.prediction_kinds import are_classes
from pytest_biastransfer.store import Store

COUNT = 600
BYTES = 3 * 8 * 8


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(BYTES, 5, generator=torch.Generator().manual_seed(0)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) @ self.weight


class Photos:
    """Images of bytes with a mask of their left half; counts how often one is read."""

    def __init__(self) -> None:
        self.reads = 0

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        self.reads += 1
        generator = torch.Generator().manual_seed(index)
        return torch.randint(0, 256, (3, 8, 8), generator=generator, dtype=torch.uint8), 0


@pytest.fixture(autouse=True)
def _busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_executor, "computes_beside", lambda device: True)


def evaluator(store: Path, upcoming: Sequence[Upcoming], memory: int = 0) -> Evaluator:
    return Evaluator(
        "cpu",
        Store(store),
        pixel_cache=0,
        device_memory=DeviceMemory(DevicePixels(lambda: memory)),
        upcoming=lambda _model, _images: upcoming,
    )


def test_a_chunk_is_loaded_once_for_all_that_is_needed_of_it(tmp_path: Path) -> None:
    photos, model = Photos(), Model(Net(), preprocess=Preprocess(mean=0, std=1))
    images = as_images(photos, "photos")
    changes: list[Intervention] = [Square(), Grayscale(), Square(size=0.5)]
    expected = [Evaluator("cpu").predictions(model, images, change).classes for change in (None, *changes)]
    # The last one may stop after its first look, so that it may not need all that is computed together.
    upcoming = [Upcoming(None), *(Upcoming(change, change is changes[-1]) for change in changes)]
    session = evaluator(tmp_path, upcoming)
    _ = images.fingerprint
    photos.reads = 0
    clean = session.predictions(model, images)
    assert (photos.reads, clean.computed) == (COUNT + 1, 3 * COUNT)
    others = [session.predictions(model, images, change) for change in changes]
    assert [other.computed for other in others] == [0, 0, COUNT]
    assert photos.reads == 2 * COUNT + 1
    assert all(np.array_equal(found.classes, wanted) for found, wanted in zip([clean, *others], expected, strict=True))


def test_a_first_look_takes_the_first_look_of_others_along(tmp_path: Path) -> None:
    model, images = Model(Net(), preprocess=Preprocess(mean=0, std=1)), as_images(Photos(), "photos")
    session = evaluator(tmp_path, [Upcoming(None, True), Upcoming(Square(), True), Upcoming(Grayscale())])
    keys = session.keys(model, images, [None, Square(), Grayscale()])
    with contextlib.ExitStack() as stack:
        clean = session.collector(model, images, None, keys[0], stack)
        assert [clean.collect(look).computed for look in clean.looks[:2]] == [3 * 32, 3 * 32 + 2 * 32]
    # What is stored is found, and what is missing is computed together, whatever was computed together before.
    for change, stored in ((None, 64), (Square(), 32), (Grayscale(), 64)):
        found = Evaluator("cpu", Store(tmp_path)).predictions(model, images, change)
        assert found.computed == COUNT - stored
        assert np.array_equal(found.classes, Evaluator("cpu").predictions(model, images, change).classes)


def test_what_stays_on_the_device_is_loaded_once_anyway(tmp_path: Path) -> None:
    photos, model = Photos(), Model(Net(), preprocess=Preprocess(mean=0, std=1))
    images = as_images(photos, "photos")
    # The first of three chunks fits.
    session = evaluator(tmp_path, [Upcoming(Square())], memory=300 * BYTES)
    assert session.predictions(model, images).computed == COUNT + (COUNT - 256)
    assert session.predictions(model, images, Square()).computed == 256


def broken(images: torch.Tensor) -> torch.Tensor:
    raise ValueError("broken")


def unchanged(images: torch.Tensor, lock: threading.Lock) -> torch.Tensor:
    return images


def test_an_error_is_left_to_the_test_that_needs_the_intervention(tmp_path: Path) -> None:
    model, images = Model(Net(), preprocess=Preprocess(mean=0, std=1)), as_images(Photos(), "photos")
    failing = Custom(broken)
    session = evaluator(tmp_path, [Upcoming(failing), Upcoming(Square())])
    assert session.predictions(model, images).computed == 2 * COUNT
    assert session.predictions(model, images, Square()).computed == 0
    with pytest.raises(InterventionError, match="broken raised ValueError: broken"):
        session.predictions(model, images, failing)
    # No other process waits for what failed here.
    (key,) = session.keys(model, images, [failing])
    claims = []
    other = threading.Thread(
        target=lambda: claims.append(Store(tmp_path).predictions.claim(key.text, range(32), are_classes))
    )
    other.start()
    other.join()
    assert claims[0] is not None
    claims[0].release()


LOCK = threading.Lock()


@pytest.mark.parametrize(
    "upcoming",
    [Upcoming(Square(stage="source")), Upcoming(Custom(functools.partial(unchanged, lock=LOCK)))],
    ids=["before resizing", "without a portable key"],
)
def test_what_cannot_share_pixels_or_be_stored_is_left_out(
    upcoming: Upcoming, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    model, images = Model(Net(), preprocess=Preprocess(mean=0, std=1)), as_images(Photos(), "photos")
    assert evaluator(tmp_path, [upcoming]).predictions(model, images).computed == COUNT


def test_a_cpu_and_floats_take_nothing_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(Net(), preprocess=Preprocess(mean=0, std=1))
    floats = as_images([(torch.rand(3, 8, 8), 0) for _ in range(300)], "floats")
    assert evaluator(tmp_path / "floats", [Upcoming(Square())]).predictions(model, floats).computed == 300
    monkeypatch.undo()
    images = as_images(Photos(), "photos")
    assert evaluator(tmp_path / "cpu", [Upcoming(Square())]).predictions(model, images).computed == COUNT


def test_what_another_process_has_is_not_computed_again(tmp_path: Path) -> None:
    model, images = Model(Net(), preprocess=Preprocess(mean=0, std=1)), as_images(Photos(), "photos")
    session = evaluator(tmp_path, [Upcoming(Square())])
    (key,) = session.keys(model, images, [Square()])
    claim = Store(tmp_path).predictions.claim(key.text, range(256, 512), are_classes)
    assert claim is not None
    assert session.predictions(model, images).computed == 2 * COUNT - 256
    claim.release()
    assert Store(tmp_path).predictions.claim(key.text, range(32), are_classes) is None
    assert session.predictions(model, images, Square()).computed == 256
