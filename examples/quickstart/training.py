"""A small CNN, and one recipe for the source models and the transferred ones."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Literal

import torch
from digits import Digits
from torch import nn
from torch.utils.data import DataLoader

from pytest_biastransfer import Preprocess

Mode = Literal["fixed-feature", "full-network"]

# Shared by training and bias tests, which must agree on it.
PREPROCESS = Preprocess(mean=0.5, std=0.5)


class DigitNet(nn.Module):
    """Three convolutions with BatchNorm, and a linear head for five classes."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(_convolution(3, 16), nn.MaxPool2d(2)),
            *(_convolution(16, 32), nn.MaxPool2d(2)),
            # Maximum instead of average pooling, which is hardly sensitive to so small a square.
            *(_convolution(32, 64), nn.AdaptiveMaxPool2d(1), nn.Flatten()),
        )
        self.head = nn.Linear(64, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.features(images))
        return logits


def _convolution(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, kernel_size=3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()
    )


def train_source(data: Digits, seed: int) -> DigitNet:
    """Train from scratch."""
    _make_repeatable(seed)
    model = DigitNet().train()
    _fit(model, model.parameters(), data, epochs=15, learning_rate=0.01)
    return model.eval()


def transfer(source: DigitNet, data: Digits, *, mode: Mode, seed: int) -> DigitNet:
    """Put a new head on the source's features, and train the head alone or everything."""
    _make_repeatable(seed)
    model = copy.deepcopy(source).train()
    # Another seed than the source's head: with equal initial weights, 3 and 8, both fourth, would be linked.
    model.head = nn.Linear(model.head.in_features, model.head.out_features)
    if mode == "full-network":
        _fit(model, model.parameters(), data, epochs=10, learning_rate=0.0005)
    else:
        # Without eval, the BatchNorm statistics would follow the new data, and the features would not be fixed.
        model.features.requires_grad_(False).eval()
        _fit(model, model.head.parameters(), data, epochs=10, learning_rate=0.003)
    return model.eval()


def _make_repeatable(seed: int) -> None:
    torch.manual_seed(seed)
    # With several threads, the order of sums depends on their number; and they gain little here.
    torch.set_num_threads(1)


def _fit(
    model: DigitNet,
    parameters: Iterable[nn.Parameter],
    data: Digits,
    *,
    epochs: int,
    learning_rate: float,
) -> None:
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=1e-4)
    for _ in range(epochs):
        for images, labels in DataLoader(data, batch_size=32, shuffle=True):
            loss = nn.functional.cross_entropy(model(PREPROCESS.normalize(images / 255)), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
