"""Whether the workers of a session were worth their start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# A start that takes less is not worth a line.
_LEAST_SECONDS: Final = 1.0


@dataclass(frozen=True)
class WorkerTime:
    """What a worker did for bias tests, in seconds.

    Attributes
    ----------
    loading
        Importing torch and loading models, before anything could be evaluated.
    tests
        All of the time that the tests took which evaluated images, with `loading`.
    images
        The number of images that were evaluated.
    """

    loading: float
    tests: float
    images: int


def workers_sentence(workers: Sequence[WorkerTime]) -> str:
    """Return a sentence if one process would have evaluated everything in less time than a worker needed to start.

    Empty if the workers paid, if not even two of them evaluated something, or if their start took no time to speak of.

    >>> workers_sentence([WorkerTime(6.0, 7.0, 1000), WorkerTime(6.0, 7.5, 1000)])
    '2 workers took 6.0 s each to load torch and models, and 2.5 s together to evaluate 2,000 images: -n 0 loads once'
    >>> workers_sentence([WorkerTime(6.0, 16.0, 9000), WorkerTime(6.0, 15.0, 9000)])
    ''
    """
    used = [worker for worker in workers if worker.images]
    if len(used) < 2:
        return ""
    loading = sum(worker.loading for worker in used) / len(used)
    evaluating = sum(worker.tests - worker.loading for worker in used)
    if loading < _LEAST_SECONDS or evaluating >= loading:
        return ""
    images = sum(worker.images for worker in used)
    return (
        f"{len(used)} workers took {loading:.1f} s each to load torch and models, and {evaluating:.1f} s together to "
        f"evaluate {images:,} images: -n 0 loads once"
    )
