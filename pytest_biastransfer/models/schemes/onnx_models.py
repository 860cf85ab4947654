"""``onnx:FILE``: an ONNX graph, run by onnxruntime."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from pytest_biastransfer.errors import ModelError, nearest
from pytest_biastransfer.models.file_program import FileProgram
from pytest_biastransfer.models.image_layout import Layout, channels_first, declared_layout, in_layout, layout_of
from pytest_biastransfer.models.model import Model
from pytest_biastransfer.models.onnx_sessions import CPU_PROVIDER, RUNTIMES, declared_providers, errors, open_session
from pytest_biastransfer.models.safe_loading.weights_file import weights_file, weights_files
from pytest_biastransfer.models.scheme import Architectures, Scheme, Sources
from pytest_biastransfer.models.spec_options import SHARED_KEYS
from pytest_biastransfer.optional_dependencies import need
from pytest_biastransfer.specs.spec import Spec

_TYPES: Final = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}


class _Graph(FileProgram):
    """An ONNX graph with one input, the images."""

    runtimes = RUNTIMES

    def __init__(
        self, files: Sequence[Path], output: str | None, layout: Layout | None, providers: Sequence[str] | None
    ) -> None:
        self._path, self._providers = files[0], providers
        # The graph's inputs and outputs are the same with all providers, and the CPU's is always there.
        self._session = open_session(self._path, torch.device("cpu"))
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type not in _TYPES or len(inputs[0].shape) != 4:
            signature = ", ".join(f"{port.name} {port.type} {port.shape}" for port in inputs)
            raise ModelError(
                f"onnx {self._path}: takes {signature}; expected one input, of floats [batch, channels, height, "
                f"width] or [batch, height, width, channels]"
            )
        shape = [side if isinstance(side, int) and side > 0 else None for side in inputs[0].shape]
        self._layout = layout_of(shape, layout, f"onnx {self._path}")
        self._may_be_nhwc = layout is None and shape[1] is shape[3] is None
        logits = _output(self._path, self._session.get_outputs(), output)
        super().__init__(files, channels_first(shape, self._layout), logits)
        self._input, self._type = inputs[0].name, _TYPES[inputs[0].type]
        self.computes_in_16_bits = self._type is np.float16
        cpu = torch.device("cpu"), torch.get_num_threads()
        is_on_cpu = providers is None or tuple(providers) == (CPU_PROVIDER,)
        self._session_for: tuple[torch.device, int] | None = cpu if is_on_cpu else None

    def __fingerprint__(self) -> object:
        # Providers round differently.
        return super().__fingerprint__(), self._layout, self._providers

    def program_for(self, device: torch.device) -> Callable[[torch.Tensor], Any]:
        # A worker gets its number of threads after its models are loaded, so the session may be outdated.
        current = (device, torch.get_num_threads())
        if self._session_for != current:
            self._session, self._session_for = open_session(self._path, device, self._providers), current
            self.require_same_files()
        return self._run

    def _run(self, images: torch.Tensor) -> torch.Tensor:
        feed = {self._input: in_layout(images.cpu(), self._layout).numpy().astype(self._type, copy=False)}
        try:
            (logits,) = self._session.run([self._output], feed)
        except errors() as error:
            advice = "; if the graph takes the channels last, add &layout=nhwc to its spec" if self._may_be_nhwc else ""
            raise RuntimeError(f"{error}{advice}") from error
        return torch.from_numpy(np.asarray(logits, dtype=np.float32)).to(images.device)


def _load(spec: Spec, architectures: Architectures) -> Model:
    files = _files(spec)
    graph = _Graph(files, spec.query.get("output"), declared_layout(spec), declared_providers(spec))
    return Model(graph, name=spec.path().stem)


def _sources_of(spec: Spec, architectures: Architectures) -> Sources:
    return Sources(tuple(_files(spec)), ("onnxruntime",))


def _files(spec: Spec) -> Sequence[Path]:
    """Return the file, and the external files of its weights."""
    spec.check_keys((*SHARED_KEYS, "layout", "providers"))
    for module in ("onnxruntime", "onnx"):
        need(module, "onnx", f"spec {spec.text!r}")
    path = spec.path()
    if path.is_file() and "," in spec.query.get("sha256", ""):
        # The first file is checked before it is parsed for the names of the others.
        weights_file(dataclasses.replace(spec, query={"sha256": spec.query["sha256"].partition(",")[0]}))
        return weights_files(spec, [path, *_data_files(path)])
    return weights_files(spec, [weights_file(spec), *_data_files(path)])


def _data_files(path: Path) -> list[Path]:
    """Return the external files of an ONNX file's weights; raise for one outside its directory."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise ModelError(f"onnx {path}: not an ONNX file, or damaged ({error})") from error
    tensors = itertools.chain.from_iterable(map(_tensors, (model.graph, *model.functions)))
    locations = {entry.value for tensor in tensors for entry in tensor.external_data if entry.key == "location"}
    for location in locations:
        if not _stays_beside(path, location):
            raise ModelError(
                f"onnx {path}: has weights in {location!r}, outside of its directory; nothing was read there"
            )
    return sorted(path.parent / location for location in locations)


def _stays_beside(path: Path, location: str) -> bool:
    """Whether a file that a graph names is in the graph's directory; both may be links, as in the hub's cache."""
    if Path(location).is_absolute() or os.path.normpath(location).startswith(".."):
        return False
    real = (path.parent / location).resolve()
    return any(real.is_relative_to(directory) for directory in (path.parent.resolve(), path.resolve().parent))


def _tensors(graph: Any) -> Iterator[Any]:
    """Yield all constants of a graph or function, including those of nested graphs."""
    yield from getattr(graph, "initializer", ())
    yield from _dense_tensors(getattr(graph, "sparse_initializer", ()))
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        yield from _dense_tensors((attribute.sparse_tensor, *attribute.sparse_tensors))
        for inner in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
            yield from _tensors(inner)


def _dense_tensors(sparse: Iterable[Any]) -> Iterator[Any]:
    for tensor in sparse:
        yield from (tensor.values, tensor.indices)


def _output(path: Path, ports: Sequence[Any], requested: str | None) -> str:
    """Return the name of the logits' output: the requested one, else ``logits``, else the only one."""
    names = [port.name for port in ports]
    if requested is not None:
        numbers = {str(number): name for number, name in enumerate(names)}
        if requested not in names and requested not in numbers:
            raise ModelError(
                f"onnx {path}: its program returns {_listed(ports)}, without an entry {requested!r}; "
                f"{nearest(requested, names)}"
            )
        return requested if requested in names else numbers[requested]
    if "logits" not in names and len(names) > 1:
        choices = " or ".join(f"output={port.name}" for port in ports if len(port.shape) == 2)
        advice = f"name the one that is the logits: {choices}" if choices else "expected logits [batch, classes]"
        raise ModelError(f"onnx {path}: its program returns {_listed(ports)}; {advice}")
    return "logits" if "logits" in names else names[0]


def _listed(ports: Sequence[Any]) -> str:
    return ", ".join(f"{port.name} [{', '.join(map(str, port.shape))}]" for port in ports)


SCHEME: Final = Scheme(_load, _sources_of)
