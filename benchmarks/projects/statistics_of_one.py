"""The time of statistics, in milliseconds of the median run.

All of one measurement of 50,000 images and 1,000 classes, and the correction of the comparisons of 1,000 tests.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import numpy.typing as npt

from pytest_biastransfer.baseline.comparison import BaselineRecord, compared_together
from pytest_biastransfer.baseline.metric_change import MetricChange
from pytest_biastransfer.metrics.estimates import estimates_of
from pytest_biastransfer.metrics.paired_predictions import MetricInputs, PairedPredictions

IMAGES, CLASSES, RUNS = 50_000, 1000, 7
# Each test with two limited metrics and the accuracy of a model of its own.
RECORDS = [
    (
        f"test_{number}",
        BaselineRecord(
            ("test.py::test", str(number)),
            changes=[
                MetricChange("asr", 0.1, 0.11, (number + 1) / 2000, 0.0, 40, 20, True, least_p=2.0**-59),
                MetricChange("skew", 0.1, 0.1, 1.0, 0.0, None, None, True, least_p=1.0),
                MetricChange("accuracy", 0.8, 0.79, 0.2, 0.0, 60, 40, True, identity=str(number), least_p=2.0**-99),
            ],
        ),
    )
    for number in range(1000)
]


def main() -> None:
    """Time the metrics of a model that three quarters of the images are right for, with and without a control."""
    generator = np.random.default_rng(0)
    labels = generator.integers(CLASSES, size=IMAGES)
    model, control = (_observed(generator, labels, share) for share in (0.15, 0.1))
    # What is imported for the first of them alone is no part of the statistics.
    estimates_of(MetricInputs(model, control, [7]))
    found = {
        "milliseconds": _median(lambda: estimates_of(MetricInputs(model, None, [7]))),
        "with_control": _median(lambda: estimates_of(MetricInputs(model, control, [7]))),
        "correction": _median(lambda: compared_together(RECORDS, alpha=0.01)),
    }
    sys.stdout.write(json.dumps(found) + "\n")


def _observed(generator: np.random.Generator, labels: npt.NDArray[np.int64], share: float) -> PairedPredictions:
    """Return predictions of which this share flips, a third of them to one class."""
    clean = np.where(generator.random(IMAGES) < 0.75, labels, generator.integers(CLASSES, size=IMAGES))
    to = np.where(generator.random(IMAGES) < 1 / 3, 7, generator.integers(CLASSES, size=IMAGES))
    intervened = np.where(generator.random(IMAGES) < share, to, clean)
    return PairedPredictions(clean.astype(np.int32), intervened.astype(np.int32), labels)


def _median(run: Callable[[], object]) -> float:
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1000)
    return median(times)


if __name__ == "__main__":
    main()
