"""What the figures were measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path

PACKAGES = ("torch", "torchvision", "pytest", "pytest-xdist", "pytest-biastransfer")


def describe_machine() -> dict[str, str]:
    """Return the machine and the versions, by what they are; torch is not imported for it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "CPU": f"{_cpu_model()}, {cores} cores",
        "memory": f"{memory / 2**30:.0f} GiB",
        "GPU": ", ".join(gpu_names()) or "none",
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in PACKAGES},
    }


def _cpu_model() -> str:
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text().splitlines() if cpus.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def gpu_names() -> list[str]:
    """Return the names of the NVIDIA GPUs that CUDA may use; none without NVIDIA's driver."""
    if shutil.which("nvidia-smi") is None or os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return []
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        command.append(f"--id={os.environ['CUDA_VISIBLE_DEVICES']}")
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.splitlines() if found.returncode == 0 else []
