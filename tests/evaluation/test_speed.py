"""What makes evaluation fast, and that it changes no result and leaves nothing behind."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pytest_biastransfer import Model, Preprocess, Square
from pytest_biastransfer.data import as_images
from pytest_biastransfer.errors import DatasetError, ModelError
from pytest_biastransfer.evaluation import local_executor
from pytest_biastransfer.evaluation.batch_size import BatchSize
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.evaluation.precision import computing_in
from pytest_biastransfer.evaluation.visiting_order import chunks, dataset_seed, visiting_order
from pytest_biastransfer.names import Precision
from pytest_biastransfer.store import Store
from tests.conftest import predicted_twice


def run_batches(batch_size: BatchSize, images: int, seconds: dict[int, float]) -> list[int]:
    """Do the work of one chunk after another; return the sizes of the batches."""
    taken = []
    for start in range(0, images, 256):
        left = min(256, images - start)
        while left:
            size = batch_size.next(left)
            batch_size.note(size, seconds.get(size, 1.0) * size)
            taken.append(size)
            left -= size
    return taken


@pytest.mark.parametrize("fastest", [16, 32, 64, 128])
def test_the_fastest_size_is_found_within_three_chunks(fastest: int) -> None:
    chooser = BatchSize(None, "cpu")
    taken = run_batches(chooser, 256 * 4, {16: 2.0, 32: 2.0, 64: 2.0, 128: 2.0} | {fastest: 1.0})
    assert sum(taken) == 256 * 4
    assert set(taken[-(256 // fastest) :]) == {fastest}


def test_the_slow_first_batch_of_a_size_does_not_count() -> None:
    chooser = BatchSize(None, "cpu")
    for size, seconds in [(128, 99), (64, 99), (32, 1), (16, 1)] + [(128, 1), (64, 1), (32, 1), (16, 1)] * 2:
        assert chooser.next(1000) == size
        chooser.note(size, seconds)
    assert chooser.next(1000) == 128


@pytest.mark.parametrize(("fixed", "device", "size"), [(7, "cpu", 7), (7, "cuda", 7), (None, "cuda", 256)])
def test_a_given_size_and_that_of_a_gpu_are_not_measured(fixed: int | None, device: str, size: int) -> None:
    chooser = BatchSize(fixed, device)
    assert set(run_batches(chooser, size * 6, {})) <= {size, 256 % size}


def test_a_size_that_does_not_fit_is_halved_and_stays() -> None:
    chooser = BatchSize(None, "cpu")
    assert chooser.reduce(128)
    assert chooser.next(1000) == 64
    assert chooser.reduce(64)
    assert set(run_batches(chooser, 1024, {})) == {32}
    assert not chooser.reduce(1)


# --------------------------------------------------------------------------------------------- memory


# In a process of its own: what is freed below a block that is still in use stays with any process.
MEMORY = """
import ctypes, json, os, sys
from pytest_biastransfer.evaluation.allocator import freed_memory_kept

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes, libc.memset.argtypes = [ctypes.c_void_p], [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
blocks = [None] * 300

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

def kept():
    # The megabytes that the process still holds of 300 after it has freed them.
    libc.malloc_trim(0)
    before = resident()
    for place in range(300):
        blocks[place] = libc.malloc(2**20)
        libc.memset(blocks[place], 1, 2**20)
    for place in range(300):
        libc.free(blocks[place])
    return resident() - before

with freed_memory_kept(json.loads(sys.argv[1])):
    meanwhile = kept()
    held = resident()
given_back = held - resident()
afterwards = kept()
try:
    with freed_memory_kept({}):
        raise KeyError
except KeyError:
    pass
print(meanwhile, given_back, afterwards, kept())
"""


def memory(environment: dict[str, str]) -> list[int]:
    """Return the megabytes kept meanwhile, given back at the end, kept afterwards, and kept after an error."""
    command = [sys.executable, "-c", MEMORY, json.dumps(environment)]
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    return list(map(int, subprocess.run(command, env=plain, stdout=subprocess.PIPE, check=True).stdout.split()))


needs_glibc = pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="needs glibc"
)


@needs_glibc
def test_freed_memory_is_kept_only_meanwhile() -> None:
    meanwhile, given_back, afterwards, after_an_error = memory({})
    assert meanwhile > 250
    assert given_back > 250
    assert afterwards < 80
    assert after_an_error < 80


@needs_glibc
@pytest.mark.parametrize("name", ["MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD"])
def test_an_allocator_that_the_user_has_set_up_is_left_alone(name: str) -> None:
    meanwhile, *_ = memory({name: "1"})
    assert meanwhile < 80


# --------------------------------------------------------------------------------------------- layouts


class Strict(torch.nn.Module):
    """A model that, as many do, takes the layout of its input for granted."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.head = torch.nn.Linear(4 * 8 * 8, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.conv(images)
        logits: torch.Tensor = self.head(features.view(len(images), -1))
        return logits


def test_a_model_that_minds_the_layout_gets_the_plain_one() -> None:
    torch.manual_seed(0)
    strict = Strict().eval()
    pixels = torch.rand(300, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    with pytest.raises(RuntimeError, match="view size"):
        strict(pixels.contiguous(memory_format=torch.channels_last))
    found = Evaluator("cpu").predictions(Model(strict), as_images([(image, 0) for image in pixels], "images"))
    with torch.inference_mode():
        expected = strict(pixels).argmax(dim=1).numpy()
    assert np.array_equal(found.classes, expected[found.indices])


def test_an_error_in_any_layout_is_the_models() -> None:
    images = as_images([(torch.rand(3, 9, 9), 0)] * 3, "images")
    with pytest.raises(ModelError, match=r"raised RuntimeError on images of shape \[3, 3, 9, 9\]"):
        Evaluator("cpu").predictions(Model(Strict()), images)


# ------------------------------------------------------------------------------------------- precision


class Seen(torch.nn.Module):
    """Tells what it was computed in."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)
        self.dtypes: list[torch.dtype] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.linear(images.mean(dim=(2, 3)))
        self.dtypes.append(logits.dtype)
        return logits


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", torch.float32), ("tf32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_models_compute_in_the_wanted_precision(precision: Precision, dtype: torch.dtype, tmp_path: Path) -> None:
    model = Seen()
    images = as_images([(torch.rand(3, 4, 4), 0)] * 5, "images")
    found = Evaluator("cpu", Store(tmp_path), precision=precision).predictions(Model(model), images, Square())
    assert found.computed == 5
    assert set(model.dtypes) == {dtype}


def test_predictions_of_another_precision_are_others(tmp_path: Path) -> None:
    images = as_images([(torch.rand(3, 4, 4), 0)] * 5, "images")
    model = Model(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 3)))
    keys = [
        Evaluator("cpu", precision=precision).keys(model, images, [None])[0].text
        for precision in ("float32", "tf32", "bf16")
    ]
    assert len(set(keys)) == 3


def test_the_settings_of_cuda_are_put_back() -> None:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn

    def settings() -> list[object]:
        if hasattr(matmul, "fp32_precision"):
            return [backend.fp32_precision for backend in (matmul, cudnn.conv, cudnn.rnn)]  # type: ignore[attr-defined]
        return ["tf32" if backend.allow_tf32 else "ieee" for backend in (matmul, cudnn, cudnn)]

    before = settings()
    with computing_in("float32", "cpu"):
        assert settings() == ["ieee"] * 3
    assert settings() == before
    with computing_in("tf32", "cpu"):
        assert settings() == ["tf32"] * 3
    assert settings() == before


# --------------------------------------------------------------------------------------- loading ahead


class Events(torch.nn.Module):
    """A model and a dataset in one, which tell when they are used."""

    def __init__(self, broken: int | None = None) -> None:
        super().__init__()
        self.events: list[str] = []
        self.broken = broken

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.events.append("computed")
        return images.mean(dim=(2, 3))

    def __len__(self) -> int:
        return 600

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        if index == self.broken and self.events:
            return torch.zeros(3), 0
        self.events.append("read")
        return torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(index)), 0


def chunkwise(events: list[str]) -> list[tuple[str, int]]:
    return [(event, len(list(group))) for event, group in itertools.groupby(events)]


def test_the_next_chunk_is_loaded_while_one_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    both = Events()
    images = as_images(both, "images")
    expected = Evaluator("cpu", batch_size=256).predictions(Model(Events()), images)
    monkeypatch.setattr(local_executor, "computes_beside", lambda device: True)
    both.events.clear()
    found = Evaluator("cpu", batch_size=256).predictions(Model(both), images)
    assert np.array_equal(found.classes, expected.classes)
    # One image is read to estimate the size of all.
    assert chunkwise(both.events) == [
        ("read", 257),
        ("computed", 1 + predicted_twice(600) // 4),
        ("read", 256),
        ("computed", 1),
        ("read", 88),
        ("computed", 1),
    ]


def test_a_mistake_in_the_next_chunk_does_not_cost_the_current_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(local_executor, "computes_beside", lambda device: True)
    both = Events()
    images = as_images(both, "images")
    in_second_task = int(visiting_order(600, dataset_seed(images.fingerprint, 0))[300])
    both.broken = in_second_task
    with pytest.raises(DatasetError, match=f"item {in_second_task} "):
        Evaluator("cpu", Store(tmp_path), batch_size=256).predictions(Model(Events()), images)
    stored = {path.stem for path in tmp_path.glob("predictions/*/*.chunk")}
    assert stored == {f"{chunk.start}-{chunk.stop}" for chunk in chunks(256)}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_on_cuda_nearly_all_predictions_are_those_of_the_cpu(precision: Precision) -> None:
    torch.manual_seed(0)
    model = Model(Strict(), preprocess=Preprocess(mean=0.5, std=0.25))
    images = as_images([(image, 0) for image in torch.rand(2000, 3, 8, 8)], "images")
    on_cpu = Evaluator("cpu").predictions(model, images, Square()).classes
    on_cuda = Evaluator("cuda", precision=precision).predictions(model, images, Square()).classes
    assert np.mean(on_cpu != on_cuda) <= (0.001 if precision == "float32" else 0.02)


def test_a_session_in_which_everything_is_there_imports_neither_torch_nor_numpy(pytester: pytest.Pytester) -> None:
    """Whole sessions with real weights, from files that are some minutes old."""
    from tests.models.test_deferred import Project, age
    from tests.plugin.test_sessions import make_folder

    project = Project(pytester.path, "warm_net")
    make_folder(pytester.path / "photos", images=20)
    for path in pytester.path.rglob("*"):
        age(path)
    pytester.makeini(
        "[pytest]\nbias_dataset = imagefolder:photos\n"
        f"bias_transferred_model = checkpoint:weights.safetensors?arch=python:{project.module}:Net&size=16\n"
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.bias_intervention("yellow-square", "grayscale", max_asr=1, max_skew=1, allow_degenerate=True)
        def test_it():
            pass
        """
    )
    pytester.makeconftest(
        """
        import sys

        def pytest_sessionfinish():
            with open("imported.txt", "a") as file:
                print("torch" in sys.modules, "numpy" in sys.modules, file=file)
        """
    )
    for arguments, seen in (([], "True True"), ([], "False False"), (["-n2"], "False False")):
        (pytester.path / "imported.txt").write_text("")
        result = pytester.runpytest_subprocess("-p", "no:hypothesispytest", *arguments)
        result.assert_outcomes(passed=2)
        evaluated = 60 if seen == "True True" else 0
        result.stdout.fnmatch_lines([f"2 bias tests: 2 passed; {evaluated} images evaluated, *"])
        assert set((pytester.path / "imported.txt").read_text().splitlines()) == {seen}
    # Of three workers, one has no test: it and the process that hands out the tests load nothing.
    shutil.rmtree(pytester.path / ".pytest_cache")
    (pytester.path / "imported.txt").write_text("")
    result = pytester.runpytest_subprocess("-p", "no:hypothesispytest", "-n3")
    result.stdout.fnmatch_lines(["2 bias tests: 2 passed; 60 images evaluated, *"])
    seen_by = (pytester.path / "imported.txt").read_text().splitlines()
    assert len(seen_by) == 4
    assert seen_by.count("False False") >= 2
    assert "warm_net" not in os.environ
