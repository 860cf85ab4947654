"""State dicts from files, without running anything that is in them, and into modules that they fit."""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.errors import ModelError, nearest
from pytest_biastransfer.models.safe_loading.unpickling import UNREADABLE, read_plain, reason_of

if TYPE_CHECKING:
    import torch

State = Mapping[str, "torch.Tensor"]

# Under which name a checkpoint has the model beside what else training needs, the usual ones first.
ENTRIES: Final = (
    *("state_dict", "model", "model_state_dict", "ema", "module"),
    *("state_dict_ema", "model_ema", "ema_state_dict"),
)

# BatchNorm's counters, which only training needs: old checkpoints lack them.
_COUNTER: Final = "num_batches_tracked"
# Tensors that only training needs, and that some leave in a checkpoint beside a model.
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
# How far inside a checkpoint weights are looked for: what was unpickled may hold itself.
_DEEPEST: Final = 3
# What torch.compile puts into the names of what it wraps, at any depth.
_COMPILED: Final = "_orig_mod."
# How what torch.save writes begins, since it is an archive.
_ARCHIVE: Final = b"PK\x03\x04"


def read_state(path: Path, entry: str | None = None) -> State:
    """Return the tensors in a file by their names; nothing in the file is run.

    Parameters
    ----------
    path
        A safetensors file, or what `torch.save` wrote: a state dict, or a checkpoint that has one.
    entry
        Under which name the checkpoint has it, with dots where it is further inside; default: one of `ENTRIES`.

    Raises
    ------
    ModelError
        If the file is damaged, holds more than plain data, or has no state dict.
    """
    return next(iter(read_states(path, entry).values()))


def read_states(path: Path, entry: str | None = None) -> Mapping[str, State]:
    """Return all state dicts of a checkpoint by their entries, the usual ones first; a bare one is under ``""``.

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
    found = _states(content)
    if not found:
        raise ModelError(
            f"checkpoint {path}: {_found_instead(content)}, expected a state dict (names to tensors), by itself or "
            f"under one of {', '.join(ENTRIES)}. Save it with torch.save(model.state_dict(), ...), or say where it is "
            f"with &entry=NAME"
        )
    return found


def load_checkpoint(
    module: torch.nn.Module,
    path: Path,
    entry: str | None = None,
    prefix: str | None = None,
    rule: Sequence[str] = (),
) -> None:
    """Copy the weights in a file into a module; raise unless it is clear which ones, and they fit exactly.

    Parameters
    ----------
    module
        What they are for.
    path, entry
        Where they are; see `read_state`.
    prefix
        Before the names of the module in the file; default: see `load_state`.
    rule
        The entries that the module's library itself looks into; it takes the first of them that is there.
    """
    place, states = f"checkpoint {path}", read_states(path, entry)
    rivals = [name for name, state in states.items() if len(states) == 1 or _is_rival(state, module)]
    by_rule = [name for name in rule if name in states]
    if by_rule and set(rivals) <= set(rule):
        rivals = by_rule[:1]
    if len(rivals) > 1:
        raise ModelError(
            f"{place}: has several sets of weights for {type(module).__name__}, under {', '.join(rivals)}; say which "
            f"is meant, such as &entry={rivals[0]}"
        )
    load_state(module, states[rivals[0] if rivals else next(iter(states))], place, prefix)


def load_state(module: torch.nn.Module, state: State, place: str, prefix: str | None = None) -> None:
    """Copy a state dict into a module; raise unless keys and shapes fit exactly.

    What wraps a model while it is trained (DistributedDataParallel, torch.compile, Lightning) shows as a prefix of
    all its names, which is removed. Where the prefix is not named, nothing may be left over beside what has it, but
    for what only training needs. `place` says where the state comes from, for the error message.
    """
    expected = _tensors_of(module)
    state, beside = _unwrapped(state, expected, prefix, place)
    expected = {key: value for key, value in expected.items() if not key.endswith(_COUNTER) or key in state}
    if 2 * len(expected.keys() & state.keys()) >= len(expected):
        _require_nothing_left(module, beside, place)
    others = [(key, value) for key, value in state.items() if key not in expected]
    unexpected = [(key, value) for key, value in others if not is_for_training(key, value)]
    misshapen = [key for key in expected if key in state and state[key].shape != expected[key].shape]
    mistyped = [key for key in expected if key in state and not _is_of_the_kind(state[key], expected[key])]
    problems = [
        # Where there is more than the model has, another one was saved, and its head is somewhere else.
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
    found = [problem for problem in problems if problem]
    if found:
        raise ModelError(
            f"{place} does not fit {type(module).__name__}; check arch= and num_classes=.\n" + "\n".join(found)
        )
    try:
        module.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ModelError(f"{place} cannot be loaded into {type(module).__name__}: {reason_of(error)}") from error


def is_for_training(name: str, tensor: torch.Tensor) -> bool:
    """Whether a tensor is one that no prediction depends on: a counter, a weight of a loss, a tally of a metric."""
    *modules, last = name.split(".")
    if last in _COUNTERS:
        return tensor.numel() == 1
    # A loss with a matrix, such as ArcFace's, is the head itself.
    if any(map(_LOSS.fullmatch, modules)):
        return tensor.ndim <= 1
    return any(map(_METRIC.fullmatch, modules)) and (tensor.ndim == 0 or last in _TALLIES)


def _require_nothing_left(module: torch.nn.Module, beside: Mapping[str, State], place: str) -> None:
    """Raise if the file has weights beside those with the prefix: the model that was saved is a larger one."""
    for prefix, left in beside.items():
        lines = [f"{name} {_shape(tensor)}" for name, tensor in left.items() if not is_for_training(name, tensor)]
        if lines:
            raise ModelError(
                f"{place}: {type(module).__name__} is only the part under {prefix} of the model that was saved. Name "
                f"the whole of it, such as arch=python:package.module:factory; or, if that part alone is meant, add "
                f"&prefix={prefix}\n{_listed('left over', lines)}"
            )


def _tensors_of(module: torch.nn.Module) -> State:
    """Return the module's tensors by name; it may save other things too, which no file of weights has."""
    import torch

    found = module.state_dict()
    for name in [name for name, value in found.items() if not isinstance(value, torch.Tensor)]:
        del found[name]
    return found


