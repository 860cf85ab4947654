"""Puts a PEFT adapter, such as a LoRA, on a base model: from its safetensors and checked options only."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.errors import ModelError, first_of
from pytest_biastransfer.models.safe_loading.adapter_config import CONFIG, read_adapter_config
from pytest_biastransfer.models.safe_loading.state_files import State, read_state
from pytest_biastransfer.optional_dependencies import need

if TYPE_CHECKING:
    import torch

WEIGHTS: Final = "adapter_model.safetensors"
_PICKLE: Final = "adapter_model.bin"
# The name of the base model inside PEFT's, which begins all names in a file.
_PREFIX: Final = "base_model.model."

_ADVICE: Final = (
    "Name the base that the adapter was trained on. Releases 4 and 5 of transformers name some modules differently: "
    "install the one that trained the adapter, or save the merged model with it: "
    "model.merge_and_unload().save_pretrained(DIR)"
)


@dataclass(frozen=True)
class Adapter:
    """An adapter that was read from a directory.

    Attributes
    ----------
    origin
        What names it, the beginning of error messages.
    directory
        Its directory.
    options
        Its type and options, checked by `read_adapter_config`.
    tensors
        Its tensors by their names in the file.
    """

    origin: str
    directory: Path
    options: Mapping[str, Any]
    tensors: State

    @property
    def replaced(self) -> State:
        """The tensors that may replace whole ones of the base, such as a new head, by their names there."""
        return {name.removeprefix(_PREFIX): tensor for name, tensor in self.tensors.items()}


def adapter_weights(directory: Path, origin: str) -> Path:
    """Return the file of an adapter's tensors; raise `ModelError` if there is none, or only a pickle."""
    path = directory / WEIGHTS
    if not path.is_file():
        instead = f"only {_PICKLE}, which is a pickle" if (directory / _PICKLE).is_file() else "none"
        raise ModelError(
            f"{origin}: expected {WEIGHTS} in {directory}, found {instead}; nothing else is loaded, as it could run "
            f"code. Save the adapter again: peft_model.save_pretrained(DIR, safe_serialization=True)"
        )
    if not (directory / CONFIG).is_file():
        raise ModelError(
            f"{origin}: expected {CONFIG} beside {path}, found none; save the adapter with "
            f"peft_model.save_pretrained(DIR)"
        )
    return path


def read_adapter(directory: Path, origin: str) -> Adapter:
    """Return the adapter in a directory; raise `ModelError` if it is missing, damaged, unsafe or not supported."""
    path = adapter_weights(directory, origin)
    options = read_adapter_config(directory / CONFIG, origin)
    # The tensors may be the mapped file itself. A copy does not change when the file is overwritten during the tests.
    tensors = {name: tensor.clone() for name, tensor in read_state(path).items()}
    return Adapter(origin, directory, options, tensors)


def with_classes_of(adapter: Adapter, config: Any, auto: Any) -> tuple[Any, bool]:
    """Return the base's configuration with the number of classes of the adapter's head, and whether it has a head.

    Parameters
    ----------
    adapter
        The adapter.
    config
        The base's configuration.
    auto
        The class ``AutoModelForImageClassification``.
    """
    shapes, others = (_shapes(_with_labels(config, config.num_labels + more), auto, adapter.origin) for more in (0, 1))
    # The head is what depends on the number of classes.
    head = {name for name, shape in shapes.items() if others[name] != shape}
    own = {name: tensor for name, tensor in adapter.replaced.items() if name in head}
    counts = {len(tensor) for tensor in own.values() if tensor.ndim}
    # Heads of several sizes do not fit any number, which is said where they are loaded.
    return _with_labels(config, counts.pop()) if len(counts) == 1 else config, bool(own)


def _with_labels(config: Any, count: int) -> Any:
    if config.num_labels == count:
        return config
    changed = copy.deepcopy(config)
    changed.num_labels = count
    return changed


