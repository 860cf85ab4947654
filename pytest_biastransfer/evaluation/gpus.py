"""The GPUs that CUDA would see, counted through NVML: nothing here initialises CUDA.

A process that has initialised CUDA can no longer choose its devices, and holds memory on each of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

# Without one of these files there is no NVIDIA driver, and importing NVML is wasted time. /dev/dxg is that of WSL.
_DRIVER_FILES: Final = ("/dev/nvidiactl", "/proc/driver/nvidia", "/dev/dxg")


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU.

    Attributes
    ----------
    uuid
        NVML's UUID: ``GPU-...``.
    slices
        The UUIDs ``MIG-...`` of the instances of a GPU in MIG mode; None for a GPU in another mode.
    name
        NVML's name of the product: ``NVIDIA H100 80GB HBM3``.
    """

    uuid: str
    slices: tuple[str, ...] | None = None
    name: str = ""


def installed_gpus() -> tuple[Gpu, ...]:
    """Return the machine's GPUs in NVML's order; none without NVIDIA's driver."""
    if sys.platform == "linux" and not any(map(os.path.exists, _DRIVER_FILES)):
        return ()
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        return tuple(
            Gpu(pynvml.nvmlDeviceGetUUID(handle), _slices(pynvml, handle), pynvml.nvmlDeviceGetName(handle))
            for handle in handles
        )
    finally:
        pynvml.nvmlShutdown()


def _slices(nvml: Any, handle: Any) -> tuple[str, ...] | None:
    try:
        current, _ = nvml.nvmlDeviceGetMigMode(handle)
    except nvml.NVMLError_NotSupported:
        return None
    if current != nvml.NVML_DEVICE_MIG_ENABLE:
        return None
    return tuple(_slice_uuids(nvml, handle))


def _slice_uuids(nvml: Any, handle: Any) -> Iterator[str]:
    for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            instance = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
        except nvml.NVMLError_NotFound:
            continue
        yield nvml.nvmlDeviceGetUUID(instance)


def visible_devices(gpus: Sequence[Gpu], chosen: str | None) -> tuple[str, ...]:
    """Return the devices that CUDA would see, each as an entry for ``CUDA_VISIBLE_DEVICES``.

    Parameters
    ----------
    gpus
        The machine's GPUs.
    chosen
        The value of ``CUDA_VISIBLE_DEVICES``; None where it is not set. Its entries are numbers, or UUIDs that
        may be shortened; as for CUDA, the first one that names no device ends the list, and a device that is
        named twice empties it.

    Examples
    --------
    >>> machine = [Gpu("GPU-12ab"), Gpu("GPU-34cd")]
    >>> visible_devices(machine, None), visible_devices(machine, "GPU-34,0,7"), visible_devices(machine, "")
    (('0', '1'), ('GPU-34', '0'), ())
    """
    if chosen is None:
        return _all_devices(gpus)
    entries: list[str] = []
    named: list[str] = []
    for entry in map(str.strip, chosen.split(",")):
        device = _named_device(gpus, entry)
        if device is None:
            # As CUDA does: an invalid entry hides all that follow it.
            break
        entries.append(entry)
        named.append(device)
    return tuple(entries) if len(set(named)) == len(named) else ()


def product_name(gpus: Sequence[Gpu], chosen: str | None, index: int) -> str:
    """Return the name of the GPU that CUDA would number `index`; empty where that is unknown.

    Parameters
    ----------
    gpus, chosen
        As of `visible_devices`.

    Examples
    --------
    >>> machine = [Gpu("GPU-12ab", name="NVIDIA A10"), Gpu("GPU-34cd", name="NVIDIA L4")]
    >>> product_name(machine, None, 0), product_name(machine, "GPU-34", 0), product_name(machine, "1", 1)
    ('NVIDIA A10', 'NVIDIA L4', '')
    """
    visible = visible_devices(gpus, chosen)
    if index >= len(visible):
        return ""
    uuid = _named_device(gpus, visible[index])
    return next((gpu.name for gpu in gpus if uuid in (gpu.uuid, *(gpu.slices or ()))), "")


def _all_devices(gpus: Sequence[Gpu]) -> tuple[str, ...]:
    """Return the numbers of GPUs, or their UUIDs if one of them has slices: slices have no numbers."""
    if all(gpu.slices is None for gpu in gpus):
        return tuple(map(str, range(len(gpus))))
    return tuple(device for gpu in gpus for device in (gpu.slices if gpu.slices is not None else (gpu.uuid,)))


def _named_device(gpus: Sequence[Gpu], entry: str) -> str | None:
    """Return the UUID of the device that an entry names, or None."""
    if entry.isdecimal():
        return gpus[int(entry)].uuid if int(entry) < len(gpus) else None
    if not entry.startswith(("GPU-", "MIG-")):
        return None
    uuids = [uuid for gpu in gpus for uuid in (gpu.uuid, *(gpu.slices or ()))]
    matching = [uuid for uuid in uuids if uuid.startswith(entry)]
    return matching[0] if len(matching) == 1 else None
