"""Reads state dicts from files without running code in them, and loads them into modules that they fit exactly."""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.errors import ModelError, nearest
from pytest_biastransfer.models.safe_loading.mapped_weights import copy_narrow
from pytest_biastransfer.models.safe_loading.unpickling import UNREADABLE, read_plain, reason_of

if TYPE_CHECKING:
    import torch

State = Mapping[str, "torch.Tensor"]

# The usual entries of a checkpoint for the model's weights, the most common ones first.
ENTRIES: Final = (
    *("state_dict", "model", "model_state_dict", "ema", "module"),
    *("state_dict_ema", "model_ema", "ema_state_dict"),
)

# BatchNorm's counters are used in training only, and old checkpoints lack them.
_COUNTER: Final = "num_batches_tracked"
# Tensors that only training uses, and that some training scripts save beside the model.
_COUNTERS: Final = frozenset(
    (
        _COUNTER,
        "n_averaged",
        "num_updates",
        "total_ops",
        "total_params",
        "global_step",
        "step",
        "epoch",
        "initted",
        "decay",
    )
)
_LOSS: Final = re.compile(r"(\w+_)?(loss|losses|criterion|criteria)(_\w+)?")
_METRIC: Final = re.compile(r"(\w+_)?(acc|accuracy|auroc|auc|f1|precision|recall|metric|metrics|confmat)(_\w+)?")
_TALLIES: Final = frozenset(
    ("tp", "fp", "tn", "fn", "correct", "total", "confmat", "mean_value", "sum_value", "max_value", "min_value")
)
# The depth to which a checkpoint is searched: unpickled objects may contain themselves.
_DEEPEST: Final = 3
# The prefix of torch.compile for the modules that it wraps, at any depth.
_COMPILED: Final = "_orig_mod."
# The first bytes of a file of torch.save, which is a zip archive since torch 1.6.
_ARCHIVE: Final = b"PK\x03\x04"


def read_state(path: Path, entry: str | None = None) -> State:
    """Return the tensors in a file by their names; nothing in the file is run.

    Parameters
    ----------
    path
        A safetensors file, or a file of `torch.save` with a state dict, or with a checkpoint that contains one.
    entry
        The entry of the state dict in the checkpoint, with dots for nested entries; default: one of `ENTRIES`.

    Raises
    ------
    ModelError
        If the file is damaged, holds more than plain data, or has no state dict.
    """
    return next(iter(read_states(path, entry).values()))


def read_states(path: Path, entry: str | None = None) -> Mapping[str, State]:
    """Return all state dicts of a checkpoint by entry, the usual ones first; a bare state dict has the entry ``""``.

    Parameters and errors are those of `read_state`.
    """
    if path.suffix == ".safetensors":
        return {"": _read_safetensors(path)}
    _require_no_safetensors(path)
    content = _read_plain(path)
    if entry is not None:
        return {entry: _entry(content, entry, path)}
    if _is_state(content):
        return {"": content}
    states = _states(content)
    if not states:
        raise ModelError(
            f"checkpoint {path}: {_description(content)}, expected a state dict (names to tensors), by itself or "
            f"under one of {', '.join(ENTRIES)}. Save it with torch.save(model.state_dict(), ...), or say where it is "
            f"with &entry=NAME"
        )
    return states


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
    rivals = [name for name, state in states.items() if len(states) == 1 or _is_rival(state, module)]
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
    state, outside = _unwrapped(state, expected, prefix, origin)
    expected = {key: value for key, value in expected.items() if not key.endswith(_COUNTER) or key in state}
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


def is_for_training(name: str, tensor: torch.Tensor) -> bool:
    """Whether no prediction depends on a tensor: a counter, a weight of a loss, or a state of a metric."""
    *modules, last = name.split(".")
    if last in _COUNTERS:
        return tensor.numel() == 1
    # A loss with a matrix, such as ArcFace's, contains the head itself.
    if any(map(_LOSS.fullmatch, modules)):
        return tensor.ndim <= 1
    return any(map(_METRIC.fullmatch, modules)) and (tensor.ndim == 0 or last in _TALLIES)


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


def _read_plain(path: Path) -> Any:
    try:
        # A mapped file needs no memory besides the model's. Files of torch before 1.6 are no archives, and unmappable.
        with path.open("rb") as file:
            mapped = file.read(len(_ARCHIVE)) == _ARCHIVE
        return read_plain(path, mapped=mapped)
    except UNREADABLE as error:
        raise ModelError(
            f"checkpoint {path}: holds more than plain data, or is damaged ({reason_of(error)}); nothing in it was "
            f"run. Save it with torch.save(model.state_dict(), ...) or as safetensors"
        ) from error


def _require_no_safetensors(path: Path) -> None:
    # A safetensors file begins with the length of its header, which is JSON.
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise ModelError(f"checkpoint {path}: cannot be read ({error.strerror})") from error
    if len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
        raise ModelError(f"checkpoint {path}: is a safetensors file; rename it to {path.stem}.safetensors")


def _read_safetensors(path: Path) -> State:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state: State = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        with path.open("rb") as file:
            if file.read(len(_ARCHIVE)) == _ARCHIVE:
                raise ModelError(f"checkpoint {path}: is a file of torch.save; rename it to {path.stem}.pt") from error
        raise ModelError(f"checkpoint {path}: not a safetensors file, or damaged ({error})") from error
    return state


