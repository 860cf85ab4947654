"""Applies each intervention to 256 images of 224 x 224. Prints the seconds of the median run, and of a MobileNetV2."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

import torch
import torchvision
from PIL import Image

from pytest_biastransfer import (
    Background,
    Circle,
    Custom,
    Intervention,
    Occlude,
    OneOf,
    Pattern,
    Random,
    Sometimes,
    Square,
    Stencil,
    Text,
)
from pytest_biastransfer.evaluation.allocator import freed_memory_kept
from pytest_biastransfer.interventions.parsing import kinds

IMAGES, SIDE, RUNS = 256, 224, 5
# What the forward pass is fastest with.
BATCH: Final = 32
SLOW: Final = ("JPEG", "Blur", "Text")


def main() -> None:
    """Time them in one process, the forward passes between the interventions."""
    images = torch.rand(IMAGES, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    masks = {"object": torch.rand(IMAGES, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))}
    model = torchvision.models.mobilenet_v2().eval()

    def forward() -> None:
        for batch in torch.split(images, BATCH):
            model(batch.contiguous(memory_format=torch.channels_last))

    seconds: dict[str, float] = {}
    with torch.inference_mode():
        forward()
        passes = [_seconds(forward)]
        for name, intervention in _interventions().items():
            intervention.apply(images, masks=masks)
            apply = lambda one=intervention: one.apply(images, masks=masks)  # noqa: E731
            seconds[name] = median(_seconds(apply) for _ in range(RUNS))
            if len(seconds) % 8 == 0:
                passes.append(_seconds(forward))
    for name, one in sorted(seconds.items(), key=lambda found: -found[1]):
        sys.stderr.write(f"{name:16} {one * 1000:6.0f} ms {one / median(passes):.4f}\n")
    others = max(one for name, one in seconds.items() if name not in SLOW)
    slow = {name.lower(): seconds[name] for name in SLOW}
    sys.stdout.write(json.dumps({"forward": median(passes), "others": others, **slow}) + "\n")


def _interventions() -> dict[str, Intervention]:
    """Return one of each kind, as its defaults are."""
    special = {
        "Background": Background("object"),
        "Occlude": Occlude("object"),
        "Pattern": Pattern([[0.1, -0.1], [-0.1, 0.1]]),
        "Random": Random(Square()),
        "OneOf": OneOf([Square(), Circle()]),
        "Sometimes": Sometimes(Square()),
        "Stencil": _stencil(),
        "Text": Text("SAMPLE", size=0.8),
        "Custom": Custom(_negative),
    }
    plain = {name: kind() for name, kind in kinds().items() if name not in special and name != "Composition"}
    return {**plain, **special}


def _stencil() -> Stencil:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "logo.png")
        Image.new("RGBA", (400, 300), (200, 30, 60, 180)).save(path)
        return Stencil(str(path), size=0.5, angle=20)


def _negative(images: torch.Tensor) -> torch.Tensor:
    return 1 - images


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    with freed_memory_kept():
        main()
