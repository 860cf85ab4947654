"""ONNX graphs as several libraries write them have the logits that numpy computes of their weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from pytest_biastransfer import load_model, measure
from pytest_biastransfer.errors import ModelError, SpecError
from pytest_biastransfer.interventions import Square

Shape = Sequence[int | str | None]

SCALES = np.array([[1.0, -2.0, 0.5], [0.25, 3.0, -1.0], [0.0, 1.0, 1.0]], np.float32)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def pictures(count: int = 5, height: int = 8, width: int = 6) -> torch.Tensor:
    """Return images [count, 3, height, width], no two channels or sides of which are alike."""
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(count))


def save(nodes: Sequence[Any], shape: Shape, output: str, path: str, **weights: np.ndarray[Any, Any]) -> None:
    """Write a graph whose input is ``images``."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [shape[0], 3])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def save_means(shape: Shape, *, axes: tuple[int, int], path: str = "net.onnx") -> None:
    """Write a graph of the means over two axes, times a matrix."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["means"], axes=axes, keepdims=0),
        helper.make_node("MatMul", ["means", "scales"], ["logits"]),
    ]
    save(nodes, shape, "logits", path, scales=SCALES)


def wanted(images: torch.Tensor) -> Any:
    return images.numpy().mean((2, 3)) @ SCALES


def difference(spec: str, images: torch.Tensor) -> float:
    return float(np.abs(load_model(spec).module(images).numpy() - wanted(images)).max())


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        (["N", 8, 6, 3], (1, 2)),
        ([None, None, None, 3], (1, 2)),
        ([2, 8, 6, 3], (1, 2)),
        (["N", 3, 8, 6], (2, 3)),
        (["N", 3, None, None], (2, 3)),
        (["a", "b", "c", "d"], (2, 3)),
    ],
)
def test_the_layout_is_read_from_the_graph(shape: Shape, axes: tuple[int, int]) -> None:
    save_means(shape, axes=axes)
    for count in (1, 2, 5):
        assert difference("onnx:net.onnx", pictures(count)) <= 1e-5


def test_a_layout_that_the_graph_leaves_open_is_declared() -> None:
    for shape, height, width in ((["a", "b", "c", "d"], 8, 6), ([None, 3, 3, 3], 3, 3), ([2, 3, 3, 3], 3, 3)):
        save_means(shape, axes=(1, 2))
        images = pictures(5, height, width)
        assert difference("onnx:net.onnx?layout=nhwc", images) <= 1e-5
        if width == 3:
            assert difference("onnx:net.onnx", images) > 0.01, "torch's layout is the default"
            assert load_model("onnx:net.onnx?layout=nchw").fingerprint == load_model("onnx:net.onnx").fingerprint
            assert load_model("onnx:net.onnx?layout=nhwc").fingerprint != load_model("onnx:net.onnx").fingerprint


def test_images_in_another_order_than_an_open_graph_has_say_what_to_type() -> None:
    save_means([None, None, None, None], axes=(1, 2))
    with pytest.raises(RuntimeError, match="takes the channels last, add &layout=nhwc to its spec"):
        load_model("onnx:net.onnx").module(pictures())


def test_a_layout_that_the_graph_contradicts_is_an_error() -> None:
    save_means(["N", 8, 6, 3], axes=(1, 2))
    with pytest.raises(
        ModelError,
        match=r"layout=nchw, which is the channels first, .*\[any, 8, 6, 3\] has the channels last, .*remove",
    ):
        load_model("onnx:net.onnx?layout=nchw")
    save_means(["N", 3, 8, 6], axes=(2, 3))
    with pytest.raises(ModelError, match=r"layout=nhwc, which is the channels last, .* has the channels first, "):
        load_model("onnx:net.onnx?layout=nhwc")
    with pytest.raises(SpecError, match="layout='nwhc'; did you mean nhwc"):
        load_model("onnx:net.onnx?layout=nwhc")


def test_another_size_is_named_with_the_channels_first() -> None:
    save_means(["N", 8, 8, 3], axes=(1, 2))
    with pytest.raises(ModelError, match=r"takes images \[3, 8, 8\] .*, got \[3, 8, 6\]; add &size=8 to its spec"):
        load_model("onnx:net.onnx").module(pictures())


def test_a_graph_with_the_channels_last_and_a_fixed_batch_is_measured() -> None:
    """The batches of an evaluation have other sizes than the graph's."""
    images = [(image / 4, 0) for image in pictures(37, 8, 8)]
    save_means([4, 8, 8, 3], axes=(1, 2))
    fixed = measure("onnx:net.onnx", images, Square(size=0.5), batch_size=7)
    save_means([None, 3, 8, 8], axes=(2, 3), path="first.onnx")
    assert 0 < fixed.asr == measure("onnx:first.onnx", images, Square(size=0.5)).asr
    assert fixed.n == 37


