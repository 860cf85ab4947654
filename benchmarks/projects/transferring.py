"""Fixed-feature transfer of MobileNetV2 at 128 pixels: with one recipe, with a second one, and in an unchanged session.

``python transferring.py IMAGES``. The weights are random: that takes the same time. Prints seconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import save_model
from torchvision.models import mobilenet_v2

from pytest_biastransfer import load_dataset, load_model
from pytest_biastransfer.transfer import Recipe, transfer

SOURCE = "checkpoint:{}?arch=torchvision:mobilenet_v2&size=128&mean=0.5&std=0.5"
INI = """[pytest]
bias_transfer = fixed-feature
bias_source_model = {source}
bias_finetuning_dataset = imagefolder:{images}
bias_dataset = imagefolder:{images}?limit=256
bias_store = store
"""
AGAIN = """
import sys, time
import torch, torchvision
from pytest_biastransfer import load_dataset, load_model
from pytest_biastransfer.transfer import Recipe, transfer

source, data = load_model({source!r}), load_dataset("imagefolder:{images}")
start = time.perf_counter()
transfer(source, data, recipe=Recipe(), store="store").module
print(time.perf_counter() - start)
"""
TEST = """import sys

import pytest


@pytest.mark.bias_intervention("yellow-square", max_asr=1)
def test_it():
    pass


def test_torch():
    open("torch", "w").write(str("torch" in sys.modules))
"""


def main(images: str) -> None:
    """Time the three."""
    weights = Path("weights.safetensors").resolve()
    torch.manual_seed(0)
    save_model(mobilenet_v2(), str(weights))
    source = load_model(SOURCE.format(weights))
    data = load_dataset(f"imagefolder:{images}")
    found = {}
    for name, recipe in (("first", Recipe()), ("second", Recipe(epochs=30, learning_rate=0.01, seed=1))):
        start = time.perf_counter()
        _ = transfer(source, data, recipe=recipe, store="store").module
        found[name] = time.perf_counter() - start
    Path("pytest.ini").write_text(INI.format(source=SOURCE.format(weights), images=images))
    Path("test_it.py").write_text(TEST)
    _session()
    start = time.perf_counter()
    output = _session()
    found["session"] = time.perf_counter() - start
    if "0 images evaluated" not in output:
        raise SystemExit(f"evaluated images again\n{output}")
    again = [sys.executable, "-c", AGAIN.format(source=SOURCE.format(weights), images=images)]
    found["again"] = float(subprocess.run(again, capture_output=True, text=True, check=True).stdout)
    found["torch"] = float(Path("torch").read_text() == "True")
    sys.stdout.write(json.dumps(found) + "\n")


def _session() -> str:
    command = [sys.executable, "-m", "pytest", "-c", "pytest.ini", "--rootdir", "."]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise SystemExit(finished.stdout + finished.stderr)
    return finished.stdout


if __name__ == "__main__":
    main(sys.argv[1])
