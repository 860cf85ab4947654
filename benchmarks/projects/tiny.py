"""A model that costs next to nothing: filling the store with many interventions takes little time."""

from __future__ import annotations

import torch
from torch import nn


class Tiny(nn.Module):
    """Maps [batch, 3, height, width] to the logits of ten classes, linear in every eighth pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits, [batch, 10]."""
        logits: torch.Tensor = self.linear(x[:, :, ::8, ::8].mean(dim=(2, 3)))
        return logits
