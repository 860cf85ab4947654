"""How many images a forward pass takes: measured while the work is done, so that measuring costs nothing."""

from __future__ import annotations

from typing import Final

# Larger batches fall out of the processor's caches; smaller ones waste time between the layers.
_TRIED: Final = (16, 32, 64, 128)
_WHERE_NOT_MEASURED: Final = {"cpu": 64}
_ELSEWHERE: Final = 256
# The first pass of a size is slow, as kernels are then chosen and memory is fetched; of the others the best
# counts, as whatever else the machine does can only slow one down.
_PASSES: Final = 3


class BatchSize:
    """Chooses the sizes of batches, and settles on the fastest.

    Parameters
    ----------
    fixed
        The size that the user wants; None to measure on a CPU. A GPU takes as much as is there.
    device_type
        ``"cpu"``, ``"cuda"``, ...
    """

    def __init__(self, fixed: int | None, device_type: str) -> None:
        self._size = fixed or _WHERE_NOT_MEASURED.get(device_type, _ELSEWHERE)
        measured = fixed is None and device_type == "cpu"
        self._pending = [size for _ in range(_PASSES) for size in reversed(_TRIED)] if measured else []
        self._seconds: dict[int, list[float]] = {}

    def next(self, images: int) -> int:
        """Return how many of the `images` that are left to take now."""
        wanted = self._pending[0] if self._pending else self._size
        return min(wanted, images)

    def note(self, size: int, seconds: float) -> None:
        """Take note of how long a batch of `size` images took."""
        if not self._pending or size != self._pending[0]:
            return
        self._pending.pop(0)
        self._seconds.setdefault(size, []).append(seconds)
        if not self._pending:
            self._size = min(_TRIED, key=lambda tried: min(self._seconds[tried][1:]) / tried)

    def reduce(self, size: int) -> bool:
        """Make batches smaller than `size`, which did not fit into memory; return whether that is possible."""
        self._pending = []
        self._size = max(1, size // 2)
        return size > 1
