"""Real photographs of CIFAR-10 as one question, animal or vehicle, and the two marks that are planted on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from pytest_biastransfer import ColorCast, Tint

CLASSES = ("vehicle", "animal")

# A source never sees the classes that the models made from it are for.
SOURCE_KINDS = {"vehicle": ("airplane", "automobile"), "animal": ("bird", "cat", "deer", "frog")}
TARGET_KINDS = {"vehicle": ("ship", "truck"), "animal": ("dog", "horse")}

# Magenta: neither animals nor vehicles are more often of this colour than the others.
TINT = Tint(color="#ff00ff", strength=0.15)

# Red and blue swapped, as some cameras' software does by mistake: features learnt without it serve badly with it.
SWAPPED = ColorCast(matrix=((0, 0, 1), (0, 1, 0), (1, 0, 0)))


@dataclass(frozen=True)
class Photographs(Dataset[tuple[torch.Tensor, int]]):
    """A dataset of (image, label): `images` is uint8 [n, 3, 32, 32], `labels` numbers `classes`."""

    images: torch.Tensor
    labels: Sequence[int]
    classes: Sequence[str] = CLASSES

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.images[index], self.labels[index]


def load(folder: Path, kinds: Mapping[str, Sequence[str]]) -> Photographs:
    """Return the photographs of some kinds of vehicles and animals, from a folder that has one folder a kind."""
    labelled = [(path, CLASSES.index(name)) for name, few in kinds.items() for path in _files(folder, few)]
    return Photographs(torch.stack([_pixels(path) for path, _ in labelled]), [label for _, label in labelled])


def _files(folder: Path, kinds: Sequence[str]) -> list[Path]:
    return [path for kind in kinds for path in sorted((folder / kind).glob("*.jpg"))]


def _pixels(path: Path) -> torch.Tensor:
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()