def _is_of_the_kind(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Whether numbers of one tensor may be put into the other: whole ones of a quantized model mean other numbers."""
    return found.is_floating_point() == wanted.is_floating_point() and found.is_complex() == wanted.is_complex()


def _read_plain(path: Path) -> Any:
    try:
        # Mapped, the file takes no memory beside the model's; what older versions of torch wrote cannot be mapped.
        with path.open("rb") as file:
            mapped = file.read(len(_ARCHIVE)) == _ARCHIVE
        return read_plain(path, mapped=mapped)
    except UNREADABLE as error:
        raise ModelError(
            f"checkpoint {path}: holds more than plain data, or is damaged ({reason_of(error)}); nothing in it was "
            f"run. Save it with torch.save(model.state_dict(), ...) or as safetensors"
        ) from error


def _require_no_safetensors(path: Path) -> None:
    # It begins with the length of its header, which is JSON.
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
        found: State = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        with path.open("rb") as file:
            if file.read(len(_ARCHIVE)) == _ARCHIVE:
                raise ModelError(f"checkpoint {path}: is a file of torch.save; rename it to {path.stem}.pt") from error
        raise ModelError(f"checkpoint {path}: not a safetensors file, or damaged ({error})") from error
    return found


def _states(content: object) -> dict[str, State]:
    """Return the state dicts in a checkpoint; none where a usual entry has tensors in another form: it may be meant."""
    if not isinstance(content, Mapping):
        return {}
    usual = {name: content[name] for name in ENTRIES if _holds_tensors(content.get(name))}
    if not usual or not all(map(_is_state, usual.values())):
        return {}
    rest = {name: value for name, value in content.items() if name not in usual}
    return usual | dict(_others(rest, ""))


def _others(content: Mapping[Any, Any], path: str, depth: int = 0) -> Iterable[tuple[str, State]]:
    """Yield what else in a checkpoint is names to tensors, with its path: perhaps the average of the weights."""
    for name, value in content.items():
        if _is_state(value):
            yield f"{path}{name}", value
        elif isinstance(value, Mapping) and depth < _DEEPEST:
            yield from _others(value, f"{path}{name}.", depth + 1)


def _holds_tensors(content: object, depth: int = 0) -> bool:
    import torch

    if isinstance(content, Mapping):
        return depth <= _DEEPEST and any(_holds_tensors(value, depth + 1) for value in content.values())
    return isinstance(content, torch.Tensor)


def _is_rival(state: State, module: torch.nn.Module) -> bool:
    """Whether at least half of a module's tensors are in a state dict, under whatever prefix."""
    expected = _tensors_of(module)
    shapes = {
        (inner, value.shape) for name, value in state.items() for inner in _inner_names(name.replace(_COMPILED, ""))
    }
    found = sum((name, value.shape) in shapes for name, value in expected.items())
    return 2 * found >= len(expected) > 0


def _entry(content: object, entry: str, path: Path) -> State:
    parts, found = entry.split("."), content
    # A name may itself have dots.
    if isinstance(content, Mapping) and entry in content:
        parts = [entry]
    for part in parts:
        if not isinstance(found, Mapping) or part not in found:
            names = [str(name) for name in found] if isinstance(found, Mapping) else []
            raise ModelError(f"checkpoint {path}: has no entry {entry!r}; {nearest(part, names)}")
        found = found[part]
    if not _is_state(found):
        raise ModelError(f"checkpoint {path}: {entry!r} {_found_instead(found)}, expected names to tensors")
    state: Any = found
    return state  # type: ignore[no-any-return]


def _is_state(content: object) -> bool:
    import torch

    return (
        isinstance(content, Mapping)
        and len(content) > 0
        and all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in content.items())
    )


