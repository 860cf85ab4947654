"""Programs from archives that were verified and written anew, loaded into this process."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Final, Protocol

import torch

from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.models.safe_loading.export_archive import verified_export
from pytest_biastransfer.models.safe_loading.script_archive import verified_script
from pytest_biastransfer.models.safe_loading.unpickling import UNREADABLE, reason_of

Run = Callable[[torch.Tensor], Any]


class Program(Protocol):
    """A program that maps images to logits."""

    shape: Sequence[int | None]
    """What it takes, [batch, channels, height, width]; None for each of them that may vary."""

    def run_on(self, device: torch.device, training: bool | None) -> Run:
        """Return what computes it on a device, in training or evaluation mode; None for the mode it was saved in."""


class ScriptProgram:
    """A program of TorchScript; raises `ModelError` if torch cannot load it. `place` names the file."""

    shape: Sequence[int | None] = (None,) * 4

    def __init__(self, archive: IO[bytes], place: str) -> None:
        try:
            with warnings.catch_warnings():
                # Who has such a file cannot heed the advice to use torch.export instead.
                warnings.filterwarnings("ignore", r"`?torch\.jit\.load", category=Warning)
                self.script = torch.jit.load(archive, map_location="cpu")  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise ModelError(f"{place}: not a TorchScript program, or damaged ({reason_of(error)})") from error

    def run_on(self, device: torch.device, training: bool | None) -> Run:
        """Return the program on a device."""
        if training is not None:
            self.script.train(training)
        run: Run = self.script.to(device)
        return run


class ExportProgram:
    """A program of ``torch.export``; raises `ModelError` if torch cannot load it. `place` names the file."""

    def __init__(self, archive: IO[bytes], place: str) -> None:
        try:
            self._program = torch.export.load(archive)
        except (*UNREADABLE, SyntaxError) as error:
            raise ModelError(f"{place}: cannot be loaded by torch {torch.__version__} ({reason_of(error)})") from error
        self.shape: Sequence[int | None] = _input_shape(place, self._program)
        self._runnable: tuple[torch.device, Run] | None = None

    def run_on(self, device: torch.device, training: bool | None) -> Run:
        """Return the program on a device; it was exported in one mode."""
        if self._runnable is None or self._runnable[0] != device:
            from torch.export.passes import move_to_device_pass

            self._program = move_to_device_pass(self._program, device)
            self._runnable = device, _runnable(self._program)
        return self._runnable[1]


@dataclass(frozen=True)
class Format:
    """How one format of programs is verified, written anew, and loaded."""

    verified: Callable[[Path], IO[bytes]]
    load: Callable[[IO[bytes], str], Program]


FORMATS: Final = MappingProxyType(
    {"torchscript": Format(verified_script, ScriptProgram), "export": Format(verified_export, ExportProgram)}
)


def _runnable(program: torch.export.ExportedProgram) -> Run:
    # The guards were left out of the archive; the shape is checked by `FileProgram`. Old versions of torch have none.
    unguarded = {"check_guards": False} if "check_guards" in inspect.signature(program.module).parameters else {}
    run: Run = program.module(**unguarded)
    return run


def _input_shape(place: str, program: torch.export.ExportedProgram) -> list[int | None]:
    names = program.graph_signature.user_inputs
    nodes = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    shapes = [tuple(getattr(node.meta.get("val"), "shape", ())) for node in nodes]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        found = ", ".join(str(list(shape)) for shape in shapes)
        raise ModelError(
            f"{place}: its program takes {len(shapes)} inputs ({found}), expected one: images [batch, channels, "
            f"height, width]"
        )
    return [side if isinstance(side, int) else None for side in shapes[0]]
