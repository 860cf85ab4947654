"""Pixels on their way to the device, beside whatever it computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    import numpy.typing as npt


class Upload:
    """Copies pixels to a device.

    To a GPU they go as they are stored, through memory that it can fetch itself, on a stream of their own;
    on the CPU they stay where they are.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def send(self, pixels: npt.NDArray[Any]) -> torch.Tensor:
        """Return the pixels on the device; on a GPU they are on their way, and `receive` has to come next."""
        host = torch.from_numpy(pixels)
        if self._stream is None:
            return host.to(self._device)
        with torch.cuda.stream(self._stream):
            return host.pin_memory().to(self._device, non_blocking=True)

    def receive(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return sent pixels for the computation, which waits for them on the device."""
        if self._stream is not None:
            computing = torch.cuda.current_stream(self._device)
            computing.wait_stream(self._stream)
            # Their memory may be used for other pixels only when what is computed from them is done.
            pixels.record_stream(computing)
        return pixels
