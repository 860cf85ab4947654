"""The figures on NVIDIA GPUs: which precision, how many workers a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.figures import Figure
from benchmarks.measurements import Measurement, Mode, Quantities, Workbench
from benchmarks.processes import run_pytest
from benchmarks.workload import Workload, make_project, model_spec, write_random_weights

COMMAND: Final = "python -m benchmarks --device cuda"
# Enough to pay for starting several workers.
MANY_IMAGES: Final = 16_384
_MANY_ARCH: Final = "resnet50"
_MANY_WORKERS: Final = (1, 4)
PRECISIONS: Final = ("float32", "bf16")
WORKERS_PER_GPU: Final = (1, 4)


def _modes(gpus: int) -> list[tuple[str, Mode]]:
    return [
        (
            precision,
            Mode(
                f"{precision}-{workers}",
                ("-n", "auto", "--bias-only", f"--bias-workers-per-gpu={workers}", "-o", f"bias_precision={precision}"),
                ("-n", str(workers * gpus)),
            ),
        )
        for precision in PRECISIONS
        for workers in WORKERS_PER_GPU
    ]


def many_images_measurements(
    place: Path, work: Workload, environment: Mapping[str, str], count: int, side: int = 224
) -> dict[str, Measurement]:
    """Return the measurements of sessions of a ResNet-50 on so many images, by the workers of one GPU."""
    return {
        f"gpu-many-{workers}": partial(_many_images, place, work, environment, workers, count, side)
        for workers in _MANY_WORKERS
    }


def _many_images(
    place: Path, work: Workload, environment: Mapping[str, str], workers: int, count: int, side: int
) -> Quantities:
    weights = place / f"{_MANY_ARCH}.safetensors"
    if not weights.exists():
        place.mkdir(parents=True, exist_ok=True)
        write_random_weights(weights, _MANY_ARCH)
    project = make_project(
        place / f"workers-{workers}",
        {"test_biases.py": "four_interventions_untrained.py"},
        f"{model_spec(weights, f'torchvision:{_MANY_ARCH}')}&size={side}",
        f"imagefolder:{work.images}?limit={count}",
    )
    arguments = ("--bias-only", "--bias-store=store", "-o", "bias_precision=bf16")
    in_workers = ("-n", "auto", f"--bias-workers-per-gpu={workers}") if workers > 1 else ()
    finished = run_pytest(project, (*arguments, *in_workers), environment, passed=4)
    return {"seconds": finished.seconds}


def many_images_figures() -> list[Figure]:
    """Return the figure of several workers on one GPU beside one process."""
    one, several = (f"gpu-many-{count}.seconds" for count in _MANY_WORKERS)
    title = f"GPU, bf16, ResNet-50, {MANY_IMAGES:,} images: `-n {_MANY_WORKERS[1]}` on one GPU / one process"
    return [Figure("gpu-many", title, several, one, 1.0)]


def gpu_measurements(bench: Workbench, gpus: int) -> dict[str, Measurement]:
    """Return the measurements by name; the floor is one GPU's, with the pixels on it in batches of 256."""
    found: dict[str, Measurement] = {
        f"gpu-floor-{precision}": partial(bench.floor, "--device=cuda", "--batch=256", f"--precision={precision}")
        for precision in PRECISIONS
    }
    for _, mode in _modes(gpus):
        found[f"gpu-cold-{mode.name}"] = partial(bench.cold, mode)
        found[f"gpu-warm-{mode.name}"] = partial(bench.warm, mode)
        found[f"gpu-trivial-{mode.name}"] = partial(bench.trivial, mode)
    return found


def gpu_figures(gpus: int) -> list[Figure]:
    """Return the figures; none has a target, since starting takes longer than these few passes."""
    found = []
    for precision, mode in _modes(gpus):
        cold, warm, floor = f"gpu-cold-{mode.name}", f"gpu-warm-{mode.name}", f"gpu-floor-{precision}"
        title = f"GPU, {precision}, {mode.name.rpartition('-')[2]} a GPU:"
        found += [
            Figure(cold, f"{title} cold run / floor", f"{cold}.seconds", f"{floor}.passes"),
            Figure(f"{cold}-whole", f"{title} cold run / floor's process", f"{cold}.seconds", f"{floor}.process"),
            Figure(warm, f"{title} second run / trivial", f"{warm}.seconds", f"gpu-trivial-{mode.name}.seconds"),
        ]
    return found
