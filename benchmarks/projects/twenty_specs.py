"""A thousand bias tests on twenty models, named by specs of all schemes; they are only collected."""

from __future__ import annotations

from collections.abc import Callable

import pytest

_SPECS = (
    "torchvision:resnet18?weights=IMAGENET1K_V1",
    "checkpoint:pets.pt?arch=torchvision:resnet18&num_classes=37",
    "torchscript:pets.pt",
    "export:pets.pt2",
    "timm:resnet18?checkpoint=pets.pth",
    "hf:someone/pets",
    "onnx:pets.onnx",
    "python:pets:make",
    "checkpoint:pets.safetensors?arch=timm:resnet18&num_classes=37",
    "checkpoint:pets.ckpt?arch=python:pets:make",
)


def _fixture(spec: str) -> Callable[[], str]:
    @pytest.fixture(scope="session")
    def model() -> str:
        return spec

    return model


for _number in range(20):
    globals()[f"model_{_number}"] = _fixture(_SPECS[_number % len(_SPECS)])


def _test(model: str) -> Callable[[int], None]:
    @pytest.mark.parametrize("_time", range(25))
    @pytest.mark.bias_intervention("yellow-square", "grayscale", model=model, max_asr=0.05)
    def test_nothing_inherited(_time: int) -> None:
        pass

    return test_nothing_inherited


for _number in range(20):
    globals()[f"test_{_number}"] = _test(f"model_{_number}")