# ------------------------------------------------------------------------------------------- providers


def test_providers_keep_their_order_and_are_part_of_the_identity() -> None:
    import onnxruntime

    save_means(["N", 3, 8, 6], axes=(2, 3))
    # On some systems onnxruntime has only the CPU's.
    available = onnxruntime.get_available_providers()
    for providers in (["CPUExecutionProvider"], [name for name in available if name.startswith(("Azure", "CPU"))]):
        loaded = load_model(f"onnx:net.onnx?providers={','.join(providers)}")
        assert np.abs(loaded.module(pictures()).numpy() - wanted(pictures())).max() <= 1e-5
        assert loaded.module._session.get_providers() == providers  # type: ignore[operator, union-attr]
        assert loaded.fingerprint != load_model("onnx:net.onnx").fingerprint


@pytest.mark.parametrize(
    ("providers", "message"),
    [
        (
            "TensorrtExecutionProvider,CPUExecutionProvider",
            r"has .*CPUExecutionProvider; .* pip install onnxruntime-gpu",
        ),
        ("CUDAExecutionProvider", "pip uninstall onnxruntime, then pip install onnxruntime-gpu"),
        ("OpenVINOExecutionProvider", "then pip install onnxruntime-openvino"),
        ("CPUExecutionProvidr", "no execution provider of this onnxruntime; did you mean CPUExecutionProvider"),
        ("CPUExecutionProvider,", "no execution provider of this onnxruntime"),
        ("CPUExecutionProvider,CPUExecutionProvider", "names one twice"),
    ],
)
def test_providers_that_are_not_there_say_what_to_install(
    providers: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "onnxruntime.get_available_providers", lambda: ["AzureExecutionProvider", "CPUExecutionProvider"]
    )
    save_means(["N", 3, 8, 6], axes=(2, 3))
    with pytest.raises(SpecError, match=message):
        load_model(f"onnx:net.onnx?providers={providers}")


def with_cuda_on_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let onnxruntime have CUDA's provider, which then cannot start."""
    monkeypatch.setattr(
        "onnxruntime.get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )


def test_a_provider_of_the_gpu_needs_the_gpu_as_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    with_cuda_on_paper(monkeypatch)
    save_means(["N", 3, 8, 6], axes=(2, 3))
    spec = "onnx:net.onnx?providers=CUDAExecutionProvider,CPUExecutionProvider"
    with pytest.raises(ModelError, match=r"CUDAExecutionProvider computes on a GPU, .* on cpu; use --bias-device=cuda"):
        load_model(spec).module(pictures())


def test_a_provider_that_does_not_start_is_not_replaced_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime alone would compute on the CPU, and print a warning."""
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("it starts here")
    with_cuda_on_paper(monkeypatch)
    save_means(["N", 3, 8, 6], axes=(2, 3))
    module: Any = load_model("onnx:net.onnx?providers=CUDAExecutionProvider,CPUExecutionProvider").module
    with pytest.warns(UserWarning, match="not in available provider names"), pytest.raises(ModelError) as caught:
        module.program_for(torch.device("cuda:0"))
    assert "could not start CUDAExecutionProvider" in str(caught.value)
    assert "it has started CPUExecutionProvider" in str(caught.value)


def test_the_provider_of_the_cpu_may_be_named_while_other_models_are_on_the_gpu() -> None:
    save_means(["N", 3, 8, 6], axes=(2, 3))
    module: Any = load_model("onnx:net.onnx?providers=CPUExecutionProvider").module
    run = module.program_for(torch.device("cuda:0"))
    assert np.abs(run(pictures()).numpy() - wanted(pictures())).max() <= 1e-5
