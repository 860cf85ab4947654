"""Transfers torch's numeric settings to another process, so that it computes the same figures."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch


def settings_for(device: torch.device) -> dict[str, Any]:
    """Return the settings of this process for a device, as JSON values."""
    autocast = torch.is_autocast_enabled(device.type)
    return {
        "threads": torch.get_num_threads(),
        "autocast": str(torch.get_autocast_dtype(device.type)).removeprefix("torch.") if autocast else None,
        "inference": torch.is_inference_mode_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "backends": {name: getattr(owner, attribute) for name, (owner, attribute) in _backends().items()},
    }


def apply_settings(settings: dict[str, Any]) -> None:
    """Apply the settings of another process to this one."""
    if settings["threads"] != torch.get_num_threads():
        torch.set_num_threads(settings["threads"])
    if settings["deterministic"] != torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(settings["deterministic"])
    for name, (owner, attribute) in _backends().items():
        if getattr(owner, attribute) != settings["backends"][name]:
            setattr(owner, attribute, settings["backends"][name])


def computing(settings: dict[str, Any], device: torch.device) -> tuple[AbstractContextManager[Any], ...]:
    """Return the contexts of the other process (inference mode, autocast); gradients are always off."""
    kind = settings["autocast"]
    autocast = torch.autocast(device.type, dtype=getattr(torch, kind) if kind else None, enabled=kind is not None)
    return (torch.inference_mode() if settings["inference"] else torch.no_grad()), autocast


def _backends() -> dict[str, tuple[Any, str]]:
    matmul: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    settings: dict[str, tuple[Any, str]] = {name: (cudnn, name) for name in ("enabled", "benchmark", "deterministic")}
    if hasattr(matmul, "fp32_precision"):
        return settings | {
            "products": (matmul, "fp32_precision"),
            "convolutions": (cudnn.conv, "fp32_precision"),
            "recurrences": (cudnn.rnn, "fp32_precision"),
        }
    # torch before 2.9
    return settings | {"products": (matmul, "allow_tf32"), "convolutions": (cudnn, "allow_tf32")}
