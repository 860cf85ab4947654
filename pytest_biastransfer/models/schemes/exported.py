"""``export:FILE.pt2``: what ``torch.export.save`` wrote."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch

from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.models.declared import SHARED_KEYS
from pytest_biastransfer.models.file_program import FileProgram
from pytest_biastransfer.models.model import Model
from pytest_biastransfer.models.plain_data import UNREADABLE, reason_of
from pytest_biastransfer.models.safe_loading.export_archive import verified_export
from pytest_biastransfer.models.scheme import Architectures, Parts, Scheme
from pytest_biastransfer.models.weights_file import weights_file
from pytest_biastransfer.specs import Spec


class _Exported(FileProgram):
    def __init__(self, path: Path, program: torch.export.ExportedProgram) -> None:
        super().__init__([path], _input_shape(path, program))
        self._program = program
        # In a tuple it is no child: an exported program refuses to be told that it is evaluated.
        self._runnable: tuple[torch.device, Callable[[torch.Tensor], Any]] | None = None

    def program_for(self, device: torch.device) -> Callable[[torch.Tensor], Any]:
        if self._runnable is None or self._runnable[0] != device:
            from torch.export.passes import move_to_device_pass

            self._program = move_to_device_pass(self._program, device)
            self._runnable = device, _runnable(self._program)
        return self._runnable[1]


def _runnable(program: torch.export.ExportedProgram) -> Callable[[torch.Tensor], Any]:
    # The guards are source code in the archive; the shape is checked here anyway. Old versions of torch have none.
    unguarded = {"check_guards": False} if "check_guards" in inspect.signature(program.module).parameters else {}
    run: Callable[[torch.Tensor], Any] = program.module(**unguarded)
    return run


def _input_shape(path: Path, program: torch.export.ExportedProgram) -> list[int | None]:
    names = program.graph_signature.user_inputs
    nodes = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    shapes = [tuple(getattr(node.meta.get("val"), "shape", ())) for node in nodes]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        found = ", ".join(str(list(shape)) for shape in shapes)
        raise ModelError(
            f"export {path}: its program takes {len(shapes)} inputs ({found}), expected one: images [batch, channels, "
            f"height, width]"
        )
    return [side if isinstance(side, int) else None for side in shapes[0]]


def _load(spec: Spec, architectures: Architectures) -> Model:
    spec.check_keys(SHARED_KEYS)
    path = weights_file(spec)
    archive = verified_export(path)
    try:
        program = torch.export.load(archive)
    except (*UNREADABLE, SyntaxError) as error:
        raise ModelError(
            f"export {path}: cannot be loaded by torch {torch.__version__} ({reason_of(error)})"
        ) from error
    return Model(_Exported(path, program), name=path.stem)


def _made_of(spec: Spec, architectures: Architectures) -> Parts:
    return Parts((spec.path(),))


SCHEME: Final = Scheme(_load, _made_of)
