"""How much of a device's throughput reaches the user: passes of bias tests beside raw passes, in one process.

``python -m benchmarks.device_work --device cuda`` measures in this process and prints one line of JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from benchmarks.figures import Figure
from benchmarks.measurements import Measurement, Quantities
from benchmarks.processes import run
from pytest_biastransfer import Intervention, Model, Preprocess, Square
from pytest_biastransfer.data import LabelledImages, as_images, load_dataset
from pytest_biastransfer.evaluation.device_memory import DeviceMemory
from pytest_biastransfer.evaluation.device_models import DeviceModels
from pytest_biastransfer.evaluation.device_pixels import DevicePixels, memory_for_pixels
from pytest_biastransfer.evaluation.environment import Upcoming
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.store import Store

BATCH: Final = 256
SIDE: Final = 224
# The session: clean images, and squares of four sizes.
INTERVENTIONS: Final = [None, *(Square(size=size) for size in (0.1, 0.2, 0.3, 0.4))]
_ARCHITECTURES: Final = {"resnet50": "ResNet-50", "vit_b_16": "ViT-B/16"}
_PRECISIONS: Final = ("bf16", "float32")
# Compilation takes longer than all other measurements of a model.
_COMPILED: Final = "bf16"


# By the name of the quantity: in words, what it is divided by, what it must reach, the aim, and the sense.
_RATIOS: Final[Sequence[tuple[str, str, str, float, float, Literal["<=", ">="]]]] = (
    ("later", "later pass / raw pass", "raw", 1 / 0.9, 1 / 0.97, "<="),
    ("first", "first pass / raw pass", "raw", 1 / 0.6, 1 / 0.9, "<="),
    ("jpeg", "first pass from JPEG / decoding or raw pass, the longer", "jpeg_floor", 1 / 0.8, 1 / 0.95, "<="),
    ("session", "five passes, pixels not on the device / five raw passes", "five_raw", 1 / 0.6, 1 / 0.8, "<="),
    ("compiled", "later pass, compiled / raw pass, eager", "raw", 1.0, 0.8, "<="),
    ("hand", "hand-written with a DataLoader / five passes", "five", 3, 5, ">="),
)


def device_work_figures() -> list[Figure]:
    """Return the figures of each architecture and precision: ratios of seconds."""
    return [
        Figure(
            f"work-{architecture}-{precision}-{quantity}",
            f"GPU, {title}, {precision}: {text}",
            f"work-{architecture}-{precision}.{quantity}",
            f"work-{architecture}-{precision}.{divisor}",
            must,
            aim,
            sense,
        )
        for architecture, title in _ARCHITECTURES.items()
        for precision in _PRECISIONS
        for quantity, text, divisor, must, aim, sense in _RATIOS
        if quantity != "compiled" or precision == _COMPILED
    ]


def device_work_measurements(environment: Mapping[str, str], images: int) -> dict[str, Measurement]:
    """Return the measurements by name, each of so many images."""
    return {
        f"work-{architecture}-{precision}": partial(_measured, environment, images, architecture, precision)
        for architecture in _ARCHITECTURES
        for precision in _PRECISIONS
    }


def _measured(environment: Mapping[str, str], images: int, architecture: str, precision: str) -> Quantities:
    options = [
        f"--images={images}",
        f"--architecture={architecture}",
        f"--precision={precision}",
        "--device=cuda",
        *(["--compile"] if precision == _COMPILED else []),
    ]
    command = [sys.executable, "-m", "benchmarks.device_work", *options]
    return run(command, Path(__file__).parents[1], environment).printed


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """Pictures of bytes in memory, as smooth as photographs."""

    def __init__(self, count: int, side: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.pixels = torch.empty(count, 3, side, side, dtype=torch.uint8)
        for pixels in torch.split(self.pixels, BATCH):
            coarse = torch.rand(len(pixels), 3, 28, 28, generator=generator)
            pixels.copy_(torch.nn.functional.interpolate(coarse, side, mode="bilinear") * 255)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.pixels[index], 0


class Work:
    """One model and its images on one device."""

    def __init__(self, device: str, architecture: str, precision: str, images: int, side: int = SIDE) -> None:
        import torchvision

        torch.manual_seed(0)
        self.device = torch.device(device)
        self.precision: Any = precision
        module = torchvision.models.get_model(architecture, weights=None).eval()
        self.model = Model(module, preprocess=Preprocess(mean=0.5, std=0.25))
        self.pictures = Pictures(images, side)

    def quantities(self, place: Path, *, compiled: bool) -> dict[str, float]:
        """Measure everything, and return seconds by name; the passes of a compiled model only if that is asked for."""
        raw = self._raw()
        images = as_images(self.pictures, "pictures")
        _ = images.fingerprint
        evaluator = self._evaluator(place / "first", stays=True)
        first, *later = (
            _seconds(partial(evaluator.predictions, self.model, images, change)) for change in INTERVENTIONS
        )
        # As a session of tests has it, which knows what its other tests need.
        beyond = self._evaluator(place / "session", stays=False, upcoming=list(map(Upcoming, INTERVENTIONS)))
        session = sum(_seconds(partial(beyond.predictions, self.model, images, change)) for change in INTERVENTIONS)
        decoding, jpeg = self._jpeg(place)
        return {
            "raw": raw,
            "five_raw": len(INTERVENTIONS) * raw,
            "first": first,
            "later": median(later),
            "five": first + sum(later),
            "session": session,
            "jpeg": jpeg,
            "jpeg_floor": max(decoding, raw),
            "hand": self._hand_written(),
            **(self._compiled_passes(images, place) if compiled else {}),
        }

    def _compiled_passes(self, images: LabelledImages, place: Path) -> dict[str, float]:
        """Time a first pass, which compiles, and later ones."""
        evaluator = self._evaluator(place / "compiled", stays=True, compiled=True)
        first, *later = (self._predicting(evaluator, images, change) for change in INTERVENTIONS)
        return {"compiled_first": first, "compiled": median(later)}

    def _predicting(self, evaluator: Evaluator, images: LabelledImages, change: Intervention | None) -> float:
        return _seconds(lambda: evaluator.predictions(self.model, images, change))

    def _evaluator(
        self, store: Path, *, stays: bool, upcoming: Sequence[Upcoming] = (), compiled: bool = False
    ) -> Evaluator:
        limit = partial(memory_for_pixels, str(self.device)) if stays else lambda: 0
        memory = DeviceMemory(DevicePixels(limit), DeviceModels(stay=self.device.type != "cpu"))
        return Evaluator(
            str(self.device),
            Store(store),
            precision=self.precision,
            compiled=compiled,
            device_memory=memory,
            upcoming=lambda _model, _images: upcoming,
        )

    def _raw(self) -> float:
        """Time a pass over pixels that are on the device."""
        with self._module_on_device() as module:
            batches = [batch.to(self.device) for batch in torch.split(self.pictures.pixels, BATCH)]
            self._pass(module, batches[:1])
            return _seconds(lambda: self._pass(module, batches))

    def _pass(
        self, module: torch.nn.Module, batches: Iterable[torch.Tensor], change: Intervention | None = None
    ) -> None:
        classes = []
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")
        with torch.inference_mode(), autocast:
            for batch in batches:
                images = batch.float() / 255
                images = images if change is None else change.apply(images)
                classes.append(module(((images - 0.5) / 0.25).contiguous(memory_format=torch.channels_last)).argmax(1))
        _ = torch.cat(classes).cpu()

    def _jpeg(self, place: Path) -> tuple[float, float]:
        """Time decoding JPEG files with all cores and nothing else, and a first pass from them."""
        for index, pixels in enumerate(self.pictures.pixels):
            file = place / "jpeg" / f"class{index % 2}" / f"{index}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file, quality=90)
        files = sorted((place / "jpeg").glob("*/*.jpg"))

        def decode() -> None:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                list(pool.map(_decoded, files))

        images: LabelledImages = load_dataset(f"imagefolder:{place / 'jpeg'}")
        _ = images.fingerprint
        evaluator = self._evaluator(place / "from-jpeg", stays=True)
        return _seconds(decode), self._predicting(evaluator, images, None)

    def _hand_written(self) -> float:
        """Time the session as one writes it: a loader with a process for each core, once for each intervention."""
        cores = os.cpu_count() or 1
        loader = DataLoader(self.pictures, BATCH, num_workers=cores, pin_memory=self.device.type == "cuda")

        def session() -> None:
            for change in INTERVENTIONS:
                batches = (images.to(self.device, non_blocking=True) for images, _ in loader)
                with self._module_on_device() as module:
                    self._pass(module, batches, change)

        return _seconds(session)

    @contextlib.contextmanager
    def _module_on_device(self) -> Iterator[torch.nn.Module]:
        yield self.model.module.to(self.device).to(memory_format=torch.channels_last)
        self.model.module.to("cpu")


def _decoded(file: Path) -> npt.NDArray[np.uint8]:
    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB"))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Print the seconds by name."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.device_work")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--architecture", default="resnet50")
    parser.add_argument("--precision", default="bf16", choices=("float32", "tf32", "bf16"))
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--compile", action="store_true", help="time a compiled model as well")
    options = parser.parse_args()
    work = Work(options.device, options.architecture, options.precision, options.images, options.side)
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as place:
        sys.stdout.write(json.dumps(work.quantities(Path(place), compiled=options.compile)) + "\n")


if __name__ == "__main__":
    main()
