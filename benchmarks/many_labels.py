"""Gaps of a model with one output for each of many labels: how long one takes, from stored predictions on.

``python -m benchmarks.many_labels`` measures in this process and prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final, get_args

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.figures import Figure
from benchmarks.measurements import Measurement, Quantities
from benchmarks.processes import run
from pytest_biastransfer.data import LabelledImages
from pytest_biastransfer.data.label_table import UNKNOWN, LabelTable
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.evaluation.keys import PredictionKey
from pytest_biastransfer.evaluation.prediction_kinds import kind_of
from pytest_biastransfer.evaluation.predictions import PartialPredictions
from pytest_biastransfer.evaluation.visiting_order import visiting_order
from pytest_biastransfer.judgement.gap import Gap
from pytest_biastransfer.measurement.gaps_from_predictions import gaps_from_predictions
from pytest_biastransfer.models import Model
from pytest_biastransfer.names import GapMetric

IMAGES, LABELS, RUNS = 1_000_000, 40, 7
VALUES: Final[Mapping[str, int]] = {"sex": 2, "age": 3, "region": 9}
OF_INTERSECTIONS: Final[Sequence[GapMetric]] = ("fpr", "auc")

MANY_LABELS_FIGURES: Final = (
    *(
        Figure(f"labels-{metric}", f"gap of {metric}, a million x 40 labels", f"labels.{metric}", must=50, unit="ms")
        for metric in get_args(GapMetric)
    ),
    Figure("labels-weak", "gap of fpr, a label that the model hardly knows", "labels.weak", must=50, unit="ms"),
    *(
        Figure(f"labels-54-{metric}", f"gap of {metric}, 54 intersections", f"labels.54-{metric}", must=300, unit="ms")
        for metric in OF_INTERSECTIONS
    ),
)


def many_labels_measurements(environment: Mapping[str, str]) -> dict[str, Measurement]:
    """Return the measurement by name."""
    return {"labels": partial(_labels, environment)}


def _labels(environment: Mapping[str, str]) -> Quantities:
    """Time each gap in a process of its own."""
    return run([sys.executable, "-m", "benchmarks.many_labels"], Path(__file__).parents[1], environment).printed


class _Table(LabelledImages):
    """Labels and attributes in memory, and images that nobody is to read."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.name = "table"
        self.classes = None
        states = generator.choice(np.array([UNKNOWN, 0, 1], np.int8), p=[0.05, 0.65, 0.3], size=(IMAGES, LABELS))
        self._table = LabelTable(states, tuple(f"label {number}" for number in range(LABELS)))
        self._attributes = {
            name: np.array([f"{name} {value}" for value in range(count)], object)[
                generator.integers(count, size=IMAGES)
            ].tolist()
            for name, count in VALUES.items()
        }

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Fail: each image has several."""
        raise AssertionError("the labels were read as classes")

    @property
    def label_table(self) -> LabelTable:
        """Random ones, of which some are unknown."""
        return self._table

    @property
    def attributes(self) -> Mapping[str, Sequence[str]]:
        """Random ones."""
        return self._attributes

    @property
    def fingerprint(self) -> str:
        """Nothing that would take time."""
        return "table"

    def __len__(self) -> int:
        return IMAGES

    def image(self, index: int) -> Any:
        """Fail."""
        raise AssertionError(f"image {index} was read")


class _Predicted(Evaluator):
    """Has the predictions of all images in memory, in the visiting order, as a session has after its first gap."""

    def __init__(self, key: PredictionKey, images: _Table, generator: np.random.Generator) -> None:
        super().__init__("cpu")
        order = visiting_order(IMAGES, 0)
        logits = generator.standard_normal((IMAGES, LABELS), dtype=np.float32)
        # The last label is one that the model hardly knows.
        logits += (images.label_table.states[order] == 1) * np.array([2] * (LABELS - 1) + [0.5], np.float32)
        logits[:, :-1] -= 1
        self._partial[kind_of("sigmoid").key(key.text)] = PartialPredictions(order, logits, LABELS, IMAGES)


def _milliseconds(evaluator: Evaluator, model: Model, key: PredictionKey, images: _Table, gap: Gap) -> float:
    """Return the median time from the predictions to the measurement, after a run that imports what it needs."""
    times = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        gaps_from_predictions(evaluator, [model], [key], images, gap, 0.95)
        times.append((time.perf_counter() - start) * 1000)
    return median(times[1:])


def main() -> None:
    """Print the median milliseconds of each gap."""
    generator = np.random.default_rng(0)
    images = _Table(generator)
    model = Model(torch.nn.Flatten(), outputs="sigmoid", classes=images.label_table.names)
    key = PredictionKey("text", "model", "content", "basis", "basis", portable=True)
    measure = partial(_milliseconds, _Predicted(key, images, generator), model, key, images)
    one = {metric: measure(Gap("sex", metric, positive="label 7")) for metric in get_args(GapMetric)}
    weak = {"weak": measure(Gap("sex", "fpr", positive=f"label {LABELS - 1}"))}
    intersections = {
        f"54-{metric}": measure(Gap(list(VALUES), metric, positive="label 7")) for metric in OF_INTERSECTIONS
    }
    sys.stdout.write(json.dumps(one | weak | intersections) + "\n")


if __name__ == "__main__":
    main()
