"""Curation of finetuning data: how long a view of a million images takes, and how much memory beside them.

``python -m benchmarks.curation`` measures in this process and prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.figures import Figure
from benchmarks.measurements import Measurement, Quantities
from benchmarks.processes import run
from pytest_biastransfer import Square
from pytest_biastransfer.data import LabelledImages
from pytest_biastransfer.data.subset import Selection
from pytest_biastransfer.transfer.curation.functions import (
    balanced,
    of_classes,
    plant,
    reweighted,
    with_correlation,
    with_share,
)

IMAGES, CLASSES, RUNS = 1_000_000, 100, 5

_CURATING: Final[Mapping[str, Callable[[LabelledImages], LabelledImages]]] = {
    "plant": lambda images: plant(images, Square(), 0.1, [3, 1]),
    "with_correlation": lambda images: with_correlation(images, "background", 1, 0.9, value="grass"),
    "balanced": lambda images: balanced(images, "background"),
    "reweighted": lambda images: reweighted(images, "background"),
    "with_share": lambda images: with_share(images, "background", 0.1, value="grass"),
    "of_classes": lambda images: of_classes(images, list(range(50, 0, -1))),
}

CURATION_FIGURES: Final = (
    *(Figure(f"curation-{name}", f"`{name}`, a million images", f"curation.{name}", must=1) for name in _CURATING),
    Figure("curation-memory", "peak memory of the dearest of these", "curation.bytes", must=100e6, unit="bytes"),
)


def curation_measurements(environment: Mapping[str, str]) -> dict[str, Measurement]:
    """Return the measurement by name."""
    return {"curation": partial(_curation, environment)}


def _curation(environment: Mapping[str, str]) -> Quantities:
    """Time each function in a process of its own, and tell the most memory that one of them takes."""
    command = [sys.executable, "-m", "benchmarks.curation"]
    return run(command, Path(__file__).parents[1], environment).printed


class _Table(LabelledImages):
    """Labels and an attribute in memory, and images that nobody is to read."""

    def __init__(self) -> None:
        generator = np.random.default_rng(0)
        self.name = "table"
        self.classes = None
        self._labels = generator.integers(CLASSES, size=IMAGES)
        grounds = generator.integers(2, size=IMAGES).tolist()
        self._attributes = {"background": [("grass", "snow")[ground] for ground in grounds]}

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Random ones."""
        return self._labels

    @property
    def attributes(self) -> Mapping[str, Sequence[str]]:
        """Random ones."""
        return self._attributes

    @property
    def fingerprint(self) -> str:
        """Nothing that would take time."""
        return "table"

    def image(self, index: int) -> Any:
        """Fail."""
        raise AssertionError(f"image {index} was read")


def _use(curate: Callable[[LabelledImages], LabelledImages], images: LabelledImages) -> None:
    """Make a view, and ask for all that training asks for before the images."""
    view = curate(images)
    _ = (view.labels, view.weights, view.attributes["background"], view.fingerprint, len(view))
    if isinstance(view, Selection):
        _ = view.indices


def _seconds(use: Callable[[], None]) -> float:
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        use()
        times.append(time.perf_counter() - start)
    return median(times)


def _peak_bytes(use: Callable[[], None]) -> int:
    tracemalloc.start()
    use()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def main() -> None:
    """Print the median seconds of each function, and the most bytes."""
    images = _Table()
    uses = {name: partial(_use, curate, images) for name, curate in _CURATING.items()}
    seconds = {name: _seconds(use) for name, use in uses.items()}
    sys.stdout.write(json.dumps({**seconds, "bytes": max(map(_peak_bytes, uses.values()))}) + "\n")


if __name__ == "__main__":
    main()
