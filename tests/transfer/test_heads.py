"""Heads of torchvision's and timm's families are found and replaced, with weights that nobody had to download."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torchvision

from pytest_biastransfer import Model, Preprocess
from pytest_biastransfer.transfer.heads import find_head, replace_head, require_logits

# One of each of torchvision's families of classifiers, with the smallest images that it takes.
TORCHVISION = {
    "alexnet": 64, "convnext_tiny": 32, "densenet121": 32, "efficientnet_b0": 32, "googlenet": 32, "inception_v3": 96,
    "maxvit_t": 224, "mnasnet0_5": 32, "mobilenet_v2": 32, "mobilenet_v3_small": 32, "regnet_y_400mf": 32,
    "resnet18": 32, "shufflenet_v2_x0_5": 32, "squeezenet1_1": 32, "swin_t": 32, "vgg11": 32, "vit_b_32": 32,
}  # fmt: skip
# Families whose heads differ: pooled and normed before, two heads, a convolution, tokens, a hidden layer before.
TIMM = {
    "convnext_atto": 32, "deit_tiny_distilled_patch16_224": 32, "efficientvit_b0": 32, "levit_128s": 32,
    "mixer_s32_224": 32, "mobilenetv3_small_050": 32, "mobilevit_xxs": 64, "regnetx_002": 32, "resnet10t": 32,
    "vit_tiny_patch16_224": 32, "xcit_nano_12_p16_224": 32,
}  # fmt: skip
# Networks that are built for images of one size.
SIZED = {
    "vit_b_32": "image_size", "deit_tiny_distilled_patch16_224": "img_size", "levit_128s": "img_size",
    "mixer_s32_224": "img_size", "vit_tiny_patch16_224": "img_size",
}  # fmt: skip


class QuickWeights(torch.overrides.TorchFunctionMode):
    """Draws weights by repeating random numbers: drawing the weights of large networks takes seconds."""

    def __init__(self) -> None:
        super().__init__()
        # Their number is a prime, so that rows of weights differ. They are there twice, to be read from anywhere.
        self._count = 1_048_573
        self._numbers = torch.randn(self._count, generator=torch.Generator().manual_seed(0)).repeat(2)
        self._start = 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # The inverse of the error function turns uniform numbers into normal ones, which these are.
        replaced = {
            torch.Tensor.normal_: self._normal,
            torch.Tensor.uniform_: self._uniform,
            torch.Tensor.erfinv_: lambda tensor: tensor,
        }
        return replaced.get(function, function)(*args, **(kwargs or {}))

    def _uniform(self, tensor: torch.Tensor, low: float = 0.0, high: float = 1.0, **_: object) -> torch.Tensor:
        """Fill a tensor with numbers of the same mean and deviation."""
        return self._normal(tensor, (low + high) / 2, (high - low) / 12**0.5)

    def _normal(self, tensor: torch.Tensor, mean: float = 0.0, std: float = 1.0, **_: object) -> torch.Tensor:
        with torch.no_grad():
            for part in torch.split(tensor.view(-1), self._count):
                part.copy_(self._numbers[self._start : self._start + part.numel()] * std + mean)
                # Equal heads could not be distinguished: each tensor has numbers of its own.
                self._start = (self._start + part.numel() + 1) % self._count
        return tensor


def test_all_families_of_torchvision_are_tried() -> None:
    families = {
        torchvision.models.get_model_builder(name).__module__
        for name in torchvision.models.list_models(module=torchvision.models)
    }
    assert families == {torchvision.models.get_model_builder(name).__module__ for name in TORCHVISION}


@pytest.mark.parametrize(
    ("library", "name", "side"),
    [
        *(("torchvision", name, side) for name, side in TORCHVISION.items()),
        *(("timm", name, side) for name, side in TIMM.items()),
    ],
)
def test_heads_are_replaced(library: str, name: str, side: int) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {SIZED[name]: side} if name in SIZED else {}
    with QuickWeights():
        if library == "timm":
            import timm

            module = timm.create_model(name, num_classes=7, **options)
        else:
            # Drawing weights takes these two families the longest.
            quick = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
            module = torchvision.models.get_model(name, weights=None, num_classes=7, **options, **quick)
    model = Model(module.eval(), Preprocess(size=side), name=name)
    images = torch.rand(2, 3, side, side)
    head = find_head(model, images)
    changed = copy.deepcopy(model.module)
    new = replace_head(model, changed, head, 3)
    with torch.no_grad():
        require_logits(model, changed, images, 3)
        before = changed(images)
        for weight in new.parameters():
            weight.zero_()
        # All that is new decides: with no weights left, the logits are the same of every class.
        assert before.std() > 0
        assert torch.equal(changed(images), torch.zeros(2, 3))
    kept = sum(weight.numel() for weight in changed.parameters()) - sum(weight.numel() for weight in new.parameters())
    assert 0.2 < kept / sum(weight.numel() for weight in module.parameters()) < 1, "only the head is new"
