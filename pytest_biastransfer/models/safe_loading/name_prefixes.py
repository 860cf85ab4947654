"""Finds and removes the prefix that wrappers of a model in training add to the names of its tensors."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final

from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.models.safe_loading.state_files import State

# The prefix of torch.compile for the modules that it wraps, at any depth.
_COMPILED: Final = "_orig_mod."


def unwrapped_state(
    state: State, expected: State, prefix: str | None, origin: str
) -> tuple[State, Mapping[str, State]]:
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


def is_rival(state: State, expected: State) -> bool:
    """Whether at least half of the expected tensors are in a state dict, under any prefix."""
    shapes = {
        (inner, value.shape) for name, value in state.items() for inner in _inner_names(name.replace(_COMPILED, ""))
    }
    fitting = sum((name, value.shape) in shapes for name, value in expected.items())
    return 2 * fitting >= len(expected) > 0


def _inner_names(name: str) -> Iterable[str]:
    parts = name.split(".")
    return (".".join(parts[start:]) for start in range(len(parts)))
