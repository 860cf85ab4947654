"""Chunks computed by the actors of a Ray cluster: the same figures, also where processes, nodes or the head die."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import pytest_biastransfer
from pytest_biastransfer import BiasTransferError, Model, Square, allow_picture_formats
from pytest_biastransfer.data import as_images
from pytest_biastransfer.data.labelled_images import LabelledImages
from pytest_biastransfer.evaluation import ray_executor
from pytest_biastransfer.evaluation.canary import Canary
from pytest_biastransfer.evaluation.chunk_task import ChunkTask
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.evaluation.ray_cluster import connected
from pytest_biastransfer.evaluation.ray_executor import RayExecutor
from pytest_biastransfer.evaluation.verification import Verification
from pytest_biastransfer.models import as_model
from pytest_biastransfer.store import Store
from tests.conftest import Run
from tests.support.systems import KILL
from tests.support.warm_python import PYTHON

ray: Any = pytest.importorskip("ray", reason="needs the package ray")

# Older releases leave files and processes of their head to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

# Of the tests' modules, classes travel with their code: nodes need not have them.
ROOT = Path(__file__).parents[1]
MOST_BYTES = 80_000_000


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(108, 5, generator=torch.Generator().manual_seed(0)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) @ self.weight


class DiesOnce(Net):
    """Takes its process with it, unless that has happened before."""

    def __init__(self, marker: Path) -> None:
        super().__init__()
        self.marker = str(marker)
        self.parent = os.getpid()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if os.getpid() != self.parent and not Path(self.marker).exists():
            Path(self.marker).touch()
            os.kill(os.getpid(), KILL)
        return super().forward(images)


class ReadsAVariable(Net):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) * (-1 if os.environ.get("UPSIDE_DOWN") else 1)


class Raises(Net):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        raise ArithmeticError("of the model's own")


class Large(Net):
    """Takes more memory than the cluster's object store has."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("ballast", torch.zeros(MOST_BYTES // 4 + 5_000_000))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of one node, which says that it has a GPU."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        options = {"num_cpus": 2, "num_gpus": 1, "object_store_memory": MOST_BYTES, "include_dashboard": False}
        cluster: Any = Cluster(initialize_head=True, head_node_args=options)
        patch.setenv("RAY_ADDRESS", cluster.address)
        yield cluster
        ray.shutdown()
        cluster.shutdown()
        # The directory of a node that dies stays.
        for directory in Path(tempfile.gettempdir()).glob("biastransfer-ray-*"):
            shutil.rmtree(directory)


@pytest.fixture(scope="module")
def executor(cluster: Any) -> Iterator[RayExecutor]:
    executor = RayExecutor(device="cpu", actors=1, root=ROOT, picture_formats=["TGA"])
    yield executor
    executor.close()


