"""Where models run. The devices that torch can use are cached for each machine and release: importing torch is slow."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.evaluation.gpus import installed_gpus
from pytest_biastransfer.fingerprints import fingerprint
from pytest_biastransfer.fingerprints.source_code import versions

if TYPE_CHECKING:
    from pytest_biastransfer.store import Facts

_FORM = re.compile(r"cpu|mps|cuda(:\d+)?")
# If one of these files exists, there may be devices that NVML does not list.
_DRIVERS: Final = ("/proc/driver/nvidia/version", "/dev/kfd", "/dev/dxg", "/dev/nvhost-ctrl-gpu", "/dev/nvgpu")
_PARTS_OF_A_GPU: Final = 8
_MOST_DEVICES: Final = 64


def resolve_device(name: str, facts: Facts) -> str:
    """Return the device that a name means: ``auto`` is CUDA where there is one, else Apple's GPU (MPS), else the CPU.

    Parameters
    ----------
    name
        ``auto``, ``cpu``, ``mps``, ``cuda``, ``cuda:1``, ...
    facts
        Caches torch's answer.

    Raises
    ------
    BiasTransferError
        If there is no such device.
    """
    if name == "cpu":
        return name
    if name != "auto" and not _FORM.fullmatch(name):
        raise BiasTransferError(f"device {name!r}: expected auto, cpu, mps, cuda or cuda:NUMBER")
    if name == "mps" or (name == "auto" and sys.platform == "darwin"):
        # No Mac with MPS has CUDA.
        if _mps_is_usable(facts):
            return "mps"
        if name == "mps":
            raise BiasTransferError("device 'mps': torch cannot use a GPU of Apple here; expected cpu, or auto")
        return "cpu"
    count = _usable_devices(facts)
    if name == "auto":
        return "cuda" if count else "cpu"
    if int(name.partition(":")[2] or 0) >= count:
        raise BiasTransferError(
            f"device {name!r}: this machine has {count} CUDA devices that torch can use; "
            f"expected {'cpu' if count == 0 else f'cuda:0 to cuda:{count - 1}'}, or auto"
        )
    return name


def _mps_is_usable(facts: Facts) -> bool:
    """Return whether torch can use Apple's GPU in this process."""
    if sys.platform != "darwin":
        return False
    answer = facts.get_or_compute(fingerprint("MPS device", _dependencies()), _ask_torch_for_mps, bool)
    return bool(answer)


def _ask_torch_for_mps() -> bool:
    import torch

    return bool(torch.backends.mps.is_available())


def _usable_devices(facts: Facts) -> int:
    """Return how many CUDA devices torch can use in this process."""
    count: int = facts.get_or_compute(
        fingerprint("CUDA devices", _dependencies()), _ask_torch, Annotated[int, _is_possible]
    )
    return count


def _is_possible(count: int) -> bool:
    """Whether this machine can have so many CUDA devices; with a wrong count torch raises an obscure error later."""
    gpus = len(installed_gpus()) * _PARTS_OF_A_GPU
    driven = sys.platform != "linux" or any(Path(driver).exists() for driver in _DRIVERS)
    return 0 <= count <= (gpus or (_MOST_DEVICES if driven else 0))


def _dependencies() -> list[Any]:
    """Return what torch's answer depends on: its build, the GPUs and their driver, the environment."""
    build = versions(("torch",))
    # torch calls AMD's GPUs CUDA devices too; they have another driver.
    drivers = [_read(Path("/proc/driver/nvidia/version")), Path("/dev/kfd").exists()]
    environment = [os.environ.get(name) for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")]
    return [build, sys.version, drivers, [gpu.uuid for gpu in installed_gpus()], environment]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _ask_torch() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
