"""Images that a model does not take: one error that names the model and says what to declare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from pytest_biastransfer import Square, load_model, measure
from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.models.input_advice import input_advice

IMAGES = [(torch.full((3, 8, 8), number / 8), number % 2) for number in range(4)]


def flat(dtype: torch.dtype) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 2)).to(dtype)


def small_vit() -> nn.Module:
    sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_labels": 2}
    import transformers

    config = transformers.ViTConfig(**sizes, intermediate_size=16, image_size=32, patch_size=8)
    return transformers.ViTForImageClassification(config)


class Picky(nn.Module):
    """Raises an error of its own for what it is fed."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        raise self.error


REFUSING: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "bfloat16": (
        lambda: flat(torch.bfloat16),
        r"weights are torch\.bfloat16, .* torch\.float32: return module\.float\(\)",
    ),
    "float16": (lambda: flat(torch.float16), r"weights are torch\.float16, .*module\.float\(\)"),
    "float64": (lambda: flat(torch.float64), r"weights are torch\.float64, .*module\.float\(\)"),
    "vit": (
        small_vit,
        r"ViTForImageClassification raised ValueError on .*\[4, 3, 8, 8\].*\n.*Preprocess\(size=\.\.\.\)",
    ),
    "colours": (lambda: nn.Sequential(nn.Conv2d(4, 2, 1), nn.Flatten()), r"raised RuntimeError .*4 channels"),
    "type": (lambda: Picky(TypeError("no")), r"model Picky raised TypeError on images of shape \[4, 3, 8, 8\]: no\n"),
    "key": (lambda: Picky(KeyError("pixel_values")), r"model Picky raised KeyError .*pixel_values"),
    "index": (lambda: Picky(IndexError("dim 5")), r"model Picky raised IndexError .*dim 5"),
}


@pytest.mark.parametrize("name", REFUSING)
def test_what_a_module_raises_for_images_comes_with_its_name_and_what_to_declare(name: str) -> None:
    make, message = REFUSING[name]
    with pytest.raises(ModelError, match=message):
        measure(make(), IMAGES, Square())


def test_a_lazy_layer_without_values_is_named() -> None:
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(2))
    with pytest.raises(
        ModelError, match=r"model Sequential: 1\.weight, 1\.bias: no values yet, .*call the module once"
    ):
        measure(lazy, IMAGES, Square())
    lazy(torch.rand(1, 3, 8, 8))
    assert measure(lazy, IMAGES, Square()).n == 4


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore:torch.quantize_per:UserWarning",
    "ignore::pytest_biastransfer.errors.StoreWarning",
)
def test_a_model_quantized_for_the_cpu_is_measured_and_its_change_noticed() -> None:
    def quantized(seed: int) -> Any:
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Flatten(), nn.Linear(192, 2)).eval()
        quantize: Any = torch.ao.quantization.quantize_dynamic
        return quantize(network, {nn.Linear}, dtype=torch.qint8)

    images = [(torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(number)), 0) for number in range(20)]
    stack = torch.stack([image for image, _ in images])
    for seed in (0, 1):
        module = quantized(seed)
        changed = stack.clone()
        changed[..., :4, :4] = torch.tensor([1.0, 1.0, 0.0]).reshape(3, 1, 1)
        expected = int((module(stack).argmax(1) != module(changed).argmax(1)).sum()) / 20
        assert measure(module, images, Square(size=0.5, color="yellow", anchor="top-left")).asr == expected


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:torch.quantize_per:UserWarning")
def test_int8_layers_on_another_device_than_the_cpu_say_where_they_compute() -> None:
    quantize: Any = torch.ao.quantization.quantize_dynamic
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 2)).eval()
    images = torch.rand(2, 3, 8, 8, device="meta")
    module = quantize(network, {nn.Linear}, dtype=torch.qint8)
    assert "compute on the CPU only, not on meta: use --bias-device=cpu" in input_advice(module, images)
    assert "CPU only" not in input_advice(module, images.new_zeros((2, 3, 8, 8), device="cpu"))
    assert "CPU only" not in input_advice(network, images)


def test_a_program_with_the_channels_last_is_named(tmp_path: Any) -> None:
    class Last(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean((1, 2))

    torch.export.save(torch.export.export(Last(), (torch.rand(4, 8, 8, 3),)), tmp_path / "last.pt2")
    with pytest.raises(
        ModelError, match=r"takes images \[8, 8, 3\].*channels last, .*begins with images\.permute\(0, 2, 3, 1\)"
    ):
        measure(load_model(f"export:{tmp_path / 'last.pt2'}"), IMAGES, Square())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_onnx_graph_of_one_channel_says_which_key(tmp_path: Any) -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 8), nn.Flatten()).eval()
    path = tmp_path / "gray.onnx"
    torch.onnx.export(network, (torch.rand(1, 1, 8, 8),), path, input_names=["images"], dynamo=False)
    with pytest.raises(ModelError, match=r"takes images \[1, 8, 8\] .*, got \[3, 8, 8\]; add &channels=1 to its spec"):
        measure(f"onnx:{path}", IMAGES, Square())
    assert measure(f"onnx:{path}?channels=1", IMAGES, Square()).n == 4