@pytest.fixture(scope="module")
def images() -> LabelledImages:
    pixels = torch.rand(1200, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    return as_images([(image, position % 5) for position, image in enumerate(pixels)], "images")


def classes_here(model: torch.nn.Module, images: LabelledImages) -> Any:
    return Evaluator("cpu", batch_size=100).predictions(Model(model), images, Square()).classes


def classes_there(executor: RayExecutor, model: torch.nn.Module, images: LabelledImages, **options: Any) -> Any:
    evaluator = Evaluator("cpu", executor=executor, batch_size=100, **options)
    return evaluator.predictions(Model(model), images, Square()).classes


def test_actors_give_the_figures_of_this_process_and_fill_its_store(
    executor: RayExecutor, images: LabelledImages, tmp_path: Path
) -> None:
    found = classes_there(executor, Net(), images, store=Store(tmp_path))
    assert found.dtype == np.int32
    assert np.array_equal(found, classes_here(Net(), images))
    stored = Evaluator("cpu", Store(tmp_path), batch_size=100).predictions(Model(Net()), images, Square())
    assert stored.computed == 0


def test_a_chunk_whose_process_is_killed_is_computed_again(
    executor: RayExecutor, images: LabelledImages, tmp_path: Path
) -> None:
    marker = tmp_path / "died"
    found = classes_there(executor, DiesOnce(marker), images)
    assert marker.exists()
    assert np.array_equal(found, classes_here(Net(), images))


def test_a_model_that_always_kills_its_process_is_an_error(
    executor: RayExecutor, images: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_executor, "_MOST_LOSSES", 0)
    with pytest.raises(BiasTransferError, match=r"chunk range\(0, 256\) of list with model DiesOnce has died 1 times"):
        classes_there(executor, DiesOnce(tmp_path / "died"), images)


def test_an_error_of_the_model_is_raised_as_it_is(executor: RayExecutor, images: LabelledImages) -> None:
    with pytest.raises(ArithmeticError, match=r"^of the model's own$"):
        classes_there(executor, Raises(), images)


def test_an_early_stop_wastes_no_more_than_what_the_actors_compute(
    executor: RayExecutor, images: LabelledImages
) -> None:
    model, evaluator = Model(Net()), Evaluator("cpu", batch_size=100)
    (key,) = evaluator.keys(model, images, [None])
    evaluation = evaluator.evaluation(model, images, None, key, None)
    taken = []

    def tasks() -> Iterator[ChunkTask]:
        for start in range(0, 1024, 256):
            taken.append(start)
            yield ChunkTask(evaluation, range(start, start + 256))

    results = executor.run(tasks())
    first, _ = next(results)
    assert first.positions == range(256)
    with contextlib.closing(results):  # type: ignore[type-var]
        assert taken == [0]
    # What was abandoned is not taken for a result of what comes next.
    assert [task.positions.start for task, _ in executor.run(tasks())] == [0, 256, 512, 768]


def test_an_interrupted_session_resumes_from_the_store(
    executor: RayExecutor, images: LabelledImages, tmp_path: Path
) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        classes_there(executor, Net(), images, store=Store(tmp_path), on_progress=interrupt)
    evaluator = Evaluator("cpu", Store(tmp_path), executor=executor, batch_size=100)
    resumed = evaluator.predictions(Model(Net()), images, Square())
    assert resumed.computed == 1200 - 256
    assert np.array_equal(resumed.classes, classes_here(Net(), images))


def test_a_model_that_reads_more_is_not_stored(executor: RayExecutor, images: LabelledImages, tmp_path: Path) -> None:
    found = classes_there(executor, ReadsAVariable(), images, store=Store(tmp_path))
    assert np.array_equal(found, classes_here(Net(), images))
    assert not list(tmp_path.glob("predictions/*/*.chunk"))


@pytest.mark.filterwarnings("ignore:predictions with model Net are kept for this session only")
def test_a_model_that_cannot_be_pickled_is_an_error_that_names_it(
    executor: RayExecutor, images: LabelledImages
) -> None:
    model = Net()
    model.lock = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(BiasTransferError, match=r"^model Net: cannot be sent .*lock.*Give its spec string instead"):
        classes_there(executor, model, images)


@pytest.mark.filterwarnings("ignore:.*non-writable")
def test_a_model_larger_than_the_object_store_is_computed(executor: RayExecutor, images: LabelledImages) -> None:
    assert np.array_equal(classes_there(executor, Large(), images), classes_here(Net(), images))


def test_a_node_with_other_weights_is_an_error_that_names_it(
    executor: RayExecutor, images: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import platform

    from safetensors.torch import save_file

    weights = tmp_path / "net.safetensors"
    (tmp_path / "nets_of_ray.py").write_text(
        "import torch\n\ndef net():\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(108, 5))\n"
    )
    save_file({"1.weight": torch.ones(5, 108), "1.bias": torch.zeros(5)}, weights)
    monkeypatch.chdir(tmp_path)
    model = as_model("checkpoint:net.safetensors?arch=python:nets_of_ray:net", "model")
    evaluator = Evaluator("cpu", executor=executor, batch_size=100)
    assert evaluator.keys(model, images, [None])
    save_file({"1.weight": torch.zeros(5, 108), "1.bias": torch.zeros(5)}, weights)
    with pytest.raises(BiasTransferError, match=rf"{platform.node()}: has the fingerprint .* put the same files there"):
        evaluator.predictions(model, images)


def test_actors_open_the_picture_formats_that_the_session_allows(executor: RayExecutor, tmp_path: Path) -> None:
    for index, label in enumerate(("a", "b")):
        (tmp_path / label).mkdir()
        Image.new("RGB", (6, 6), (50 + 100 * index, 0, 0)).save(tmp_path / label / "picture.png", "TGA")
    before = allow_picture_formats("TGA")
    try:
        pictures = as_images(f"imagefolder:{tmp_path}", "dataset")
        assert np.array_equal(classes_there(executor, Net(), pictures), classes_here(Net(), pictures))
    finally:
        allow_picture_formats(*before)


def test_a_gpu_of_the_cluster_that_torch_cannot_use_is_an_error_that_names_the_node(
    cluster: Any, executor: RayExecutor, images: LabelledImages
) -> None:
    if torch.cuda.is_available():
        pytest.skip("torch can use a GPU here")
    # The first executor connects, and stays connected.
    classes_there(executor, Net(), images)
    best = RayExecutor(actors=1, root=ROOT)
    assert best.device == "cuda", "the cluster says that it has one"
    with pytest.raises(BiasTransferError, match=r"^node .*: device 'cuda': this machine has 0 CUDA devices"):
        classes_there(best, Net(), images)
    best.close()
    assert ray.is_initialized()


SQUARE = """
import pytest

@pytest.mark.bias_intervention("yellow-square", max_asr=0.1)
def test_square(bias):
    pass
"""


def test_a_session_sends_the_classes_of_its_conftest(executor: RayExecutor, colors: pytest.Pytester, run: Run) -> None:
    colors.makepyfile(SQUARE)
    result = run("--bias-executor=ray", "--bias-device=cpu")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*FAILED  asr  0.250*", "*40 images evaluated*"])
    # What is stored needs no cluster.
    result = run("--bias-executor=ray://nowhere:1", "--bias-device=cpu")
    result.stdout.fnmatch_lines(["*FAILED  asr  0.250*", "*0 images evaluated*"])


def test_an_option_and_a_hook_that_both_name_an_executor_are_an_error(colors: pytest.Pytester, run: Run) -> None:
    with (colors.path / "conftest.py").open("a") as conftest:
        conftest.write("\ndef pytest_bias_executor(config):\n    return 7\n")
    colors.makepyfile(SQUARE)
    result = run("--bias-executor=ray")
    result.assert_outcomes(errors=1)
    run("--bias-executor=local").stdout.fnmatch_lines(["*FAILED  asr  0.250*"])


def test_a_node_with_another_release_is_an_error_that_names_it(
    cluster: Any, executor: RayExecutor, images: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor.close()
    # Ray lets nodes import from the current directory of the test's process.
    monkeypatch.chdir(tmp_path)
    package = Path(pytest_biastransfer.__file__).parent
    other = tmp_path / "other" / package.name
    shutil.copytree(package, other, ignore=shutil.ignore_patterns("__pycache__"))
    (other / "_version.py").write_text('__version__ = "0.0.1"\n')
    (tmp_path / "none" / package.name).mkdir(parents=True)
    (tmp_path / "none" / package.name / "__init__.py").touch()
    for directory, problem in {"other": "has pytest-biastransfer 0.0.1, the test", "none": "cannot import"}.items():
        ray.init(log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": str(tmp_path / directory)}})
        there = RayExecutor(device="cpu", actors=1, root=ROOT)
        with pytest.raises(BiasTransferError, match=rf"^node .*: {problem}.*; type there: pip install pytest-bias"):
            classes_there(there, Net(), images)
        there.close()
        ray.shutdown()


def test_a_cluster_without_a_head_is_an_error_and_what_was_finished_is_stored(
    cluster: Any, images: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    psutil = importlib.import_module("psutil")
    monkeypatch.setattr(ray_executor, "_LOOK_SECONDS", 0.5)
    executor = RayExecutor(device="cpu", actors=1, root=ROOT)

    @functools.cache
    def kill_cluster() -> None:
        raylet = psutil.Process(cluster.head_node.all_processes["raylet"][0].process.pid)
        for process in raylet.children(recursive=True):
            process.kill()
        cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False)

    with pytest.raises(BiasTransferError, match="what was finished is in the store"):
        classes_there(executor, Net(), images, store=Store(tmp_path), on_progress=lambda _: kill_cluster())
    executor.close()
    evaluator = Evaluator("cpu", Store(tmp_path), batch_size=100)
    assert evaluator.predictions(Model(Net()), images, Square()).computed <= 1200 - 256


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:1"])
def test_an_address_where_no_cluster_is_is_an_error(address: str) -> None:
    with pytest.raises(BiasTransferError, match=rf"^--bias-executor=ray: cannot connect .* at {address} .*RAY_ADDRESS"):
        RayExecutor(address)


NODES = [
    {"Alive": True, "Resources": {"CPU": 64.0, "GPU": 8.0}},
    {"Alive": True, "Resources": {"CPU": 16.0, "GPU": 4.0}},
    {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
    {"Alive": True, "Resources": {"memory": 1.0}},
]


@pytest.mark.parametrize(
    ("device", "drivers", "count", "resources"),
    [
        ("cuda", 1, 12, {"num_cpus": 2, "num_gpus": 1}),
        ("cuda", 4, 3, {"num_cpus": 2, "num_gpus": 1}),
        ("cuda", 24, 1, {"num_cpus": 1, "num_gpus": 0.5}),
        ("cuda", 30, 1, {"num_cpus": 0.6666, "num_gpus": 0.3333}),
        ("cpu", 1, 80, {"num_cpus": 1, "num_gpus": 0}),
        ("cpu", 160, 1, {"num_cpus": 0.5, "num_gpus": 0}),
    ],
)
def test_drivers_divide_the_cluster(device: str, drivers: int, count: int, resources: dict[str, float]) -> None:
    assert ray_executor._shares(NODES, device, drivers) == (count, resources)


def test_a_cluster_without_a_gpu_is_an_error_where_one_is_asked_for() -> None:
    with pytest.raises(BiasTransferError, match=r"device 'cuda': the Ray cluster has no GPU .* --bias-device=cpu"):
        ray_executor._shares([{"Alive": True, "Resources": {"CPU": 2.0}}], "cuda", 1)


def test_gpus_are_chosen_by_ray() -> None:
    with pytest.raises(BiasTransferError, match="Ray decides which GPU an actor gets; expected auto, cpu or cuda"):
        RayExecutor(device="cuda:1")


class Elsewhere:
    """An executor with another type of device than this process."""

    device = "cuda"

    def run(self, tasks: Iterable[ChunkTask]) -> Iterator[tuple[ChunkTask, Any]]:
        for task in tasks:
            yield (
                task,
                {"classes": np.zeros(len(task.positions), np.int32), "outputs": np.array([5], np.int32)},
            )

    def release(self) -> None:
        pass

    close = release


def test_predictions_of_another_type_of_device_are_not_verified_here(images: LabelledImages, tmp_path: Path) -> None:
    model = Model(Net())
    for _ in range(2):
        # All stored classes are wrong: this process would find them stale.
        canary = Canary(Verification(16))
        evaluator = Evaluator("cpu", Store(tmp_path), executor=Elsewhere(), canary=canary)
        assert (evaluator.device, evaluator.predicts_on) == ("cpu", "cuda")
        evaluator.predictions(model, images)
        evaluator.predictions(model, images, Square())
        assert not canary.take_findings()
    with pytest.raises(BiasTransferError, match="--bias-verify=all: the executor predicts on cuda"):
        Evaluator("cpu", Store(tmp_path), executor=Elsewhere(), canary=Canary(Verification(None)))


def test_without_ray_the_error_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    match = r"^--bias-executor=ray: needs ray, .* type: pip install 'pytest-biastransfer\[ray\]'"
    with pytest.raises(BiasTransferError, match=match), connected("auto", None):
        pass


TWO_TESTS = """
import pytest

@pytest.mark.bias_intervention("yellow-square", "grayscale", max_asr=1)
def test_two(bias):
    pass
"""
ADDRESSES = """

import os
import sys
from pathlib import Path

# Ray starts its own processes with it: forks of a warm Python would not end with Ray.
sys.executable = PYTHON

def pytest_sessionfinish(session):
    import ray
    if ray.is_initialized():
        Path(f"{os.getpid()}.address").write_text(ray.get_runtime_context().gcs_address)
"""


@pytest.mark.parametrize("mode", ["n2"])
def test_workers_share_the_cluster_that_one_of_them_starts_and_it_ends_with_them(
    colors: pytest.Pytester, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with (colors.path / "conftest.py").open("a") as conftest:
        conftest.write(ADDRESSES.replace("PYTHON", repr(PYTHON)))
    colors.makepyfile(TWO_TESTS)
    run("--bias-executor=ray").assert_outcomes(passed=2)
    addresses = [path.read_text() for path in colors.path.glob("*.address")]
    assert len(addresses) == 2
    assert addresses[0] == addresses[1]
    host, _, port = addresses[0].rpartition(":")
    # Its processes are ended one after the other.
    deadline = time.monotonic() + 60
    while _accepts(host, int(port)):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True
