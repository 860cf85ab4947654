"""``torchscript:FILE``: what ``torch.jit.save`` wrote."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch

from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.models.declared import SHARED_KEYS
from pytest_biastransfer.models.file_program import FileProgram
from pytest_biastransfer.models.model import Model
from pytest_biastransfer.models.plain_data import reason_of
from pytest_biastransfer.models.safe_loading.script_archive import verified_script
from pytest_biastransfer.models.scheme import Architectures, Parts, Scheme
from pytest_biastransfer.models.weights_file import weights_file
from pytest_biastransfer.specs import Spec


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
    archive = verified_script(path)
    try:
        with warnings.catch_warnings():
            # Who has such a file cannot heed the advice to use torch.export instead.
            warnings.filterwarnings("ignore", r"`?torch\.jit\.load", category=Warning)
            script = torch.jit.load(archive, map_location="cpu")  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise ModelError(f"torchscript {path}: not a TorchScript program, or damaged ({reason_of(error)})") from error
    return Model(_Script(path, script), name=path.stem)


def _made_of(spec: Spec, architectures: Architectures) -> Parts:
    return Parts((spec.path(),))


SCHEME: Final = Scheme(_load, _made_of)
