"""Where models run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_biastransfer.errors import BiasTransferError

if TYPE_CHECKING:
    import torch

_FORM = re.compile(r"cpu|cuda(:\d+)?")


def resolve_device(name: str) -> torch.device:
    """Return the device of that name: ``auto`` (CUDA where there is one, else the CPU), ``cpu``, ``cuda:1``.

    Raises
    ------
    BiasTransferError
        If there is no such device.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not _FORM.fullmatch(name):
        raise BiasTransferError(f"device {name!r}: expected auto, cpu, cuda or cuda:NUMBER")
    device = torch.device(name)
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise BiasTransferError(
            f"device {name!r}: this machine has {count} CUDA devices that torch can use; "
            f"expected {'cpu' if count == 0 else f'cuda:0 to cuda:{count - 1}'}, or auto"
        )
    return device
