"""Half-precision checkpoints are copied out of the mapped file block by block, and their pages are given back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from pytest_biastransfer.models.safe_loading import mapped_weights
from pytest_biastransfer.models.safe_loading.mapped_weights import copy_narrow
from pytest_biastransfer.models.safe_loading.state_loading import load_checkpoint
from pytest_biastransfer.models.safe_loading.unpickling import read_plain

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which memory is a mapped file")

PEAK = """
import json, sys, torch
from pathlib import Path
from pytest_biastransfer.models.safe_loading.state_loading import load_checkpoint

def status(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

def layers(width, number):
    return torch.nn.Sequential(*(torch.nn.Linear(width, width) for _ in range(number)))

if sys.argv[1] == "make":
    torch.save(layers(2048, 8).to(getattr(torch, sys.argv[2])).state_dict(), "half.pt")
else:
    # Everything is imported before memory is looked at.
    torch.save(layers(4, 8).half().state_dict(), "small.pt")
    load_checkpoint(layers(4, 8), Path("small.pt"))
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    module = layers(2048, 8)
    load_checkpoint(module, Path("half.pt"))
    print(json.dumps({"peak": status("VmHWM") - before, "file": Path("half.pt").stat().st_size}))
"""


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(40, 30)
        self.norm = torch.nn.BatchNorm1d(30)
        self.last = torch.nn.Linear(30, 30)
        # Two names of one tensor.
        self.last.weight = torch.nn.Parameter(torch.randn(30, 30))
        self.tied = torch.nn.Linear(30, 30)
        self.tied.weight = self.last.weight


class Doubling(Net):
    """Changes what it loads, as modules do that read files of an older version."""

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        state[f"{prefix}first.weight"] = state[f"{prefix}first.weight"] * 2
        super()._load_from_state_dict(state, prefix, *rest)


def saved(kind: type[Net], dtype: torch.dtype) -> tuple[Net, dict[str, torch.Tensor]]:
    """Write a checkpoint of lower precision; return another module, and what torch loads into one like it."""
    torch.manual_seed(1)
    state = kind().to(dtype).state_dict()
    torch.save(state, "half.pt")
    expected = kind()
    expected.load_state_dict(torch.load("half.pt"))
    return kind(), expected.state_dict()


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("kind", [Net, Doubling])
@pytest.mark.parametrize("block", [7, 2**20])
def test_the_weights_are_those_that_torch_loads(
    kind: type[Net], dtype: torch.dtype, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped_weights, "_BLOCK", block)
    module, expected = saved(kind, dtype)
    before = dict(module.named_parameters())
    load_checkpoint(module, Path("half.pt"))
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert all(before[name] is parameter for name, parameter in module.named_parameters()), "the same objects"
    assert module.last.weight is module.tied.weight


@linux_only
def test_only_mapped_memory_is_given_back() -> None:
    module, expected = saved(Net, torch.float16)
    path = Path("half.pt")
    own = module.state_dict()
    mapped, plain = read_plain(path, mapped=True), read_plain(path)
    floats = {name for name, tensor in own.items() if tensor.is_floating_point()}
    assert set(copy_narrow(module, mapped, own, path)) == floats
    assert all(torch.equal(own[name], expected[name]) for name in floats)
    # The pages come back from the file.
    assert all(torch.equal(mapped[name], tensor) for name, tensor in plain.items())
    # Memory that is no file would be lost.
    assert copy_narrow(module, plain, own, path) == []
    assert copy_narrow(module, mapped, own, Path("other.pt")) == []
    assert torch.equal(plain["first.weight"], mapped["first.weight"])


@linux_only
def test_modules_that_change_what_they_load_copy_it_themselves() -> None:
    module, _ = saved(Doubling, torch.float16)
    path = Path("half.pt")
    assert not copy_narrow(module, read_plain(path, mapped=True), module.state_dict(), path)
    hooked = Net()
    hooked.first.register_load_state_dict_pre_hook(lambda *arguments: None)  # type: ignore[no-untyped-call]
    assert not copy_narrow(hooked, read_plain(path, mapped=True), hooked.state_dict(), path)


@linux_only
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_loading_half_precision_takes_no_more_than_the_modules_numbers(dtype: str, tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, "-c", PEAK, *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    run("make", dtype)
    memory = json.loads(run("load"))
    # The module's 32-bit numbers are twice the file.
    assert memory["peak"] <= 2.2 * memory["file"]
