"""Pixels that stay on a device, and the order in which they are dropped."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_biastransfer import Grayscale, Model, Preprocess, Square
from pytest_biastransfer.data import as_images
from pytest_biastransfer.evaluation import local_executor
from pytest_biastransfer.evaluation.device_copies import Copy
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
