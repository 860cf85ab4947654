"""Verifies archives of ``torch.export``, so that loading one only runs operators on tensors.

torch evaluates names, operators and expressions from the archive as Python code, and falls back to unpickling. So each
member is verified and written to a new archive. Anything that no exported model needs is refused.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch

from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.models.safe_loading.archives import Members, open_archive, write_archive
from pytest_biastransfer.models.safe_loading.export_schema import QUANTIZED_OTHERWISE, canonical_json
from pytest_biastransfer.models.safe_loading.unpickling import UNREADABLE, read_plain, reason_of

_PROGRAM: Final = "models/model.json"
_CONFIGS: Final = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_TENSOR: Final = re.compile(r"data/(weights|constants)/(weight|tensor)_[0-9]{1,9}")
_PICKLES: Final = ("data/weights/model.pt", "data/constants/model.pt", "data/sample_inputs/model.pt")
# The user's own files, and identifiers of the archive.
_LEFT_OUT: Final = re.compile(r"(extra|extra_files)/.*|\.data/serialization_id|\.format_version|\.storage_alignment")
_MARKERS: Final = re.compile(rb"[0-9]{1,9}(\.[0-9]{1,9})?\n?|pt2|little|big")
_MARKER_FILES: Final = ("archive_format", "archive_version", "byteorder", "version", ".data/version")
# The names before torch 2.9, which wrote no top folder.
_OLD_PROGRAM: Final = "serialized_exported_program.json"
_OLD_PICKLES: Final = ("serialized_state_dict.pt", "serialized_constants.pt", "serialized_example_inputs.pt")

# The placeholder for the name of a member in an error message.
_MEMBER: Final = "<member>"
# Verifies the content of a member, and returns the content for the new archive.
_Rewrite = Callable[[bytes], bytes]


def verified_export(path: Path) -> io.BytesIO:
    """Return a new archive with the program, the weights and the inputs of the archive at a path.

    Raises `ModelError` for an archive with anything that no model needs.
    """
    with open_archive(path, f"export {path}") as members:
        old = _OLD_PROGRAM in members
        if not old and _PROGRAM not in members:
            raise ModelError(f"export {path}: no archive as torch.export.save writes it: it has no {_PROGRAM}")
        rewrites = dict(_old_rewrites() if old else _new_rewrites(path, members))
        return write_archive(_rewritten(path, members, rewrites), "" if old else "archive/")


def _rewritten(path: Path, members: Members, rewrites: Mapping[str, _Rewrite]) -> Iterator[tuple[str, bytes]]:
    for name in members:
        if name in rewrites:
            yield name, _rewrite(path, name, members[name], rewrites[name])
        elif "aotinductor/" in name:
            raise _refused(path, f"{name} is compiled code")
        elif not _LEFT_OUT.fullmatch(name):
            raise _refused(path, f"{name} is nothing that torch.export.save writes")


def _rewrite(path: Path, name: str, content: bytes, rewrite: _Rewrite) -> bytes:
    try:
        return rewrite(content)
    except (RecursionError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelError(f"export {path}: {name} is damaged ({error})") from error
    except ValueError as error:
        raise _refused(path, str(error).replace(_MEMBER, name)) from error


def _new_rewrites(path: Path, members: Members) -> Iterator[tuple[str, _Rewrite]]:
    yield _PROGRAM, _program
    for name in _MARKER_FILES:
        yield name, _marker
    for name in _PICKLES:
        yield name, _example_inputs if "sample_inputs" in name else _named_tensors
    for name in filter(_TENSOR.fullmatch, members):
        yield name, bytes
    for config in filter(members.__contains__, _CONFIGS):
        yield config, _payloads
        for file in _pickled_tensors(path, config, members[config]):
            yield f"{config.rpartition('/')[0]}/{file}", _tensor


def _old_rewrites() -> Iterator[tuple[str, _Rewrite]]:
    yield _OLD_PROGRAM, _program
    yield "version", _marker
    for name in _OLD_PICKLES:
        yield name, _example_inputs if "inputs" in name else _named_tensors


def _program(content: bytes) -> bytes:
    return canonical_json(content, "ExportedProgram")[0]


def _payloads(content: bytes) -> bytes:
    return canonical_json(content, "PayloadConfig")[0]


def _pickled_tensors(path: Path, name: str, content: bytes) -> list[str]:
    """Return the files that a list of weights or constants marks as pickled."""
    pickled: list[str] = []

    def read(config: bytes) -> bytes:
        payloads = canonical_json(config, "PayloadConfig")[1]["config"].values()
        pickled.extend(payload["path_name"] for payload in payloads if payload["use_pickle"])
        return config

    _rewrite(path, name, content, read)
    return pickled


def _marker(content: bytes) -> bytes:
    if not _MARKERS.fullmatch(content):
        raise ValueError(f"{_MEMBER} says {content!r:.80}")
    return content


def _tensor(content: bytes) -> bytes:
    return _pickled(content, _is_tensor, "a tensor")


def _named_tensors(content: bytes) -> bytes:
    def fits(value: Any) -> bool:
        return (
            isinstance(value, dict)
            and all(isinstance(name, str) for name in value)
            and all(map(_is_tensor, value.values()))
        )

    return _pickled(content, fits, "tensors by their names")


def _example_inputs(content: bytes) -> bytes:
    return _pickled(content, _is_input, "tensors")


def _pickled(content: bytes, fits: Callable[[Any], bool], expected: str) -> bytes:
    """Return plain data, pickled again by torch.save: the original pickle is not passed on."""
    if not content:
        return content
    try:
        value = read_plain(io.BytesIO(content))
    except UNREADABLE as error:
        reason = reason_of(error)
        if "torchao." in reason:
            raise ValueError(f"{_MEMBER} holds tensors of torchao ({reason}): {QUANTIZED_OTHERWISE}") from error
        raise ValueError(f"{_MEMBER} holds more than tensors, or is damaged ({reason})") from error
    if type(value).__module__.startswith("torchao."):
        # torch reads them as plain data as soon as torchao is imported.
        raise ValueError(f"{_MEMBER} holds tensors of torchao ({type(value).__name__}): {QUANTIZED_OTHERWISE}")
    if not fits(value):
        raise ValueError(f"{_MEMBER} holds a {type(value).__name__}, expected {expected}")
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def _is_tensor(value: Any) -> bool:
    return type(value) in (torch.Tensor, torch.nn.Parameter)


def _is_input(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(name, str) for name in value) and all(map(_is_input, value.values()))
    if type(value) in (tuple, list):
        return all(map(_is_input, value))
    return value is None or isinstance(value, (bool, int, float, str)) or _is_tensor(value)


def _refused(path: Path, reason: str) -> ModelError:
    return ModelError(f"export {path}: {reason}; nothing in it was run. Export the model again with torch.export.save")
