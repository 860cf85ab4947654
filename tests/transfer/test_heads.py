"""Heads of torchvision's and timm's families are found and replaced, with weights that nobody had to download."""

from __future__ import annotations

import copy

import pytest
import torch
import torchvision

from pytest_biastransfer import Model, Preprocess
from pytest_biastransfer.transfer.heads import find_head, replace_head, require_logits

# One of each of torchvision's families of classifiers, with the smallest images that it takes.
TORCHVISION = {
    "alexnet": 64, "convnext_tiny": 32, "densenet121": 32, "efficientnet_b0": 32, "googlenet": 32, "inception_v3": 96,
    "maxvit_t": 224, "mnasnet0_5": 32, "mobilenet_v2": 32, "mobilenet_v3_small": 32, "regnet_y_400mf": 32,
    "resnet18": 32, "shufflenet_v2_x0_5": 32, "squeezenet1_1": 32, "swin_t": 32, "vgg11": 32, "vit_b_32": 224,
}  # fmt: skip
# Families whose heads differ: pooled and normed before, two heads, a convolution, tokens, a hidden layer before.
TIMM = {
    "convnext_atto": 32, "deit_tiny_distilled_patch16_224": 224, "efficientvit_b0": 32, "levit_128s": 224,
    "mixer_s32_224": 224, "mobilenetv3_small_050": 32, "mobilevit_xxs": 64, "regnetx_002": 32, "resnet10t": 32,
    "vit_tiny_patch16_224": 224, "xcit_nano_12_p16_224": 224,
}  # fmt: skip


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
    if library == "timm":
        import timm

        module = timm.create_model(name, num_classes=7)
    else:
        # Drawing weights takes these two families the longest.
        quick = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        module = torchvision.models.get_model(name, weights=None, num_classes=7, **quick)
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
