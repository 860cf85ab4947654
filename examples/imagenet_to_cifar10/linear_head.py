"""Fixed-feature transfer: a linear head on the frozen features of a pre-trained model."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn import functional

from pytest_biastransfer import Model


def with_linear_head(source: Model, images: Iterable[tuple[torch.Tensor, int]], classes: int) -> nn.Module:
    """Return torchvision's MobileNetV2 `source.module` with a new head, fitted to `images` (float CHW, label).

    The backbone stays as it is, its BatchNorm statistics too: it is in evaluation mode throughout.
    """
    features_of = source.module.get_submodule("features")
    backbone = nn.Sequential(features_of, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    features, labels = _features(backbone, source, images)
    head = nn.Linear(features.shape[1], classes)
    nn.init.zeros_(head.weight)
    _fit(head, features, labels)
    return nn.Sequential(backbone, head)


def _features(
    backbone: nn.Module, source: Model, images: Iterable[tuple[torch.Tensor, int]]
) -> tuple[torch.Tensor, torch.Tensor]:
    every = list(images)
    pixels = torch.stack([image for image, _ in every])
    with torch.inference_mode():
        parts = [backbone(source.preprocess.normalize(batch)) for batch in torch.split(pixels, 32)]
    # Ordinary tensors: inference tensors cannot be trained on.
    return torch.cat(parts).clone(), torch.tensor([label for _, label in every])


def _fit(head: nn.Linear, features: torch.Tensor, labels: torch.Tensor) -> None:
    """Fit multinomial logistic regression with weight decay, the whole set at each step."""
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(head(features), labels) + 1e-3 * head.weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
