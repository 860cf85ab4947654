"""Copies pixels to a device, and results back, while it computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass(frozen=True)
class Copy:
    """Tensors on their way to a device or to the host; they may be used once the copy has happened.

    Attributes
    ----------
    tensors
        The copies.
    happened
        The end of the copy on the device; None where it has ended already.
    """

    tensors: Sequence[torch.Tensor]
    happened: torch.cuda.Event | None

    @property
    def bytes(self) -> int:
        """The size of the tensors."""
        return sum(tensor.nbytes for tensor in self.tensors)


class DeviceCopies:
    """Copies between the host and a device.

    A GPU copies pixels from pinned memory on a stream of their own, so that the copy overlaps the computation. Other
    devices copy at once, and a CPU not at all. Several threads may copy at the same time.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def to_device(self, arrays: Sequence[npt.NDArray[Any]]) -> Copy:
        """Start to copy arrays to the device."""
        hosts = [torch.from_numpy(array) for array in arrays]
        if self._stream is None:
            return Copy([host.to(self._device) for host in hosts], None)
        with torch.cuda.stream(self._stream):
            copies = [host.pin_memory().to(self._device, non_blocking=True) for host in hosts]
            # An event of this copy: the stream may have been given those of later chunks already.
            return Copy(copies, self._stream.record_event())

    def on_device(self, copy: Copy) -> Sequence[torch.Tensor]:
        """Return the tensors of a copy to the device; what this thread computes with them waits there for the copy."""
        if copy.happened is not None:
            computing = torch.cuda.current_stream(self._device)
            computing.wait_event(copy.happened)
            for tensor in copy.tensors:
                # Else the allocator could give their memory to the next copy while the model still reads it.
                tensor.record_stream(computing)
        return copy.tensors

    def to_host(self, tensors: Sequence[torch.Tensor]) -> Copy:
        """Start to copy tensors to the host, after all that this thread has given the device to compute."""
        if self._stream is None:
            return Copy([tensor.to("cpu") for tensor in tensors], None)
        hosts = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in tensors]
        for host, tensor in zip(hosts, tensors, strict=True):
            host.copy_(tensor, non_blocking=True)
        return Copy(hosts, torch.cuda.current_stream(self._device).record_event())

    def on_host(self, copy: Copy) -> Sequence[torch.Tensor]:
        """Wait until a copy to the host has happened, and return its tensors."""
        if copy.happened is not None:
            copy.happened.synchronize()
        return copy.tensors