def _shapes(config: Any, auto: Any, origin: str) -> dict[str, tuple[int, ...]]:
    with need("accelerate", "peft", origin).init_empty_weights():
        module = auto.from_config(copy.deepcopy(config), trust_remote_code=False)
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def with_adapter(module: torch.nn.Module, adapter: Adapter, *, merge: bool) -> torch.nn.Module:
    """Return a base model with an adapter on it; the base is changed.

    Parameters
    ----------
    module
        The base, with 32-bit numbers.
    adapter
        The adapter.
    merge
        Whether the adapter is added to the base's weights, so that an image costs no more than without an adapter.

    Raises
    ------
    ModelError
        If the adapter does not fit the base exactly.
    """
    peft = need("peft", "peft", adapter.origin)
    with warnings.catch_warnings():
        # PEFT warns about what is an error here, and of deprecations inside of itself.
        warnings.simplefilter("ignore")
        # The adapter's own tensors have no values, and need no memory, until those of the file take their place. Only
        # AdaLoRA selects from them before.
        is_empty = adapter.options["peft_type"] != "ADALORA"
        adapted = _injected(peft, module, adapter, is_empty=is_empty)
        _require_fit(adapter, peft.get_peft_model_state_dict(adapted, save_embedding_layers=False))
        tensors = {name: tensor.float() for name, tensor in adapter.tensors.items()}
        peft.set_peft_model_state_dict(adapted, tensors, low_cpu_mem_usage=is_empty)
        _require_values(adapter, adapted)
        result: torch.nn.Module = adapted.merge_and_unload() if merge else adapted.get_base_model()
    # Its options are in the layers, or merged.
    vars(result).pop("peft_config", None)
    return result


def _injected(peft: Any, module: torch.nn.Module, adapter: Adapter, *, is_empty: bool) -> Any:
    """Return PEFT's model of a base, with layers of the adapter that have no weights yet."""
    options = _options(peft, adapter)
    try:
        return peft.get_peft_model(module, options, low_cpu_mem_usage=is_empty)
    except ValueError as error:
        raise ModelError(
            f"{adapter.origin}: {adapter.directory / CONFIG} does not fit {type(module).__name__}: {error} {_ADVICE}"
        ) from error


def _options(peft: Any, adapter: Adapter) -> Any:
    try:
        return peft.get_peft_config({**adapter.options, "inference_mode": True})
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{adapter.origin}: peft {peft.__version__} does not take the options in {adapter.directory / CONFIG} "
            f"({error}); install the release that saved it"
        ) from error


def _require_fit(adapter: Adapter, expected: State) -> None:
    missing = [f"{name} {list(tensor.shape)}" for name, tensor in expected.items() if name not in adapter.tensors]
    unexpected = [f"{name} {list(tensor.shape)}" for name, tensor in adapter.tensors.items() if name not in expected]
    misfits = [
        f"{name} is {list(adapter.tensors[name].shape)}, expected {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in adapter.tensors and adapter.tensors[name].shape != tensor.shape
    ]
    problems = [
        f"{what} {first_of(sorted(names), 3, '; ')}"
        for what, names in (("lacks", missing), ("has unexpected", unexpected), ("does not fit:", misfits))
        if names
    ]
    if problems:
        raise ModelError(
            f"{adapter.origin}: {adapter.directory / WEIGHTS} {', and '.join(problems)}. Expected the tensors that "
            f"{CONFIG} describes on this base. {_ADVICE}"
        )


def _require_values(adapter: Adapter, adapted: torch.nn.Module) -> None:
    """Raise if a tensor still has no values: PEFT would take them from elsewhere, or draw them at random."""
    empty = [name for name, tensor in (*adapted.named_parameters(), *adapted.named_buffers()) if tensor.is_meta]
    if empty:
        raise ModelError(f"{adapter.origin}: {adapter.directory / WEIGHTS} has no values for {first_of(empty, 3)}")
