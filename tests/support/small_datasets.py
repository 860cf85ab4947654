"""Small datasets and pictures, whole and broken, for the tests of datasets."""

from __future__ import annotations

import csv
import os
import struct
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from pytest_biastransfer import load_dataset
from pytest_biastransfer.data import LabelledImages
from pytest_biastransfer.errors import DatasetError

Pixels = npt.NDArray[np.uint8]


def noise(*shape: int, seed: int = 0) -> Pixels:
    """Return random pixels."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write_picture(path: Path, pixels: Pixels) -> Path:
    """Write [3, height, width] without loss, whatever the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.transpose(1, 2, 0)).save(path, format="PNG")
    return path


def bomb(width: int = 20_000, height: int = 20_000) -> bytes:
    """Return a PNG of some bytes that says it has so many pixels."""

    def part(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", zlib.compress(b"")) + part(b"IEND", b"")


class Hostile:
    """What leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


LABELS = ["cat", "dog", "cat", "yak"]
GROUPS = ["indoor", "outdoor", "", "indoor, at night"]


def write_table(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def pixels_of(count: int) -> list[Pixels]:
    return [noise(3, 6, 5, seed=seed) for seed in range(count)]


def make_listed(directory: Path, labels: Sequence[object] = LABELS) -> Path:
    """Write pictures and a list of them with their labels and groups."""
    names = [f"pictures/{'ab'[place % 2]}/{place}.png" for place in range(len(labels))]
    for name, pixels in zip(names, pixels_of(len(labels)), strict=True):
        write_picture(directory / name, pixels)
    groups = GROUPS * len(labels)
    rows = list(zip(names, labels, groups, strict=False))
    return write_table(directory / "val.csv", [("image", "label", "group"), *rows])


def make_old(directory: Path) -> None:
    """Let all files look as if they had been written some minutes ago: what has just changed may change again."""
    for path in directory.rglob("*.*"):
        os.utime(path, (time.time() - 600,) * 2)


PIXELS = noise(4, 3, 6, 5)
ONES = np.ones(4, dtype=np.int64)


def write_arrays(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def make_arrays(directory: Path) -> str:
    directory.mkdir(parents=True, exist_ok=True)
    write_arrays(directory / "val.npz", images=PIXELS, labels=ONES, sex=ONES)
    return "npz:val.npz"


def require_error(
    message: str, *specs: str, directory: Path | None = None, kind: type[Exception] = DatasetError
) -> None:
    """Load datasets and all that is in them; each must fail with a message."""
    for spec in specs:
        with pytest.raises(kind, match=message):
            read_all(load_dataset(spec, directory=directory))


def read_all(images: LabelledImages) -> None:
    _ = (images.labels, images.classes, images.fingerprint, images.files, images.attributes)
    for index in range(len(images)):
        images.image(index)
