"""Loads state dicts into modules that they fit exactly."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.models.safe_loading.mapped_weights import copy_narrow
from pytest_biastransfer.models.safe_loading.name_prefixes import is_rival, unwrapped_state
from pytest_biastransfer.models.safe_loading.state_files import State, read_states
from pytest_biastransfer.models.safe_loading.training_tensors import COUNTER, is_for_training
from pytest_biastransfer.models.safe_loading.unpickling import reason_of

if TYPE_CHECKING:
    import torch


def load_checkpoint(
    module: torch.nn.Module,
    path: Path,
    entry: str | None = None,
    prefix: str | None = None,
    rule: Sequence[str] = (),
) -> None:
    """Copy the weights in a file into a module; raise `ModelError` unless exactly one set of weights fits exactly.

    Parameters
    ----------
    module
        The module.
    path, entry
        The file and the entry of the weights; see `read_state`.
    prefix
        The prefix of the module's names in the file; default: see `load_state`.
    rule
        The entries that the module's own library searches, in its order.
    """
    origin, states = f"checkpoint {path}", read_states(path, entry)
    rivals = [name for name, state in states.items() if len(states) == 1 or is_rival(state, _tensors_of(module))]
    by_rule = [name for name in rule if name in states]
    if by_rule and set(rivals) <= set(rule):
        rivals = by_rule[:1]
    if len(rivals) > 1:
        raise ModelError(
            f"{origin}: has several sets of weights for {type(module).__name__}, under {', '.join(rivals)}; choose "
            f"one, such as &entry={rivals[0]}"
        )
    load_state(module, states[rivals[0] if rivals else next(iter(states))], origin, prefix, path)


def load_state(
    module: torch.nn.Module, state: State, origin: str, prefix: str | None = None, path: Path | None = None
) -> None:
    """Copy a state dict into a module; raise `ModelError` unless keys and shapes fit exactly.

    Wrappers of a model in training (DistributedDataParallel, torch.compile, Lightning) add a prefix to all its names,
    which is removed. If `prefix` is None, tensors without the found prefix are an error unless only training uses
    them. `origin` says in error messages where the state comes from. `path` is the file whose mapped
    memory the tensors may be.
    """
    expected = _tensors_of(module)
    state, outside = unwrapped_state(state, expected, prefix, origin)
    expected = {key: value for key, value in expected.items() if not key.endswith(COUNTER) or key in state}
    if 2 * len(expected.keys() & state.keys()) >= len(expected):
        _require_nothing_left(module, outside, origin)
    extra = [(key, value) for key, value in state.items() if key not in expected]
    unexpected = [(key, value) for key, value in extra if not is_for_training(key, value)]
    misshapen = [key for key in expected if key in state and state[key].shape != expected[key].shape]
    mistyped = [key for key in expected if key in state and not _has_same_kind_of_numbers(state[key], expected[key])]
    problems = [
        # Unexpected tensors mean that another model was saved, so num_classes is not the problem.
        "" if unexpected else _head(module, [(key, state[key], expected[key]) for key in misshapen]),
        _listed("missing", [f"{key} {_shape(expected[key])}" for key in expected if key not in state]),
        _listed("unexpected", [f"{key} {_shape(value)}" for key, value in unexpected]),
        _listed(
            "of another shape",
            [f"{key}: {_shape(state[key])} in the file, {_shape(expected[key])} in the model" for key in misshapen],
        ),
        _listed(
            "of another type",
            [f"{key}: {state[key].dtype} in the file, {expected[key].dtype} in the model" for key in mistyped],
        ),
    ]
    messages = [problem for problem in problems if problem]
    if messages:
        raise ModelError(
            f"{origin} does not fit {type(module).__name__}; check arch= and num_classes=.\n" + "\n".join(messages)
        )
    copied = () if path is None else copy_narrow(module, state, expected, path)
    try:
        module.load_state_dict(_without(state, copied), strict=False)
    except RuntimeError as error:
        raise ModelError(f"{origin} cannot be loaded into {type(module).__name__}: {reason_of(error)}") from error


def _without(state: State, names: Collection[str]) -> State:
    rest = OrderedDict((name, tensor) for name, tensor in state.items() if name not in names)
    rest._metadata = getattr(state, "_metadata", {})  # type: ignore[attr-defined]
    return rest


def _require_nothing_left(module: torch.nn.Module, outside: Mapping[str, State], origin: str) -> None:
    """Raise if the file has weights without the prefix: then a larger model was saved."""
    for prefix, tensors in outside.items():
        lines = [f"{name} {_shape(tensor)}" for name, tensor in tensors.items() if not is_for_training(name, tensor)]
        if lines:
            raise ModelError(
                f"{origin}: {type(module).__name__} is only the part under {prefix} of the saved model. Name the whole "
                f"model, such as arch=python:package.module:factory; or, to use that part alone, add "
                f"&prefix={prefix}\n{_listed('left over', lines)}"
            )


def _tensors_of(module: torch.nn.Module) -> State:
    """Return the module's tensors by name, without other objects in its state dict, which files of weights lack."""
    import torch

    state = module.state_dict()
    for name in [name for name, value in state.items() if not isinstance(value, torch.Tensor)]:
        del state[name]
    return state


def _has_same_kind_of_numbers(saved: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether one tensor may be copied into the other: integers of a quantized model stand for scaled values."""
    return saved.is_floating_point() == expected.is_floating_point() and saved.is_complex() == expected.is_complex()


def _head(module: torch.nn.Module, misshapen: list[tuple[str, torch.Tensor, torch.Tensor]]) -> str:
    """Return a message if the only difference is the number of classes of the last layer; else ``""``."""
    heads = {key.rpartition(".")[0] for key, _, _ in misshapen}
    counts = {(len(saved), len(expected)) for _, saved, expected in misshapen if saved.ndim and expected.ndim}
    same = all(saved.shape[1:] == expected.shape[1:] for _, saved, expected in misshapen)
    if not same or len(heads) != 1 or len(counts) != 1:
        return ""
    in_file, in_model = counts.pop()
    return (
        f"the head {heads.pop()} has {in_file} classes in the file and {in_model} in the model: "
        f"type num_classes={in_file}"
    )


def _shape(tensor: torch.Tensor) -> list[int]:
    return list(tensor.shape)


def _listed(heading: str, lines: Iterable[str], shown: int = 5) -> str:
    """Return the first lines under a heading with their count; ``""`` without lines."""
    all_lines = list(lines)
    if not all_lines:
        return ""
    rest = [f"  and {len(all_lines) - shown} more"] if len(all_lines) > shown else []
    return "\n".join([f"{len(all_lines)} {heading}:", *(f"  {line}" for line in all_lines[:shown]), *rest])