def _found_instead(content: object) -> str:
    if isinstance(content, Mapping):
        names = ", ".join(map(str, list(content)[:8]))
        return f"holds a {type(content).__name__} of {names}" if names else f"holds an empty {type(content).__name__}"
    return f"holds a {type(content).__name__}"


def _unwrapped(state: State, expected: State, prefix: str | None, place: str) -> tuple[State, Mapping[str, State]]:
    """Return the state by the names that the module expects, and what is beside it under the prefix that was found."""
    names = {name.replace(_COMPILED, ""): name for name in state}
    if len(names) != len(state):
        raise ModelError(f"{place}: has the same names with and without {_COMPILED}; save one of the two models")
    found = _prefix(names, expected, place) if prefix is None else prefix
    unwrapped = OrderedDict((name.removeprefix(found), state[names[name]]) for name in names if name.startswith(found))
    # The versions of the modules that were saved: some load what an older version saved in another way.
    versions = _versions(getattr(state, "_metadata", None))
    unwrapped._metadata = _unwrapped_versions(versions, found) if versions else expected._metadata  # type: ignore[attr-defined]
    beside = {name: state[names[name]] for name in names if not name.startswith(found)}
    return unwrapped, {found: beside} if prefix is None else {}


def _versions(metadata: object) -> dict[str, object]:
    """Return what a state dict says of its modules, as far as it is of the form that torch writes."""
    if not isinstance(metadata, Mapping):
        return {}
    return {name: entry for name, entry in metadata.items() if isinstance(name, str) and isinstance(entry, dict)}


def _unwrapped_versions(versions: Mapping[str, object], prefix: str) -> dict[str, object]:
    paths = {f"{name}.".lstrip(".").replace(_COMPILED, ""): version for name, version in versions.items()}
    return {path.removeprefix(prefix)[:-1]: version for path, version in paths.items() if path.startswith(prefix)}


def _prefix(names: Iterable[str], expected: State, place: str) -> str:
    """Return the prefix under which most of the expected names are."""
    counts = Counter(
        name[: len(name) - len(inner)] for name in names for inner in _inner_names(name) if inner in expected
    )
    most = max(counts.values(), default=0)
    best = [prefix for prefix, count in counts.items() if count == most]
    if not best or "" in best:
        return ""
    # Half a set of weights beside a whole one, as of a teacher, is no reason to choose either.
    others = [prefix for prefix, count in counts.items() if 2 * count >= most and not prefix.startswith(best[0])]
    if len(best) > 1 or others:
        found = sorted({*best, *others})
        raise ModelError(
            f"{place}: has several sets of weights that fit, under {', '.join(found)}; "
            f"choose one, such as &prefix={found[0]}"
        )
    return best[0]


def _inner_names(name: str) -> Iterable[str]:
    parts = name.split(".")
    return (".".join(parts[start:]) for start in range(len(parts)))


def _head(module: torch.nn.Module, misshapen: list[tuple[str, torch.Tensor, torch.Tensor]]) -> str:
    """Say so where the only difference is in how many classes the last layer has."""
    heads = {key.rpartition(".")[0] for key, _, _ in misshapen}
    counts = {(len(found), len(wanted)) for _, found, wanted in misshapen if found.ndim and wanted.ndim}
    same = all(found.shape[1:] == wanted.shape[1:] for _, found, wanted in misshapen)
    if not same or len(heads) != 1 or len(counts) != 1:
        return ""
    there, here = counts.pop()
    return f"the head {heads.pop()} has {there} classes in the file and {here} in the model: type num_classes={there}"


def _shape(tensor: torch.Tensor) -> list[int]:
    return list(tensor.shape)


def _listed(what: str, lines: Iterable[str], shown: int = 5) -> str:
    """Return the first lines under a counted heading, or nothing."""
    every = list(lines)
    if not every:
        return ""
    more = [f"  and {len(every) - shown} more"] if len(every) > shown else []
    return "\n".join([f"{len(every)} {what}:", *(f"  {line}" for line in every[:shown]), *more])
