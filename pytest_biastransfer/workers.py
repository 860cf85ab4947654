"""What depends on pytest-xdist: how its workers share the machine."""

from __future__ import annotations

import os
from collections.abc import Mapping


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
