"""Sessions of onnxruntime, and the execution providers that compute their graphs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import torch

from pytest_biastransfer.errors import ModelError, SpecError, first_line, nearest
from pytest_biastransfer.specs.spec import Spec

CPU_PROVIDER: Final = "CPUExecutionProvider"
_CUDA: Final = "CUDAExecutionProvider"
_TENSORRT: Final = "TensorrtExecutionProvider"
_OF_DEVICE: Final = MappingProxyType({"cpu": CPU_PROVIDER, "cuda": _CUDA})
# No TF32: figures are computed in real float32, as for all other models. TensorRT has no such option.
_OPTIONS: Final = MappingProxyType[str, dict[str, int]]({_CUDA: {"use_tf32": 0}, _TENSORRT: {}})
# Each has the module onnxruntime, so that only one of them can be installed.
_PACKAGES: Final = MappingProxyType(
    {
        _CUDA: "onnxruntime-gpu",
        _TENSORRT: "onnxruntime-gpu",
        "OpenVINOExecutionProvider": "onnxruntime-openvino",
        "DmlExecutionProvider": "onnxruntime-directml",
    }
)
RUNTIMES: Final = ("onnxruntime", *sorted(set(_PACKAGES.values())))


def declared_providers(spec: Spec) -> tuple[str, ...] | None:
    """Return the execution providers under the key ``providers`` of a spec, in their order; None without the key.

    Raises `SpecError` for one that the installed onnxruntime does not have.
    """
    if "providers" not in spec.query:
        return None
    import onnxruntime

    names = tuple(name.strip() for name in spec.query["providers"].split(","))
    available = onnxruntime.get_available_providers()
    for name in names:
        if name in available:
            continue
        problem = f"spec {spec.text!r}: providers={name}: "
        if name not in _PACKAGES:
            raise SpecError(f"{problem}no execution provider of this onnxruntime; {nearest(name, available)}")
        raise SpecError(
            f"{problem}onnxruntime {onnxruntime.__version__} has {', '.join(available)}; type: "
            f"pip uninstall onnxruntime, then pip install {_PACKAGES[name]}"
        )
    if len(set(names)) < len(names):
        raise SpecError(f"spec {spec.text!r}: providers={','.join(names)} names one twice")
    return names


def open_session(path: Path, device: torch.device, providers: Sequence[str] | None = None) -> Any:
    """Return a session that computes a graph with as many threads as torch.

    Parameters
    ----------
    path
        The file of the graph.
    device
        Where the model is evaluated. It decides the provider, unless `providers` do, and the number of the GPU.
    providers
        Names of execution providers. Each operator is computed by the first that has it; onnxruntime itself adds the
        CPU's after the last.

    Raises
    ------
    ModelError
        If the graph cannot be loaded, or a provider cannot be used or does not compute on the device.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Hide onnxruntime's warnings, which are about the speed of the graph.
    options.log_severity_level = 3
    chosen = [_provider_of(path, device)] if providers is None else list(providers)
    _require_device(path, chosen, device)
    with_options = [(name, _options(name, device)) for name in chosen]
    try:
        # Without the fallback, which computes on another provider than the one that was named.
        session = onnxruntime.InferenceSession(path, options, providers=with_options, enable_fallback=0)
    except errors() as error:
        raise ModelError(f"onnx {path}: cannot be loaded ({first_line(error)})") from error
    missing = [name for name in chosen if name not in session.get_providers()]
    if missing:
        raise ModelError(
            f"onnx {path}: onnxruntime {onnxruntime.__version__} could not start {', '.join(missing)}, perhaps for "
            f"lack of its libraries; it has started {', '.join(session.get_providers())}. To see why, type: python -c "
            f'"import onnxruntime; onnxruntime.InferenceSession({str(path)!r}, providers={missing})"'
        )
    return session


def errors() -> tuple[type[Exception], ...]:
    """Return the exception classes of onnxruntime, which have no common base class."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    members = (getattr(state, name) for name in dir(state))
    return tuple(member for member in members if isinstance(member, type) and issubclass(member, Exception))


def _provider_of(path: Path, device: torch.device) -> str:
    import onnxruntime

    provider = _OF_DEVICE.get(device.type)
    if provider is None or provider not in onnxruntime.get_available_providers():
        raise ModelError(
            f"onnx {path}: onnxruntime {onnxruntime.__version__} cannot compute on {device}; install onnxruntime-gpu "
            f"instead of onnxruntime, or use --bias-device=cpu"
        )
    return provider


def _require_device(path: Path, providers: Sequence[str], device: torch.device) -> None:
    """Raise if a provider of a GPU is named while models are evaluated on another device."""
    on_gpu = [name for name in providers if name in _OPTIONS]
    if on_gpu and device.type != "cuda":
        raise ModelError(
            f"onnx {path}: its spec has providers={','.join(providers)}, and {on_gpu[0]} computes on a GPU, but models "
            f"are evaluated on {device}; use --bias-device=cuda, or providers={CPU_PROVIDER}"
        )


def _options(provider: str, device: torch.device) -> dict[str, int]:
    return {"device_id": device.index or 0} | _OPTIONS[provider] if provider in _OPTIONS else {}
