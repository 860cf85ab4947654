"""A ResNet-20 that counts: each process appends the size of every batch to a file of its own."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from resnet20 import ResNet20  # type: ignore[import-not-found]


class CountingResNet20(ResNet20):  # type: ignore[misc]
    """The same weights and the same logits."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Count the images, and classify them."""
        folder = Path(__file__).parent / "forwarded"
        folder.mkdir(exist_ok=True)
        with (folder / str(os.getpid())).open("a") as counts:
            counts.write(f"{len(x)}\n")
        logits: torch.Tensor = super().forward(x)
        return logits
