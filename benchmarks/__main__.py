"""``python -m benchmarks``: measure, print the table, write it down."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.curation import CURATION_FIGURES, curation_measurements
from benchmarks.device_work import device_work_figures, device_work_measurements
from benchmarks.figures import CPU_FIGURES, MOST_ROUNDS, Figure, Result, results
from benchmarks.gpu import (
    COMMAND,
    MANY_IMAGES,
    gpu_figures,
    gpu_measurements,
    many_images_figures,
    many_images_measurements,
)
from benchmarks.machine import describe_machine, gpu_names
from benchmarks.many_labels import MANY_LABELS_FIGURES, many_labels_measurements
from benchmarks.measurements import Measurement, Workbench, cpu_measurements
from benchmarks.near_ties import near_tie_figures, near_tie_measurements
from benchmarks.pages import PAGE_FIGURES, page_measurements
from benchmarks.processes import BenchmarkError, child_environment
from benchmarks.report import markdown
from benchmarks.workload import workload
from benchmarks.zero_shot import ZERO_SHOT_FIGURES, zero_shot_measurements

PER_CLASS = 500
QUICK_PER_CLASS = 20
# Images of 224 pixels that a GPU computes.
WORK = 4096
QUICK_WORK = 512


def main() -> int:
    """Measure, and write down what was found; return the exit status."""
    parser = _parser()
    options = _options(parser)
    data = os.environ.get("BIASTRANSFER_DATA")
    if data is None or not Path(data, "cifar10", "test").is_dir():
        parser.error("set BIASTRANSFER_DATA to the folder that has cifar10/ and weights/")
    gpus = len(gpu_names()) if options.device != "cpu" else 0
    if options.device == "cuda" and not gpus:
        parser.error("--device cuda: this machine has no NVIDIA GPU that nvidia-smi lists")
    own = (*CPU_FIGURES, *CURATION_FIGURES, *MANY_LABELS_FIGURES, *PAGE_FIGURES, *ZERO_SHOT_FIGURES)
    cpu: Sequence[Figure] = () if options.device == "cuda" else own
    gpu: Sequence[Figure] = (
        (*gpu_figures(gpus), *device_work_figures(), *near_tie_figures(), *many_images_figures()) if gpus else ()
    )
    figures = _chosen([*cpu, *gpu], options.only, parser)
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as place:
        measurements = _measurements(Path(place).resolve(), Path(data).resolve(), options.quick, gpus)
        try:
            samples = _sample(measurements, figures, 1 if options.quick else options.repeat)
        except BenchmarkError as error:
            sys.stderr.write(f"\nstopped, nothing is written: {error}\n")
            return 1
    _write(options, figures, samples, gpus)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure bias tests, side by side.")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="rounds; figures are medians (default: 5)")
    parser.add_argument("--only", metavar="NAME[,NAME]", help="only these figures")
    parser.add_argument("--quick", action="store_true", help="few images, one round: only to see that it works")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="whose figures")
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results.json", metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there too")
    return parser


def _options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Return the options; what would lose the figures at the end is an error at the start."""
    options = parser.parse_args()
    if options.repeat < 1:
        parser.error(f"--repeat {options.repeat}: expected a number above 0")
    for file in filter(None, (options.json, options.markdown)):
        if not file.parent.is_dir():
            parser.error(f"{file}: there is no directory {file.parent}")
    return options


def _chosen(figures: Sequence[Figure], only: str | None, parser: argparse.ArgumentParser) -> list[Figure]:
    names = [figure.name for figure in figures]
    wanted = names if only is None else only.split(",")
    for name in wanted:
        if name not in names:
            parser.error(f"--only: no figure is named {name!r}; there are {', '.join(names)}")
    return [figure for figure in figures if figure.name in wanted]


def _measurements(place: Path, data: Path, quick: bool, gpus: int) -> dict[str, Measurement]:
    per_class = QUICK_PER_CLASS if quick else PER_CLASS
    images = workload(data, place, per_class if quick else None)
    tenth = workload(data, place, per_class // 10)
    plain = child_environment(gpu=False)
    found = cpu_measurements(Workbench(place / "whole", images, plain), Workbench(place / "tenth", tenth, plain))
    found |= curation_measurements(plain) | many_labels_measurements(plain) | page_measurements(plain)
    found |= zero_shot_measurements(plain)
    with_gpu = child_environment(gpu=True)
    found |= device_work_measurements(with_gpu, QUICK_WORK if quick else WORK)
    found |= near_tie_measurements(with_gpu, images)
    many = workload(data, place, per_class, copies=4)
    found |= many_images_measurements(place / "many", many, with_gpu, QUICK_WORK if quick else MANY_IMAGES)
    return found | gpu_measurements(Workbench(place / "gpu", images, with_gpu), gpus)


def _sample(
    measurements: Mapping[str, Measurement], figures: Sequence[Figure], repeat: int
) -> Mapping[str, list[float]]:
    """Take each measurement that the figures need once a round, so that a drift of the machine meets all of them."""
    needed = set().union(*(figure.measurements for figure in figures))
    samples: dict[str, list[float]] = defaultdict(list)
    for number in range(repeat):
        for name in (name for name in measurements if name in needed):
            if number >= MOST_ROUNDS.get(name, repeat):
                continue
            sys.stderr.write(f"round {number + 1} of {repeat}: {name} ... ")
            sys.stderr.flush()
            quantities = measurements[name]()
            sys.stderr.write(", ".join(f"{quantity} {value:.4g}" for quantity, value in quantities.items()) + "\n")
            for quantity, value in quantities.items():
                samples[f"{name}.{quantity}"].append(value)
    return samples


def _write(
    options: argparse.Namespace, figures: Sequence[Figure], samples: Mapping[str, list[float]], gpus: int
) -> None:
    machine, found = describe_machine(), results(figures, samples)
    table = markdown(machine, _command(options), found, _remarks(options, gpus))
    sys.stdout.write(table)
    record = {"machine": machine, "samples": samples, "figures": [_as_json(result) for result in found]}
    options.json.write_text(json.dumps(record, indent=2) + "\n")
    if options.markdown is not None:
        options.markdown.write_text(table)


def _command(options: argparse.Namespace) -> str:
    """Return what to type for the same figures; not the files, whose names tell of this machine only."""
    given = ["--quick"] if options.quick else [f"--repeat {options.repeat}"]
    given += [f"--only {options.only}"] if options.only else []
    return " ".join(["python -m benchmarks", *given, f"--device {options.device}"])


def _remarks(options: argparse.Namespace, gpus: int) -> list[str]:
    remarks = [
        "The floor is five forward passes over the decoded images and nothing else, the time of bias tests that of "
        "their whole process. Medians of interleaved rounds; a ratio is the median of the rounds' ratios. The "
        "hand-written suite and the peak memory are measured in the first three rounds at most, what comes out the "
        "same each time in the first."
    ]
    if options.quick:
        remarks.append("With `--quick` the figures mean nothing.")
    if options.device == "auto" and not gpus:
        remarks.append(f"The GPU table needs an NVIDIA GPU: `{COMMAND}`.")
    return remarks


def _as_json(result: Result) -> dict[str, object]:
    medians = {"numerator_median": result.numerator, "denominator_median": result.denominator}
    outcome = {"value": result.value, "values": list(result.values), "verdict": result.verdict}
    return asdict(result.figure) | medians | outcome


if __name__ == "__main__":
    sys.exit(main())
