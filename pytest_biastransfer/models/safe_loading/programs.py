"""Loads programs from verified and rewritten archives into this process."""

from __future__ import annotations

import importlib
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
    """The shape of the input, [batch, channels, height, width]; None for each dimension that may vary."""

    def run_on(self, device: torch.device, training: bool | None) -> Run:
        """Return a function that runs the program on a device; `training` None keeps the mode that it was saved in."""


class ScriptProgram:
    """A program of TorchScript; raises `ModelError` if torch cannot load it. `location` names the file."""

    shape: Sequence[int | None] = (None,) * 4

    def __init__(self, archive: IO[bytes], location: str) -> None:
        try:
            with warnings.catch_warnings():
                # The warning advises to use torch.export, which users cannot do with a saved file.
                warnings.filterwarnings("ignore", r"`?torch\.jit\.load", category=Warning)
                self.script = torch.jit.load(archive, map_location="cpu")  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise ModelError(f"{location}: not a TorchScript program, or damaged ({reason_of(error)})") from error

    def run_on(self, device: torch.device, training: bool | None) -> Run:
        """Return the program on a device."""
        if training is not None:
            self.script.train(training)
        run: Run = self.script.to(device)
        return run


class ExportProgram:
    """A program of ``torch.export``; raises `ModelError` if torch cannot load it. `location` names the file."""

    def __init__(self, archive: IO[bytes], location: str) -> None:
        define_quantized_operators()
        try:
            self._program = torch.export.load(archive)
        except (*UNREADABLE, SyntaxError) as error:
            raise ModelError(
                f"{location}: cannot be loaded by torch {torch.__version__} ({reason_of(error)})"
            ) from error
        self.shape: Sequence[int | None] = _input_shape(location, self._program)
        self._runnable: tuple[torch.device, Run] | None = None

    def run_on(self, device: torch.device, training: bool | None) -> Run:
        """Return the program on a device; an exported program has only the mode of its export."""
        if self._runnable is None or self._runnable[0] != device:
            from torch.export.passes import move_to_device_pass

            self._program = move_to_device_pass(self._program, device)
            self._runnable = device, _runnable(self._program)
        return self._runnable[1]


def define_quantized_operators() -> None:
    """Define the operators ``torch.ops.quantized_decomposed``, which PT2E's quantization writes into programs.

    torch defines them only when this module is imported.
    """
    importlib.import_module("torch.ao.quantization.fx._decomposed")


@dataclass(frozen=True)
class Format:
    """The functions of one format.

    Attributes
    ----------
    verified
        Returns the rewritten archive.
    load
        Loads it.
    prepare
        Imports what loading needs, before the sandbox.
    """

    verified: Callable[[Path], IO[bytes]]
    load: Callable[[IO[bytes], str], Program]
    prepare: Callable[[], None] = lambda: None


FORMATS: Final = MappingProxyType(
    {
        "torchscript": Format(verified_script, ScriptProgram),
        "export": Format(verified_export, ExportProgram, define_quantized_operators),
    }
)


def _runnable(program: torch.export.ExportedProgram) -> Run:
    # Guards are Python code and were dropped from the archive; `FileProgram` checks the shape. Old torch has no guards.
    unguarded = {"check_guards": False} if "check_guards" in inspect.signature(program.module).parameters else {}
    run: Run = program.module(**unguarded)
    return run


def _input_shape(location: str, program: torch.export.ExportedProgram) -> list[int | None]:
    names = program.graph_signature.user_inputs
    nodes = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    shapes = [tuple(getattr(node.meta.get("val"), "shape", ())) for node in nodes]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        descriptions = ", ".join(str(list(shape)) for shape in shapes)
        raise ModelError(
            f"{location}: its program takes {len(shapes)} inputs ({descriptions}), expected one: images [batch, "
            f"channels, height, width]"
        )
    return [side if isinstance(side, int) else None for side in shapes[0]]
