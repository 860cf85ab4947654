"""``torchscript:FILE``: what ``torch.jit.save`` wrote."""

from __future__ import annotations

import re
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch

from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.models.declared import SHARED_KEYS
from pytest_biastransfer.models.file_program import FileProgram
from pytest_biastransfer.models.model import Model
from pytest_biastransfer.models.plain_data import reason_of
from pytest_biastransfer.models.scheme import Architectures, Parts, Scheme
from pytest_biastransfer.models.weights_file import weights_file
from pytest_biastransfer.specs import Spec

# What TorchScript has to reach files; there is nothing else by which a program could leave its tensors.
_REACHES_FILES: Final = re.compile(rb"\b(?:torch|aten)\.(?:save|load|from_file)\(")


class _Script(FileProgram):
    def __init__(self, path: Path, script: Any) -> None:
        super().__init__([path])
        self.script = script

    def __fingerprint__(self) -> object:
        return super().__fingerprint__(), dict(self.script.state_dict())

    def program_for(self, device: torch.device) -> Callable[[torch.Tensor], Any]:
        run: Callable[[torch.Tensor], Any] = self.script
        return run


def _load(spec: Spec, architectures: Architectures) -> Model:
    spec.check_keys(SHARED_KEYS)
    path = weights_file(spec)
    _require_no_files_reached(path)
    try:
        with warnings.catch_warnings():
            # Who has such a file cannot heed the advice to use torch.export instead.
            warnings.filterwarnings("ignore", r"`?torch\.jit\.load", category=Warning)
            script = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise ModelError(f"torchscript {path}: not a TorchScript program, or damaged ({reason_of(error)})") from error
    return Model(_Script(path, script), name=path.stem)


def _made_of(spec: Spec, architectures: Architectures) -> Parts:
    return Parts((spec.path(),))


def _require_no_files_reached(path: Path) -> None:
    """Raise if the program reads or writes files; loading it may run parts of it already."""
    try:
        with zipfile.ZipFile(path) as archive:
            code = [archive.read(name) for name in archive.namelist() if "/code/" in name and name.endswith(".py")]
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ModelError(f"torchscript {path}: no archive as torch.jit.save writes it, or damaged ({error})") from error
    for found in filter(None, map(_REACHES_FILES.search, code)):
        call = found[0].decode().rstrip("(")
        raise ModelError(f"torchscript {path}: its program calls {call}, which reaches files; it was not run")


SCHEME: Final = Scheme(_load, _made_of)
