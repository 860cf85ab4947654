"""Zero-shot classification of 1,000 classes in 7 templates: how often texts are embedded, by two workers and later.

The model is a tiny one with random weights: texts are counted, not timed. ``python -m benchmarks.zero_shot`` runs the
sessions and prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.figures import Figure
from benchmarks.measurements import Measurement, Quantities
from benchmarks.processes import run, run_pytest

CLASSES, TEMPLATES, PICTURES = 1000, 7, 8

_WHAT: Final = "zero-shot, 1,000 classes x 7 templates"
ZERO_SHOT_FIGURES: Final = (
    Figure(
        "zero-shot-first",
        f"{_WHAT}: texts embedded in a first run, `-n 2`",
        "zero-shot.first-texts",
        must=CLASSES * TEMPLATES,
        sense="=",
        unit="",
    ),
    *(
        Figure(name, f"text models built in a {title}", f"zero-shot.{run}-towers", must=0, sense="=", unit="")
        for name, run, title in (
            ("zero-shot-second", "second", "second run"),
            ("zero-shot-new", "new", "third run with a new intervention"),
        )
    ),
)


def zero_shot_measurements(environment: Mapping[str, str]) -> dict[str, Measurement]:
    """Return the measurement by name."""
    return {"zero-shot": partial(_zero_shot, environment)}


def _zero_shot(environment: Mapping[str, str]) -> Quantities:
    return run([sys.executable, "-m", "benchmarks.zero_shot"], Path(__file__).parents[1], environment).printed


def _write_project(project: Path) -> None:
    from tests.support.small_datasets import noise, write_picture
    from tests.support.zero_shot_models import save_clip

    save_clip(str(project / "clip"))
    (project / "names.txt").write_text("".join(f"thing {number}\n" for number in range(CLASSES)))
    (project / "templates.txt").write_text("".join(f"{letter} {{}}.\n" for letter in "abcdefg"[:TEMPLATES]))
    for number in range(PICTURES):
        write_picture(project / "val" / f"thing {number % 2}" / f"{number}.png", noise(3, 32, 32))
    shutil.copy(Path(__file__).parent / "projects" / "zero_shot.py", project / "test_zero_shot.py")
    (project / "pytest.ini").write_text(
        "[pytest]\nbias_transferred_model = zeroshot:clip?classes=names.txt&template=templates.txt\n"
        "bias_dataset = imagefolder:val\n"
    )


def _counts(project: Path, arguments: tuple[str, ...], side: float) -> dict[str, int]:
    """Run a session, and return the sum of the counts of its processes."""
    with tempfile.TemporaryDirectory() as counts:
        run_pytest(project, arguments, os.environ | {"SIDE": str(side), "COUNTS": counts}, passed=2)
        processes = [json.loads(path.read_text()) for path in Path(counts).iterdir()]
    return {name: sum(one[name] for one in processes) for name in ("texts", "towers")}


def main() -> None:
    """Print the counts of three sessions on one store."""
    with tempfile.TemporaryDirectory(prefix="zero-shot-") as place:
        project = Path(place).resolve()
        _write_project(project)
        sessions = {
            "first": _counts(project, ("-n", "2"), 0.2),
            "second": _counts(project, (), 0.2),
            "new": _counts(project, (), 0.4),
        }
    found = {f"{run}-{name}": count for run, counts in sessions.items() for name, count in counts.items()}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
