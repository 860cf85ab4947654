"""Which GPU a worker gets, and how many workers there are: computed without a GPU."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from pytest_biastransfer import Model, PoolExecutor
from pytest_biastransfer.data import as_images
from pytest_biastransfer.evaluation import gpus
from pytest_biastransfer.evaluation.environment import Environment
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.evaluation.gpus import Gpu, installed_gpus, visible_devices
from pytest_biastransfer.plugin.xdist import controller
from pytest_biastransfer.plugin.xdist.resource_sharing import gpu_of_worker, worker_count

WHOLE = [Gpu("GPU-11aa"), Gpu("GPU-11bb"), Gpu("GPU-22cc")]
SLICED = [Gpu("GPU-11aa", slices=("MIG-a1", "MIG-a2")), Gpu("GPU-22cc")]


@pytest.mark.parametrize(
    ("machine", "chosen", "devices"),
    [
        (WHOLE, None, ("0", "1", "2")),
        (WHOLE, "2,0", ("2", "0")),
        (WHOLE, " 1 , 2 ", ("1", "2")),
        (WHOLE, "GPU-22cc,GPU-11b", ("GPU-22cc", "GPU-11b")),
        (WHOLE, "0,GPU-22", ("0", "GPU-22")),
        (WHOLE, "", ()),
        (WHOLE, "-1", ()),
        (WHOLE, "0,-1,1", ("0",)),
        (WHOLE, "1,3,0", ("1",)),
        (WHOLE, "GPU-11", ()),  # could be two
        (WHOLE, "0,0", ()),
        (WHOLE, "0,GPU-11aa", ()),
        (WHOLE, "NoDevFiles", ()),
        ([], None, ()),
        ([], "0", ()),
        (SLICED, None, ("MIG-a1", "MIG-a2", "GPU-22cc")),
        (SLICED, "MIG-a2", ("MIG-a2",)),
        (SLICED, "MIG-a2,1", ("MIG-a2", "1")),
        ([Gpu("GPU-11aa", slices=())], None, ()),
    ],
)
def test_devices_are_those_that_cuda_would_see(
    machine: Sequence[Gpu], chosen: str | None, devices: tuple[str, ...]
) -> None:
    assert visible_devices(machine, chosen) == devices


def test_workers_are_dealt_out_evenly() -> None:
    assert [gpu_of_worker(["0", "2"], place) for place in range(5)] == ["0", "2", "0", "2", "0"]


@pytest.mark.parametrize(
    ("devices", "each", "environment", "workers"),
    [
        (["0", "1"], 1, {}, 2),
        (["0", "1"], 4, {}, 8),
        ([], 4, {}, None),
        (["0", "1"], 4, {"PYTEST_XDIST_AUTO_NUM_WORKERS": "3"}, None),
    ],
)
def test_number_of_workers(devices: list[str], each: int, environment: dict[str, str], workers: int | None) -> None:
    assert worker_count(devices, each, environment) == workers


class Nvml:
    """NVML of a machine with one whole GPU, one in MIG mode with two instances, and one that knows no MIG."""

    class NVMLError(Exception):
        pass

    class NVMLError_NotFound(NVMLError):
        pass

    class NVMLError_NotSupported(NVMLError):
        pass

    NVML_DEVICE_MIG_ENABLE = 1
    nvmlDeviceGetCount = staticmethod(lambda: 3)
    nvmlDeviceGetHandleByIndex = staticmethod(lambda index: f"gpu{index}")
    nvmlDeviceGetUUID = staticmethod(lambda handle: f"{'MIG' if 'slice' in handle else 'GPU'}-{handle}")
    nvmlDeviceGetName = staticmethod(lambda handle: f"NVIDIA {handle}")
    nvmlDeviceGetMaxMigDeviceCount = staticmethod(lambda handle: 7)
    initialised = 0

    def nvmlInit(self) -> None:
        self.initialised += 1

    def nvmlShutdown(self) -> None:
        self.initialised -= 1

    def nvmlDeviceGetMigMode(self, handle: str) -> list[int]:
        if handle == "gpu2":
            raise self.NVMLError_NotSupported
        return [1, 1] if handle == "gpu1" else [0, 0]

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: str, place: int) -> str:
        if place not in (0, 4):
            raise self.NVMLError_NotFound
        return f"{handle}-slice{place}"


def test_gpus_and_slices_are_counted_through_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(gpus, "_DRIVER_FILES", (__file__,))
    assert installed_gpus() == (
        Gpu("GPU-gpu0", name="NVIDIA gpu0"),
        Gpu("GPU-gpu1", slices=("MIG-gpu1-slice0", "MIG-gpu1-slice4"), name="NVIDIA gpu1"),
        Gpu("GPU-gpu2", name="NVIDIA gpu2"),
    )
    assert nvml.initialised == 0


def test_predictions_of_another_model_of_gpu_are_used_only_if_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = (Gpu("GPU-1", name="NVIDIA A10"), Gpu("GPU-2", slices=("MIG-3",), name="NVIDIA L4"))
    monkeypatch.setattr("pytest_biastransfer.evaluation.environment.installed_gpus", lambda: machine)
    model = Model(torch.nn.Flatten(), classes=["a", "b", "c"])
    images = as_images([(torch.rand(3, 1, 1), 0)], "images")

    def key(device: str, chosen: str, *, share: bool = False) -> str:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
        return Environment(device, share_across_devices=share).keys(model, images, [None])[0].text

    a10, l4, part = key("cuda", "0"), key("cuda", "GPU-2"), key("cuda", "MIG-3")
    assert a10 != l4 == part == key("cuda:1", "0,GPU-2")
    assert key("cuda", "0", share=True) == key("cuda", "GPU-2", share=True) not in (a10, l4)
    # Of an executor's GPUs, which may be elsewhere, the type is known alone.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    executor = PoolExecutor(ThreadPoolExecutor(1), device="cuda")
    assert Evaluator("cuda", executor=executor).keys(model, images, [None])[0].text == key("cuda", "0", share=True)
    executor.close()
    # Without NVML the model is unknown.
    monkeypatch.setattr("pytest_biastransfer.evaluation.environment.installed_gpus", tuple)
    assert key("cuda", "0") == key("cuda", "0", share=True) != key("cpu", "0")


@pytest.mark.skipif(Path("/proc/driver/nvidia").exists(), reason="this machine has NVIDIA's driver")
def test_without_a_driver_there_are_no_gpus() -> None:
    assert installed_gpus() == ()


SHOW_GPU = """
import os, pytest, time

