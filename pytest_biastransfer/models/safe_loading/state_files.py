"""Reads state dicts from files without running code in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_biastransfer.errors import ModelError, nearest
from pytest_biastransfer.models.safe_loading.unpickling import UNREADABLE, read_plain, reason_of

if TYPE_CHECKING:
    import torch

State = Mapping[str, "torch.Tensor"]
# The usual entries of a checkpoint for the model's weights, the most common ones first.
ENTRIES: Final = (
    *("state_dict", "model", "model_state_dict", "ema", "module"),
    *("state_dict_ema", "model_ema", "ema_state_dict"),
)
# The depth to which a checkpoint is searched: unpickled objects may contain themselves.
_DEEPEST: Final = 3
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