def _states(content: object) -> dict[str, State]:
    """Return the state dicts in a checkpoint by entry.

    Return none if a usual entry has tensors in another form: the model may be there, and another entry be wrong.
    """
    if not isinstance(content, Mapping):
        return {}
    usual = {name: content[name] for name in ENTRIES if _holds_tensors(content.get(name))}
    if not usual or not all(map(_is_state, usual.values())):
        return {}
    rest = {name: value for name, value in content.items() if name not in usual}
    return usual | dict(_nested_states(rest, ""))


def _nested_states(content: Mapping[Any, Any], prefix: str, depth: int = 0) -> Iterable[tuple[str, State]]:
    """Yield the state dicts outside the usual entries with their paths, such as averaged weights."""
    for name, value in content.items():
        if _is_state(value):
            yield f"{prefix}{name}", value
        elif isinstance(value, Mapping) and depth < _DEEPEST:
            yield from _nested_states(value, f"{prefix}{name}.", depth + 1)


def _holds_tensors(content: object, depth: int = 0) -> bool:
    import torch

    if isinstance(content, Mapping):
        return depth <= _DEEPEST and any(_holds_tensors(value, depth + 1) for value in content.values())
    return isinstance(content, torch.Tensor)


def _is_rival(state: State, module: torch.nn.Module) -> bool:
    """Whether at least half of a module's tensors are in a state dict, under any prefix."""
    expected = _tensors_of(module)
    shapes = {
        (inner, value.shape) for name, value in state.items() for inner in _inner_names(name.replace(_COMPILED, ""))
    }
    fitting = sum((name, value.shape) in shapes for name, value in expected.items())
    return 2 * fitting >= len(expected) > 0


def _entry(content: object, entry: str, path: Path) -> State:
    keys, value = entry.split("."), content
    # The name of an entry may itself contain dots.
    if isinstance(content, Mapping) and entry in content:
        keys = [entry]
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            names = [str(name) for name in value] if isinstance(value, Mapping) else []
            raise ModelError(f"checkpoint {path}: has no entry {entry!r}; {nearest(key, names)}")
        value = value[key]
    if not _is_state(value):
        raise ModelError(f"checkpoint {path}: {entry!r} {_description(value)}, expected names to tensors")
    state: Any = value
    return state  # type: ignore[no-any-return]


def _is_state(content: object) -> bool:
    import torch

    return (
        isinstance(content, Mapping)
        and len(content) > 0
        and all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in content.items())
    )


def _description(content: object) -> str:
    if isinstance(content, Mapping):
        names = ", ".join(map(str, list(content)[:8]))
        return f"holds a {type(content).__name__} of {names}" if names else f"holds an empty {type(content).__name__}"
    return f"holds a {type(content).__name__}"


def _unwrapped(state: State, expected: State, prefix: str | None, origin: str) -> tuple[State, Mapping[str, State]]:
    """Return the state without the prefix; and the tensors outside, by prefix, if the prefix was searched here."""
    names = {name.replace(_COMPILED, ""): name for name in state}
    if len(names) != len(state):
        raise ModelError(f"{origin}: has the same names with and without {_COMPILED}; save one of the two models")
    chosen = _prefix(names, expected, origin) if prefix is None else prefix
    unwrapped = OrderedDict(
        (name.removeprefix(chosen), state[names[name]]) for name in names if name.startswith(chosen)
    )
    # torch saves a version for each module, and some modules convert the tensors of older versions.
    versions = _versions(getattr(state, "_metadata", None))
    unwrapped._metadata = _unwrapped_versions(versions, chosen) if versions else expected._metadata  # type: ignore[attr-defined]
    outside = {name: state[names[name]] for name in names if not name.startswith(chosen)}
    return unwrapped, {chosen: outside} if prefix is None else {}


def _versions(metadata: object) -> dict[str, object]:
    """Return the metadata of a state dict's modules, restricted to entries as torch writes them."""
    if not isinstance(metadata, Mapping):
        return {}
    return {name: entry for name, entry in metadata.items() if isinstance(name, str) and isinstance(entry, dict)}


def _unwrapped_versions(versions: Mapping[str, object], prefix: str) -> dict[str, object]:
    paths = {f"{name}.".lstrip(".").replace(_COMPILED, ""): version for name, version in versions.items()}
    return {path.removeprefix(prefix)[:-1]: version for path, version in paths.items() if path.startswith(prefix)}


def _prefix(names: Iterable[str], expected: State, origin: str) -> str:
    """Return the prefix with most of the expected names; raise if another prefix fits as well."""
    counts = Counter(
        name[: len(name) - len(inner)] for name in names for inner in _inner_names(name) if inner in expected
    )
    highest = max(counts.values(), default=0)
    candidates = [prefix for prefix, count in counts.items() if count == highest]
    if not candidates or "" in candidates:
        return ""
    # A second set with half of the names or more, such as a teacher's, is ambiguous.
    rivals = [
        prefix for prefix, count in counts.items() if 2 * count >= highest and not prefix.startswith(candidates[0])
    ]
    if len(candidates) > 1 or rivals:
        prefixes = sorted({*candidates, *rivals})
        raise ModelError(
            f"{origin}: has several sets of weights that fit, under {', '.join(prefixes)}; "
            f"choose one, such as &prefix={prefixes[0]}"
        )
    return candidates[0]


def _inner_names(name: str) -> Iterable[str]:
    parts = name.split(".")
    return (".".join(parts[start:]) for start in range(len(parts)))


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
