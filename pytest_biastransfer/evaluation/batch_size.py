"""The number of images in a forward pass: measured on real work, so that measuring costs nothing."""

from __future__ import annotations

from typing import Final

# Larger batches do not fit into the processor's caches; smaller ones waste time between the layers.
_TRIED: Final = (16, 32, 64, 128)
# Until it is measured.
_CPU_DEFAULT: Final = 64
_GPU_DEFAULT: Final = 256
# The first pass of a size is slow, because kernels are chosen and memory is allocated. Of the others the fastest
# counts, because other work on the machine can only slow a pass down.
_PASSES: Final = 3


class BatchSize:
    """Tries several batch sizes, and keeps the fastest.

    Parameters
    ----------
    fixed
        The user's batch size; None to measure on a CPU, and to take the default on a GPU.
    device_type
        ``"cpu"``, ``"cuda"``, ...
    measures
        Whether sizes are tried on a CPU: not for a compiled model, of which each size needs a graph of its own.
    """

    def __init__(self, fixed: int | None, device_type: str, *, measures: bool = True) -> None:
        self._size = fixed or (_CPU_DEFAULT if device_type == "cpu" else _GPU_DEFAULT)
        measured = measures and fixed is None and device_type == "cpu"
        self._pending = [size for _ in range(_PASSES) for size in reversed(_TRIED)] if measured else []
        self._seconds: dict[int, list[float]] = {}

    @property
    def size(self) -> int:
        """The size of a full batch, as far as it is measured."""
        return self._size

    def next(self, images: int) -> int:
        """Return the size of the next batch; `images` are left."""
        return min(self._pending[0] if self._pending else self._size, images)

    def note(self, size: int, seconds: float) -> None:
        """Record how long a batch of `size` images took."""
        if not self._pending or size != self._pending[0]:
            return
        self._pending.pop(0)
        self._seconds.setdefault(size, []).append(seconds)
        if not self._pending:
            self._size = min(_TRIED, key=lambda candidate: min(self._seconds[candidate][1:]) / candidate)

    def reduce(self, size: int) -> bool:
        """Halve the batch size after `size` images did not fit into memory; return False if it was a single image."""
        self._pending = []
        self._size = max(1, size // 2)
        return size > 1
