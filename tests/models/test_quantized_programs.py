"""Quantized programs have the logits of the library that quantized them."""

from __future__ import annotations

import contextlib
import copy
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pytest_biastransfer import load_model, measure
from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.interventions import Square

pytestmark = [pytest.mark.usefixtures("warm_executable"), pytest.mark.filterwarnings("ignore")]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide the libraries' warnings of what their next releases remove."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def images(count: int = 6) -> torch.Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(count))


def convolutional() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 5)).eval()


@quiet()
def save_exported(net: nn.Module, path: str = "net.pt2") -> None:
    shapes = ({0: torch.export.Dim("batch", min=1, max=512)},)
    torch.export.save(torch.export.export(net, (images(4),), dynamic_shapes=shapes), path)


def quantized_by_torchao(net: nn.Module, *, dynamic: bool = False) -> nn.Module:
    """Return the module that the PT2E quantization of torchao makes, with int8 weights."""
    steps = pytest.importorskip("torchao.quantization.pt2e.quantize_pt2e")
    x86 = pytest.importorskip("torchao.quantization.pt2e.quantizer.x86_inductor_quantizer")
    shapes = ({0: torch.export.Dim("batch", min=1, max=512)},)
    program: Any = torch.export.export(net, (images(4),), dynamic_shapes=shapes).module()
    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(x86.get_default_x86_inductor_quantization_config(is_dynamic=dynamic))
    prepared = steps.prepare_pt2e(program, quantizer)
    prepared(images(64))
    converted: nn.Module = steps.convert_pt2e(prepared)
    return converted


@quiet()
def quantized_by_torch(net: nn.Module) -> nn.Module:
    """Return the module that torch.ao makes, with the operators that can be exported."""
    quantization: Any = torch.ao.quantization
    fx: Any = pytest.importorskip("torch.ao.quantization.quantize_fx")
    prepared = fx.prepare_fx(net, quantization.get_default_qconfig_mapping("x86"), (images(4),))
    prepared(images(64))
    converted: nn.Module = fx._convert_to_reference_decomposed_fx(prepared)
    return converted


@pytest.mark.parametrize("quantized", [quantized_by_torchao, quantized_by_torch])
@pytest.mark.parametrize("trust", ["", "?trust=1"])
def test_an_exported_int8_program_has_the_logits_of_its_module(
    quantized: Callable[[nn.Module], nn.Module], trust: str
) -> None:
    net = convolutional()
    module = quantized(copy.deepcopy(net))
    save_exported(module)
    loaded = load_model(f"export:net.pt2{trust}")
    for count in (1, 6):
        logits = loaded.module(images(count))
        assert (logits - module(images(count))).abs().max() <= 1e-5
        assert 1e-5 < (logits - net(images(count))).abs().max() < 0.1, "it computes with 8 bits, as well as that goes"


def test_a_process_that_has_not_imported_the_operators_loads_them() -> None:
    save_exported(quantized_by_torch(convolutional()))
    code = (
        "import torch; from pytest_biastransfer import load_model\n"
        "print(load_model('export:net.pt2?trust=1').module(torch.zeros(2, 3, 8, 8)).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "[2, 5]" in done.stdout


def test_a_program_whose_scales_depend_on_the_batch_gets_one_image_at_a_time() -> None:
    """As torch.ao's dynamic quantization; otherwise an image's logits would depend on the others of its batch."""
    module = quantized_by_torchao(nn.Sequential(nn.Flatten(), nn.Linear(192, 5)).eval(), dynamic=True)
    save_exported(module)
    items = [(image, 0) for image in images(24)]
    changed = images(24)
    changed[..., :4, :4] = torch.tensor([1.0, 1.0, 0.0]).reshape(3, 1, 1)
    flips = [
        int(module(before[None]).argmax() != module(after[None]).argmax())
        for before, after in zip(images(24), changed, strict=True)
    ]
    assert 0 < sum(flips) < 24
    intervention = Square(size=0.5, color="yellow", anchor="top-left")
    assert measure("export:net.pt2", items, intervention).asr == sum(flips) / 24


def test_torchaos_own_tensors_and_operators_say_what_to_do() -> None:
    torchao: Any = pytest.importorskip("torchao.quantization")

    class Own(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            scale, zero = torch.ones(1), torch.zeros(1, dtype=torch.int32)
            whole: torch.Tensor = torch.ops.torchao.quantize_affine(images, images.shape, scale, zero, torch.int8)
            return whole.float().mean((2, 3))

    torch.export.save(torch.export.export(Own(), (images(4),)), "operator.pt2")
    net = convolutional()
    torchao.quantize_(net, torchao.Int8WeightOnlyConfig())
    torch.export.save(torch.export.export(net, (images(4),)), "tensor.pt2")
    advice = r"return the quantized module itself from a fixture, or quantize it with prepare_pt2e"
    with pytest.raises(ModelError, match=rf"calls 'torch\.ops\.torchao\.quantize_affine.*{advice}"):
        load_model("export:operator.pt2")
    with pytest.raises(ModelError, match=rf"holds tensors of torchao \(\w+Tensor\): {advice}"):
        load_model("export:tensor.pt2")
    code = "from pytest_biastransfer import load_model; load_model('export:tensor.pt2')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert re.search(rf"holds tensors of torchao \(it calls torchao\.[\w.]+\): {advice}", done.stderr)


class Calibration:
    """Batches of images, as onnxruntime's quantization reads them."""

    def __init__(self) -> None:
        self._batches: Iterator[torch.Tensor] = iter(torch.split(images(64), 8))

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"images": batch.numpy()}


@quiet()
def save_quantized_onnx(net: nn.Module, path: str, *, fixed: bool = False) -> None:
    """Write a graph in int8, with the format QDQ and a scale for each channel."""
    quantization: Any = pytest.importorskip("onnxruntime.quantization")
    axes: dict[str, Any] = {} if fixed else {"dynamic_axes": {"images": [0]}}
    torch.onnx.export(net, (images(8),), "float.onnx", input_names=["images"], dynamo=False, **axes)
    quantization.quantize_static(
        "float.onnx", path, Calibration(), quant_format=quantization.QuantFormat.QDQ, per_channel=True
    )


@pytest.mark.parametrize("fixed", [False, True])
def test_an_onnx_graph_in_int8_has_the_logits_of_onnxruntime(fixed: bool) -> None:
    import onnx
    import onnxruntime

    net = convolutional()
    save_quantized_onnx(net, "int8.onnx", fixed=fixed)
    kinds = {node.op_type for node in onnx.load("int8.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    session = onnxruntime.InferenceSession("int8.onnx", providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, {"images": images(8).numpy()})
    logits = load_model("onnx:int8.onnx").module(images(8)).numpy()
    assert np.abs(logits - wanted).max() <= 1e-5
    assert 1e-5 < np.abs(logits - net(images(8)).detach().numpy()).max() < 0.1
    single = load_model("onnx:int8.onnx").module(images(8)[:1]).numpy()
    assert np.abs(single - wanted[:1]).max() <= 1e-5
