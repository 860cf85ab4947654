"""The figures on NVIDIA GPUs: which precision, how many workers a GPU."""

from __future__ import annotations

from functools import partial
from typing import Final

from benchmarks.figures import Figure
from benchmarks.measurements import Measurement, Mode, Workbench

COMMAND: Final = "python -m benchmarks --device cuda"
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
