"""How workers share the machine: which GPU each gets, how many there are, how many CPU threads each has."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence


def gpu_of_worker(devices: Sequence[str], place: int) -> str:
    """Return the device of the worker at `place`, the workers dealt out evenly.

    >>> [gpu_of_worker(["0", "1"], place) for place in range(3)]
    ['0', '1', '0']
    """
    return devices[place % len(devices)]


def workers_of_gpu(devices: Sequence[str], workers: int) -> int:
    """Return how many workers share a GPU at most; all of them where the user has named one.

    >>> workers_of_gpu(["0", "1"], workers=3), workers_of_gpu([], workers=3)
    (2, 3)
    """
    return math.ceil(workers / max(1, len(devices)))


def worker_count(devices: Sequence[str], workers_per_gpu: int, environment: Mapping[str, str]) -> int | None:
    """Return how many workers ``-n auto`` means, or None to leave that to pytest-xdist.

    Whoever sets ``PYTEST_XDIST_AUTO_NUM_WORKERS`` has decided; without GPUs CPU cores count.

    >>> worker_count(["0", "1"], 3, {}), worker_count([], 3, {})
    (6, None)
    """
    if not devices or environment.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
        return None
    return len(devices) * workers_per_gpu


def threads_of_worker(environment: Mapping[str, str], cores: int) -> int | None:
    """Return how many CPU threads this process should use, or None to leave torch's choice.

    Workers that use all cores each slow one another down several times over. Whoever sets
    ``OMP_NUM_THREADS`` has decided; without workers there is nothing to divide.

    >>> threads_of_worker({"PYTEST_XDIST_WORKER_COUNT": "3"}, cores=8)
    2
    """
    workers = environment.get("PYTEST_XDIST_WORKER_COUNT")
    if workers is None or "OMP_NUM_THREADS" in environment:
        return None
    return max(1, cores // int(workers))


def divide_threads() -> None:
    """Limit torch's threads to this worker's share of the cores that the process may use."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = threads_of_worker(os.environ, cores)
    if threads is not None:
        torch.set_num_threads(threads)