WORKER = os.environ["PYTEST_XDIST_WORKER"]


@pytest.mark.parametrize("place", range(12))
def test_it(place):
    with open("gpus.txt", "a") as file:
        print(WORKER, os.environ["PYTEST_XDIST_WORKER_COUNT"], os.environ.get("CUDA_VISIBLE_DEVICES"), file=file)
    {action}
"""

# The second worker dies, and the first one takes its time until the replacement has run a test.
CRASH = """
    if WORKER == "gw1":
        os._exit(1)
    deadline = time.time() + 20
    while "gw2" not in open("gpus.txt").read() and time.time() < deadline:
        time.sleep(0.05)
"""


def workers_and_gpus(pytester: pytest.Pytester, action: str, *arguments: str) -> tuple[pytest.RunResult, set[str]]:
    """Run tests and return what the workers wrote: name, number of workers, devices."""
    pytester.makepyfile(SHOW_GPU.format(action=action))
    result = pytester.runpytest_inprocess("--dist=each", *arguments)
    return result, set((pytester.path / "gpus.txt").read_text().splitlines())


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, pytester: pytest.Pytester) -> pytest.Pytester:
    """A machine with three GPUs, as far as the controller is told."""
    monkeypatch.setattr(gpus, "installed_gpus", lambda: tuple(WHOLE))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("PYTEST_XDIST_AUTO_NUM_WORKERS", raising=False)
    return pytester


def test_each_worker_has_its_gpu_and_auto_counts_them(machine: pytest.Pytester) -> None:
    _, seen = workers_and_gpus(machine, "", "-nauto", "--bias-workers-per-gpu=1")
    assert seen == {"gw0 3 0", "gw1 3 1", "gw2 3 2"}


def test_workers_share_gpus_among_those_that_the_user_chose(
    machine: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-22,0")
    _, seen = workers_and_gpus(machine, "", "-nauto", "--bias-workers-per-gpu=2")
    assert seen == {"gw0 4 GPU-22", "gw1 4 0", "gw2 4 GPU-22", "gw3 4 0"}


def test_fewer_processes_were_asked_for(machine: pytest.Pytester) -> None:
    _, seen = workers_and_gpus(machine, "", "-nauto", "--bias-workers-per-gpu=1", "--maxprocesses=2")
    assert seen == {"gw0 2 0", "gw1 2 1"}


def test_the_environments_number_of_workers_wins(machine: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "1")
    _, seen = workers_and_gpus(machine, "", "-nauto", "--bias-workers-per-gpu=1")
    assert seen == {"gw0 1 0"}


@pytest.mark.parametrize("device", ["cpu", "cuda:1"])
def test_a_device_of_the_users_choice_is_left_alone(machine: pytest.Pytester, device: str) -> None:
    _, seen = workers_and_gpus(machine, "", "-n2", f"--bias-device={device}")
    assert seen == {"gw0 2 None", "gw1 2 None"}


def test_a_replacement_inherits_its_predecessors_gpu(machine: pytest.Pytester) -> None:
    result, seen = workers_and_gpus(machine, CRASH, "-n2", "--dist=load")
    assert result.ret == 1
    assert seen == {"gw0 2 0", "gw1 2 1", "gw2 2 1"}


@pytest.mark.parametrize(
    ("arguments", "workers"),
    [
        ([], None),
        (["--bias-only"], 3),
        (["-m", "bias_intervention and not slow"], 3),
        (["--bias-workers-per-gpu=2"], 6),
        (["--bias-only", "-o", "bias_workers_per_gpu=4"], 12),
        (["-o", "bias_workers_per_gpu=4"], None),
        (["--bias-only", "--bias-device=cpu"], None),
        (["--bias-only", "--bias-device=cuda:1"], None),
    ],
)
def test_auto_counts_gpus_only_where_bias_tests_were_asked_for(
    machine: pytest.Pytester, arguments: list[str], workers: int | None
) -> None:
    assert controller.auto_workers(machine.parseconfigure("-n0", *arguments)) == workers
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
