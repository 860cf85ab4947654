"""Decoded pixels that stay on a device: later passes over the same images neither decode, read nor copy them."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_biastransfer.evaluation.device_copies import Copy


class DevicePixels:
    """A cache of chunks of pixels on one device, shared by all evaluations of a process; several threads may use it.

    The least recently used dataset is dropped first. Of a dataset that is larger than the limit, the first chunks stay.

    Parameters
    ----------
    limit
        Returns the most bytes that may stay, 0 for none; called once, before the first pixels stay.

    Examples
    --------
    >>> import torch
    >>> from pytest_biastransfer.evaluation.device_copies import Copy
    >>> cache, first, second = DevicePixels(lambda: 24), range(0, 2), range(2, 3)
    >>> cache.put("photos", first, Copy([torch.zeros(2, 3, 2, 2, dtype=torch.uint8)], None))
    True
    >>> cache.put("photos", second, Copy([torch.zeros(1, 3, 2, 2, dtype=torch.uint8)], None))
    False
    >>> cache.get("photos", first) is None, cache.get("photos", second) is None
    (False, True)
    """

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = functools.cache(limit)
        # The most recently used dataset is the last one.
        self._datasets: OrderedDict[str, dict[range, Copy]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """How many bytes are on the device."""
        return self._bytes

    def get(self, dataset: str, chunk: range) -> Copy | None:
        """Return the pixels of a chunk, one tensor; None if they are not on the device."""
        with self._lock:
            pixels = self._datasets.get(dataset, {}).get(chunk)
            if pixels is not None:
                self._datasets.move_to_end(dataset)
            return pixels

    def put(self, dataset: str, chunk: range, pixels: Copy) -> bool:
        """Keep the pixels of a chunk if they fit once less recently used datasets are dropped; return whether they do.

        Those that are dropped later, for another dataset, are loaded again.
        """
        size = pixels.bytes
        with self._lock:
            chunks = self._datasets.pop(dataset, {})
            # Nothing is dropped for what would not fit even then.
            own = sum(other.bytes for other in chunks.values())
            if chunk not in chunks and own + size <= self._limit():
                while self._bytes + size > self._limit():
                    _, dropped = self._datasets.popitem(last=False)
                    self._bytes -= sum(other.bytes for other in dropped.values())
                chunks[chunk] = pixels
                self._bytes += size
            if chunks:
                self._datasets[dataset] = chunks
            return chunk in chunks

    def clear(self) -> bool:
        """Drop all pixels; return whether there were any."""
        with self._lock:
            was_empty = not self._datasets
            self._datasets.clear()
            self._bytes = 0
        return not was_empty


def memory_for_pixels(device: str, limit: int | None = None, processes: int = 1) -> int:
    """Return how many bytes of pixels may stay on a device: `limit`, or else a share of the memory that is free now.

    The processes that use the device share a third. On a CPU it is 0: the pixels of the disk are in its memory already,
    as pages that other processes share.
    """
    import torch

    if torch.device(device).type == "cpu":
        return 0
    if limit is not None:
        return limit
    if torch.device(device).type == "mps":
        free = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    else:
        free, _ = torch.cuda.mem_get_info(device)
    return max(0, free) // 3 // processes
