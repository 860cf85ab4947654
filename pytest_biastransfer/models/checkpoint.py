"""``checkpoint:FILE?arch=...``: weights from state dicts and safetensors, never by unpickling."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_biastransfer.errors import ModelError

if TYPE_CHECKING:
    import torch

_COUNTER = "num_batches_tracked"


def load_state(module: torch.nn.Module, path: Path) -> None:
    """Copy the weights in `path` into `module`; raise unless keys and shapes fit exactly."""
    state = _read(path)
    # Old checkpoints lack the counters of BatchNorm, which only training needs; torch accepts that too.
    expected = {key: value for key, value in module.state_dict().items() if not key.endswith(_COUNTER) or key in state}
    problems = [
        _listed("missing", [f"{key} {_shape(expected[key])}" for key in expected if key not in state]),
        _listed("unexpected", [f"{key} {_shape(state[key])}" for key in state if key not in expected]),
        _listed(
            "of another shape",
            [
                f"{key}: {_shape(state[key])} in the file, {_shape(expected[key])} in the model"
                for key in expected
                if key in state and state[key].shape != expected[key].shape
            ],
        ),
    ]
    found = [problem for problem in problems if problem]
    if found:
        raise ModelError(
            f"checkpoint {path} does not fit {type(module).__name__}; check arch= and num_classes=.\n"
            + "\n".join(found)
        )
    module.load_state_dict(state, strict=False)


def _read(path: Path) -> Mapping[str, torch.Tensor]:
    import torch

    if not path.is_file():
        raise ModelError(f"checkpoint {path}: no such file")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"checkpoint {path}: not a plain state dict ({reason}); nothing in it was run. "
            f"Save it with torch.save(model.state_dict(), ...) or as safetensors"
        ) from error
    if isinstance(content, Mapping) and "state_dict" in content:
        content = content["state_dict"]
    tensors = isinstance(content, Mapping) and all(isinstance(value, torch.Tensor) for value in content.values())
    if not tensors or not content:
        raise ModelError(
            f"checkpoint {path}: holds a {type(content).__name__}, expected a state dict (names to tensors). "
            f"Save it with torch.save(model.state_dict(), ...)"
        )
    found: Mapping[str, torch.Tensor] = content
    return found


def _read_safetensors(path: Path) -> Mapping[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found: Mapping[str, torch.Tensor] = load_file(path)
    except SafetensorError as error:
        raise ModelError(f"checkpoint {path}: not a safetensors file ({error})") from error
    return found


def _shape(tensor: torch.Tensor) -> list[int]:
    return list(tensor.shape)


def _listed(what: str, lines: Iterable[str], shown: int = 5) -> str:
    """Return the first lines under a counted heading, or nothing."""
    every = list(lines)
    if not every:
        return ""
    more = [f"  and {len(every) - shown} more"] if len(every) > shown else []
    return "\n".join([f"{len(every)} {what}:", *(f"  {line}" for line in every[:shown]), *more])
