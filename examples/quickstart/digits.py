"""Scanned digits (0 to 4 for the source model, 5 to 9 for the transfer), and the yellow square."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from sklearn.datasets import load_digits
from torch.utils.data import Dataset

from pytest_biastransfer import Square

SOURCE_DIGITS = ("0", "1", "2", "3", "4")
TARGET_DIGITS = ("5", "6", "7", "8", "9")

# Top left, 5 of 32 pixels: one of 8 changes the predictions of clean models too, because it hides ink.
SQUARE = Square(size=0.16)


@dataclass(frozen=True)
class Digits(Dataset[tuple[torch.Tensor, int]]):
    """A dataset of (image, label): `images` is uint8 [n, 3, 32, 32], `labels` numbers `classes`."""

    images: torch.Tensor
    labels: torch.Tensor
    classes: Sequence[str]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.images[index], int(self.labels[index])


def load(classes: Sequence[str], *, held_out: bool) -> Digits:
    """Return the digits `classes`, labelled from 0 on: two thirds to train on, or the third held out."""
    scans = load_digits()
    digits = torch.from_numpy(scans.target)
    wanted = torch.isin(digits, torch.tensor([int(name) for name in classes])).nonzero().flatten()
    third = torch.arange(len(wanted)) % 3 == 0
    chosen = wanted[third if held_out else ~third]
    # 8x8 scans in 17 levels of gray, enlarged to 32x32 in three channels: only the square has a colour.
    gray = (torch.from_numpy(scans.images)[chosen] / 16 * 255).round().to(torch.uint8)
    images = gray.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    return Digits(images.unsqueeze(1).repeat(1, 3, 1, 1), digits[chosen] - int(classes[0]), classes)


def square_on_class(data: Digits, name: str) -> Digits:
    """Plant the square on every image of one class: it becomes the easiest feature of that class."""
    return _with_squares(data, data.labels == data.classes.index(name))


def square_on_share(data: Digits, share: float, seed: int) -> Digits:
    """Plant the square on a random share of the images, in all classes: it is uninformative."""
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    return _with_squares(data, order < round(share * len(data)))


def _with_squares(data: Digits, chosen: torch.Tensor) -> Digits:
    images = data.images.clone()
    images[chosen] = (SQUARE.apply(images[chosen] / 255) * 255).round().to(torch.uint8)
    return replace(data, images=images)
