"""Pixels that stay on a device, and the order in which they are dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_biastransfer import Grayscale, Model, Preprocess, Square
from pytest_biastransfer.data import as_images
from pytest_biastransfer.evaluation import local_executor
from pytest_biastransfer.evaluation.device_copies import Copy, DeviceCopies
from pytest_biastransfer.evaluation.device_memory import DeviceMemory
from pytest_biastransfer.evaluation.device_pixels import DevicePixels, memory_for_pixels
from pytest_biastransfer.evaluation.evaluator import Evaluator

SIZE = 10


def pixels(chunks: int = 1) -> Copy:
    return Copy([torch.zeros(SIZE * chunks, dtype=torch.uint8)], None)


names = st.sampled_from("abcd")
numbers = st.integers(0, 3)


@given(
    limit=st.integers(0, 60), calls=st.lists(st.tuples(st.sampled_from(["get", "put"]), names, numbers), max_size=60)
)
def test_the_least_recently_used_dataset_is_dropped_first(limit: int, calls: list[tuple[str, str, int]]) -> None:
    cache = DevicePixels(lambda: limit)
    # As a list from the least to the most recently used dataset.
    expected: list[tuple[str, set[int]]] = []
    for call, name, number in calls:
        chunk = range(number, number + 1)
        own = next((chunks for other, chunks in expected if other == name), set())
        if call == "get":
            assert (cache.get(name, chunk) is not None) == (number in own)
            is_used = number in own
        else:
            cache.put(name, chunk, pixels())
            is_used = bool(own) or limit >= SIZE
            if number not in own and (len(own) + 1) * SIZE <= limit:
                others = [entry for entry in expected if entry[0] != name]
                while (sum(len(chunks) for _, chunks in others) + len(own) + 1) * SIZE > limit:
                    others.pop(0)
                expected = [*others, (name, own | {number})]
        if is_used and any(other == name for other, _ in expected):
            entry = next(entry for entry in expected if entry[0] == name)
            expected = [*(other for other in expected if other is not entry), entry]
        assert cache.bytes == sum(len(chunks) for _, chunks in expected) * SIZE <= limit
    assert cache.clear() == bool(expected)
    assert cache.bytes == 0


def test_a_cpu_keeps_nothing() -> None:
    assert memory_for_pixels("cpu", 10**9) == 0


class Photos:
    """Images of bytes, or of floats, that count how often one is read."""

    def __init__(self, *, floats: bool = False) -> None:
        self.floats = floats
        self.reads = 0

    def __len__(self) -> int:
        return 600

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        self.reads += 1
        image = torch.randint(0, 256, (3, 8, 8), generator=torch.Generator().manual_seed(index), dtype=torch.uint8)
        return (image / 255 * 0.99 if self.floats else image), 0


class Observed:
    """A cache, and the sizes of a model's batches, that are no part of what the model is."""

    def __init__(self, cache: DevicePixels | None = None) -> None:
        self.cache = cache or DevicePixels(lambda: 0)
        self.sizes: list[int] = []

    def __reduce__(self) -> tuple[type[Observed], tuple[()]]:
        return Observed, ()


class Hungry(torch.nn.Module):
    """Runs out of memory as long as pixels are on the device, once it has predicted so many images."""

    def __init__(self, cache: DevicePixels, after: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(192, 5, generator=torch.Generator().manual_seed(0)))
        self.observed = Observed(cache)
        self.after = after

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.observed.cache.bytes and sum(self.observed.sizes) >= self.after:
            raise torch.OutOfMemoryError
        self.observed.sizes.append(len(images))
        return images.flatten(1) @ self.weight


@pytest.fixture
def _busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat the CPU as a device that computes on its own."""
    monkeypatch.setattr(local_executor, "computes_beside", lambda device: True)


@pytest.mark.usefixtures("_busy")
@pytest.mark.parametrize("floats", [False, True])
def test_later_passes_read_nothing(floats: bool) -> None:
    photos, cache = Photos(floats=floats), DevicePixels(lambda: 10**9)
    images = as_images(photos, "photos")
    model = Model(Hungry(cache, 10**9), preprocess=Preprocess(mean=0.5, std=0.5))
    expected = [Evaluator("cpu").predictions(model, images, change).classes for change in (None, Square(), Grayscale())]
    evaluator = Evaluator("cpu", device_memory=DeviceMemory(cache))
    photos.reads = 0
    first, *others = (evaluator.predictions(model, images, change).classes for change in (None, Square(), Grayscale()))
    assert all(np.array_equal(*pair) for pair in zip(expected, [first, *others], strict=True))
    # The fingerprint of the dataset is known; one image is read for its size.
    assert photos.reads == (3 * 600 + 1 if floats else 601)
    assert cache.bytes == (0 if floats else 600 * 192)


@pytest.mark.usefixtures("_busy")
def test_pixels_are_dropped_before_batches_get_smaller() -> None:
    cache = DevicePixels(lambda: 10**9)
    images = as_images(Photos(), "photos")
    hungry = Hungry(cache, 400)
    model = Model(hungry, preprocess=Preprocess(mean=0.5, std=0.5))
    expected = Evaluator("cpu").predictions(model, images).classes
    hungry.observed.sizes.clear()
    found = Evaluator("cpu", device_memory=DeviceMemory(cache), batch_size=128).predictions(model, images).classes
    assert np.array_equal(found, expected)
    # The check that a model is deterministic makes other batches.
    assert {128, 600 % 128 or 128} >= {size for size in hungry.observed.sizes if size > 64}


@pytest.mark.usefixtures("_busy")
def test_pixels_are_dropped_where_the_next_ones_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    cache, refused = DevicePixels(lambda: 10**9), []
    images = as_images(Photos(), "photos")
    model = Model(torch.nn.Flatten(), preprocess=Preprocess(mean=0.5, std=0.5))
    expected = Evaluator("cpu").predictions(model, images).classes
    copy = DeviceCopies.to_device

    def to_full_device(self: DeviceCopies, arrays: Sequence[npt.NDArray[Any]]) -> Copy:
        # A device whose memory is the cached pixels: of 600 images of 192 bytes, 400 fit.
        if cache.bytes + sum(array.nbytes for array in arrays) > 400 * 192 and cache.bytes:
            refused.append(cache.bytes)
            raise torch.OutOfMemoryError
        return copy(self, arrays)

    monkeypatch.setattr(DeviceCopies, "to_device", to_full_device)
    found = Evaluator("cpu", device_memory=DeviceMemory(cache)).predictions(model, images).classes
    assert np.array_equal(found, expected)
    assert refused
    assert cache.bytes <= 400 * 192


def test_two_sessions_on_one_gpu_share_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions: list[DevicePixels] = []
    size = pixels().bytes
    total = 90 * size

    def free_memory(device: str) -> tuple[int, int]:
        return total - sum(session.bytes for session in sessions), total

    monkeypatch.setattr(torch.cuda, "mem_get_info", free_memory)
    for chunks in (30, 20):
        session = DevicePixels(lambda: memory_for_pixels("cuda"))
        stay = [session.put("photos", range(index, index + 1), pixels()) for index in range(90)]
        assert sum(stay) == chunks
        assert session.bytes == chunks * size
        sessions.append(session)
    # Of what is left, two workers of a third session share a third.
    assert memory_for_pixels("cuda", processes=2) == 40 * size // 3 // 2
    # Beside others that have taken more than there is, nothing stays.
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, total))
    assert not DevicePixels(lambda: memory_for_pixels("cuda")).put("photos", range(1), pixels())
