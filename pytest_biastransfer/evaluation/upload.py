"""Copies pixels to a device while it computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    import numpy.typing as npt


class Upload:
    """Copies pixels to a device.

    A GPU copies them from pinned memory on a stream of their own, so that the copy overlaps the computation. On the CPU
    nothing is copied.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def send(self, pixels: npt.NDArray[Any]) -> torch.Tensor:
        """Start to copy pixels to the device; call `receive` before they are used."""
        host = torch.from_numpy(pixels)
        if self._stream is None:
            return host.to(self._device)
        with torch.cuda.stream(self._stream):
            return host.pin_memory().to(self._device, non_blocking=True)

    def receive(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return sent pixels; the computation waits for the copy on the device."""
        if self._stream is not None:
            computing = torch.cuda.current_stream(self._device)
            computing.wait_stream(self._stream)
            # Without this the allocator may give their memory to the next copy while the model still reads it.
            pixels.record_stream(computing)
        return pixels
