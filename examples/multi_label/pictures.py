"""Pictures that show two photographs of CIFAR-10 side by side, a vehicle and an animal, with several labels each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

# What is shown, and how often: half of the pictures show a ship, half show a frog, and the two are independent.
VEHICLES = {"ship": 8, "truck": 4, "airplane": 2, "automobile": 2}
ANIMALS = {"frog": 8, "horse": 4, "bird": 1, "cat": 1, "deer": 1, "dog": 1}

# What a picture is asked for: none of these, one or two are true.
LABELS = ("ship", "truck", "frog", "horse")

# The label that another one is correlated with: ships are easier to see than frogs.
SHORTCUT, DECIDED = "ship", "frog"


@dataclass(frozen=True)
class Photographs:
    """Photographs of some kinds of things: `images` is uint8 [n, 3, 32, 32], `kinds` has the kind of each."""

    images: torch.Tensor
    kinds: Sequence[str]


@dataclass(frozen=True)
class Pictures(Dataset[tuple[torch.Tensor, dict[str, int]]]):
    """A dataset of (picture, labels), whose pictures, uint8 [3, 32, 64], are made when they are asked for.

    Attributes
    ----------
    vehicles, animals
        The photographs.
    pairs
        For each picture the places of its vehicle and its animal among them, and whether the animal is on the left.
    """

    vehicles: Photographs
    animals: Photographs
    pairs: Sequence[tuple[int, int, bool]]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, dict[str, int]]:
        vehicle, animal, animal_first = self.pairs[index]
        sides = [self.vehicles.images[vehicle], self.animals.images[animal]]
        picture = torch.cat(sides[::-1] if animal_first else sides, dim=2)
        shown = (self.vehicles.kinds[vehicle], self.animals.kinds[animal])
        return picture, {label: int(label in shown) for label in LABELS}


def compose(folder: Path, which: slice, count: int, seed: int) -> Pictures:
    """Return pictures of random photographs: some of each kind, from a folder that has one folder a kind."""
    random = torch.Generator().manual_seed(seed)
    vehicles, animals = _load(folder, VEHICLES, which), _load(folder, ANIMALS, which)
    first, second = _draw(vehicles, VEHICLES, count, random), _draw(animals, ANIMALS, count, random)
    animal_first = (torch.rand(count, generator=random) < 0.5).tolist()
    return Pictures(vehicles, animals, list(zip(first, second, animal_first, strict=True)))


def _draw(photographs: Photographs, shares: Mapping[str, int], count: int, random: torch.Generator) -> list[int]:
    """Return the places of random photographs, of each kind in proportion to its share."""
    weights = torch.tensor([shares[kind] / photographs.kinds.count(kind) for kind in photographs.kinds])
    return torch.multinomial(weights, count, replacement=True, generator=random).tolist()


def _load(folder: Path, kinds: Mapping[str, int], which: slice) -> Photographs:
    files = [(path, kind) for kind in kinds for path in sorted((folder / kind).glob("*.jpg"))[which]]
    return Photographs(torch.stack([_pixels(path) for path, _ in files]), [kind for _, kind in files])


def _pixels(path: Path) -> torch.Tensor:
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()
