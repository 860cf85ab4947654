"""Which predictions another device or precision changes by rounding, and whether all of these count as near ties.

``python -m benchmarks.near_ties --device cuda --precision bf16`` measures in this process and prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final, get_args

import numpy as np

from benchmarks.figures import Figure
from benchmarks.measurements import Measurement, Quantities
from benchmarks.processes import run
from benchmarks.workload import RESNET20, Workload, model_spec
from pytest_biastransfer import Intervention, Model, Square, load_dataset, load_model
from pytest_biastransfer.baseline.computation import Computation
from pytest_biastransfer.data import LabelledImages
from pytest_biastransfer.evaluation.cpus import cpu_name
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.evaluation.rounding_noise import output_ranges
from pytest_biastransfer.measurement.decisions import decision_of
from pytest_biastransfer.measurement.near_ties import possible_classes
from pytest_biastransfer.names import Precision

# The images are predicted without an intervention, and with this one.
INTERVENTIONS: Final = (None, Square(size=0.25))


def near_tie_figures() -> list[Figure]:
    """Return the figure of each precision: how many of the changed predictions do not count as near ties."""
    title = "predictions of a ResNet-20 that the GPU changes, beside the CPU in float32, and that are no near ties"
    return [
        Figure(f"near-ties-{precision}", f"GPU, {precision}: {title}", f"near-ties-{precision}.missed", must=0, unit="")
        for precision in get_args(Precision)
    ]


def near_tie_measurements(environment: Mapping[str, str], work: Workload) -> dict[str, Measurement]:
    """Return the measurements by name."""
    return {f"near-ties-{name}": partial(_measured, environment, work, name) for name in get_args(Precision)}


def _measured(environment: Mapping[str, str], work: Workload, precision: Precision) -> Quantities:
    options = ["--device=cuda", f"--precision={precision}", f"--images={work.images}", f"--weights={work.weights}"]
    command = [sys.executable, "-m", "benchmarks.near_ties", *options]
    return run(command, Path(__file__).parents[1], environment).printed


def quantities(device: str, precision: Precision, model: Model, images: LabelledImages) -> dict[str, float]:
    """Return how many predictions there are, and how many change, are nearly tied, and change without being tied."""
    found = np.sum([_of(device, precision, model, images, change) for change in INTERVENTIONS], axis=0)
    names = ("predictions", "changed", "near_ties", "missed")
    return dict(zip(names, found.tolist(), strict=True))


def _of(
    device: str, precision: Precision, model: Model, images: LabelledImages, change: Intervention | None
) -> tuple[int, int, int, int]:
    on_cpu = Evaluator("cpu").predictions(model, images, change).in_order().classes
    evaluator = Evaluator(device, precision=precision)
    classes = evaluator.predictions(model, images, change).in_order().classes
    ranges = output_ranges(evaluator, model, images, change, range(len(images)), Computation(cpu_name(), "float32"))
    decision = decision_of(model, images, (), ranges.outputs.shape[1])
    choices = possible_classes(evaluator, model, images, decision, ranges)
    changed = np.flatnonzero(classes != on_cpu).tolist()
    missed = sum(int(on_cpu[image]) not in choices[image] for image in changed)
    return len(images), len(changed), sum(len(own) > 1 for own in choices), missed


def main() -> None:
    """Print the numbers by name."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.near_ties")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="float32", choices=get_args(Precision))
    parser.add_argument("--images", type=Path, required=True, help="a folder of classes of CIFAR-10")
    parser.add_argument("--weights", type=Path, required=True, help="those of a ResNet-20")
    options = parser.parse_args()
    sys.path.insert(0, str(RESNET20.parent))
    model = load_model(model_spec(options.weights, "python:resnet20:ResNet20"))
    images = load_dataset(f"imagefolder:{options.images}")
    sys.stdout.write(json.dumps(quantities(options.device, options.precision, model, images)) + "\n")


if __name__ == "__main__":
    main()
