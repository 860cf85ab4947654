"""Graphs as the converters of TensorFlow and JAX write them have the outputs that numpy computes of their weights."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from pytest_biastransfer import load_model, measure
from pytest_biastransfer.interventions import Square

PAGE = (Path(__file__).parents[2] / "docs" / "models-and-data.md").read_text()
FILTERS, CLASSES = 4, 5
Array = np.ndarray[Any, np.dtype[np.float32]]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def weights() -> dict[str, Array]:
    """Return a convolution of 3x3 and a linear layer, as ONNX has them: filters first, and inputs first."""
    random = np.random.default_rng(5)
    shapes = {"kernel": (FILTERS, 3, 3, 3), "shift": (FILTERS,), "matrix": (FILTERS, CLASSES), "bias": (CLASSES,)}
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def logits_by_numpy(images: torch.Tensor, stride: int) -> Array:
    """Return what both graphs compute, of images [batch, 3, height, width] of an even size.

    The convolution pads by a row and a column at the end, as TensorFlow does for a stride of 2.
    """
    values = weights()
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (0, 1), (0, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))[:, :, ::stride, ::stride]
    features = np.einsum("nchwij,fcij->nfhw", windows, values["kernel"]) + values["shift"][:, None, None]
    logits: Array = np.maximum(features, 0).mean((2, 3)) @ values["matrix"] + values["bias"]
    return logits


def softmax(logits: Array) -> Array:
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    probabilities: Array = exponentials / exponentials.sum(1, keepdims=True)
    return probabilities


def save(nodes: list[Any], ports: list[Any], initializers: list[Any], opset: int, path: str) -> None:
    graph = helper.make_graph(nodes, "graph", ports[:1], ports[1:], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def save_as_tf2onnx(path: str, side: int = 224) -> None:
    """Write the graph of a Keras model with ``--saved-model``: its channels are last, its output is a softmax."""
    names = {
        "kernel": "StatefulPartitionedCall/pets/conv2d/Conv2D/ReadVariableOp:0",
        "shift": "StatefulPartitionedCall/pets/conv2d/BiasAdd/ReadVariableOp:0",
        "matrix": "StatefulPartitionedCall/pets/dense/MatMul/ReadVariableOp:0",
        "bias": "StatefulPartitionedCall/pets/dense/BiasAdd/ReadVariableOp:0",
    }
    node = helper.make_node
    nodes = [
        node("Transpose", ["input_1"], ["Conv2D__6:0"], perm=[0, 3, 1, 2]),
        node(
            "Conv", ["Conv2D__6:0", names["kernel"], names["shift"]], ["BiasAdd:0"], strides=[2, 2], pads=[0, 0, 1, 1]
        ),
        node("Relu", ["BiasAdd:0"], ["Relu:0"]),
        node("GlobalAveragePool", ["Relu:0"], ["Mean:0"]),
        node("Squeeze", ["Mean:0", "axes"], ["Mean_Squeeze:0"]),
        node("MatMul", ["Mean_Squeeze:0", names["matrix"]], ["MatMul:0"]),
        node("Add", ["MatMul:0", names["bias"]], ["BiasAdd_1:0"]),
        node("Softmax", ["BiasAdd_1:0"], ["Identity"]),
    ]
    ports = [
        helper.make_tensor_value_info("input_1", TensorProto.FLOAT, ["unk__12", side, side, 3]),
        helper.make_tensor_value_info("Identity", TensorProto.FLOAT, ["unk__13", CLASSES]),
    ]
    initializers = [numpy_helper.from_array(value, names[name]) for name, value in weights().items()]
    axes = numpy_helper.from_array(np.array([2, 3]), "axes")
    save(nodes, ports, [*initializers, axes], 15, path)


def save_as_jax2onnx(path: str, side: int = 224) -> None:
    """Write the graph of a Flax model: each convolution is between two transpositions, its output is of logits."""
    node = helper.make_node
    nodes = [
        node("Transpose", ["in_0"], ["to_nchw"], perm=[0, 3, 1, 2]),
        node("Conv", ["to_nchw", "kernel", "shift"], ["conv"], strides=[1, 1], pads=[0, 0, 1, 1]),
        node("Transpose", ["conv"], ["to_nhwc"], perm=[0, 2, 3, 1]),
        node("Relu", ["to_nhwc"], ["relu"]),
        node("ReduceMean", ["relu", "axes"], ["mean"], keepdims=0),
        node("Gemm", ["mean", "matrix", "bias"], ["out_0"]),
    ]
    ports = [
        helper.make_tensor_value_info("in_0", TensorProto.FLOAT, ["B", side, side, 3]),
        helper.make_tensor_value_info("out_0", TensorProto.FLOAT, ["B", CLASSES]),
    ]
    kernel = {name: numpy_helper.from_array(value, name) for name, value in weights().items()}
    axes = numpy_helper.from_array(np.array([1, 2]), "axes")
    save(nodes, ports, [*kernel.values(), axes], 18, path)


def images(count: int, side: int) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(count))


CONVERTERS: dict[str, tuple[Callable[[str], None], Callable[[torch.Tensor], Array]]] = {
    "pets-keras.onnx": (save_as_tf2onnx, lambda pixels: softmax(logits_by_numpy(pixels, 2))),
    "pets-jax.onnx": (save_as_jax2onnx, lambda pixels: logits_by_numpy(pixels, 1)),
}


@pytest.mark.parametrize("file", list(CONVERTERS))
def test_the_line_of_the_documentation_gives_the_outputs_of_numpy(file: str) -> None:
    write, expected = CONVERTERS[file]
    write(file)
    spec = re.findall(rf"^\| `(onnx:{file}[^`]*)` \|", PAGE, re.MULTILINE)[0]
    model = load_model(spec)
    assert (model.preprocess.crop, model.preprocess.mean, model.preprocess.std) == (224, (0.5,), (0.5,))
    pixels = (images(2, 224) - 0.5) / 0.5
    assert np.abs(model.module(pixels).numpy() - expected(pixels)).max() <= 1e-5


def test_a_classifier_with_a_softmax_and_the_channels_last_is_measured() -> None:
    save_as_tf2onnx("keras.onnx", side=8)
    clean = images(32, 8)
    before = logits_by_numpy((clean - 0.5) / 0.5, 2).argmax(1)
    items = [(image, int(label)) for image, label in zip(clean, before, strict=True)]
    changed = clean.clone()
    changed[..., :4, :4] = torch.tensor([1.0, 1.0, 0.0]).reshape(3, 1, 1)
    after = logits_by_numpy((changed - 0.5) / 0.5, 2).argmax(1)
    measured = measure("onnx:keras.onnx?mean=0.5&std=0.5", items, Square(size=0.5, color="yellow", anchor="top-left"))
    assert measured.asr == (before != after).mean() > 0


def test_a_model_of_values_up_to_255_is_declared_by_its_std() -> None:
    """As the page says of models that scale the images themselves."""
    assert "`mean=0&std=0.00392156862745098`" in PAGE
    save_as_jax2onnx("net.onnx", side=8)
    preprocess = load_model("onnx:net.onnx?mean=0&std=0.00392156862745098").preprocess
    white = preprocess.normalize(torch.ones(1, 3, 2, 2))
    assert (white - 255).abs().max() <= 1e-3
