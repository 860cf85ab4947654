"""Verifies archives of TorchScript, so that their programs use only tensors.

torch decides by a file's first bytes whether it is an archive or a program in another format, and finds members in its
own way. So the members that a program needs are verified and written to a new archive.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pytest_biastransfer.errors import ModelError
from pytest_biastransfer.models.safe_loading.archives import Members, open_archive, write_archive

_CODE: Final = re.compile(r"code/.+\.py")
_NEEDED: Final = re.compile(r"(data|constants)\.pkl|(data|constants)/[0-9]{1,9}|(\.data/)?version|byteorder")
# Debugging information, the user's own files, and forms of the program for mobile devices and other versions.
_LEFT_OUT: Final = re.compile(
    r"extra/.*|code/.+\.debug_pkl|\.data/serialization_id|\.format_version|\.storage_alignment|bytecode(\.pkl|/.*)"
    r"|mobile_debug_handles\.pkl|traced_inputs(\.pkl|/.*)|callstack_debug_map/.*"
)
# Functions that access files, matched as words anywhere, since a program can name a function in many ways. Operators
# and classes of other libraries are matched too, as they may run any code.
_REACHES_FILES: Final = re.compile(
    rb"\b(save|load|from_file|read_file|write_file)\b|\bops\s*\.\s*(?!(?:aten|prims?|torchvision|quantized)\b)\w+"
    rb"|=\s*(?:torch\s*\.\s*)?ops\s*(?:[;\r\n]|$)|\bclasses\s*\.\s*(?!quantized\b)\w+"
)
# Line continuations and comments, which may stand inside a dotted name.
_BETWEEN: Final = re.compile(rb"\\\r?\n|#[^\r\n]*")
_FOREIGN_CLASS: Final = re.compile(rb"__torch__\.torch\.classes\.(?!quantized\.)[\w.]+")


def verified_script(path: Path) -> io.BytesIO:
    """Return a new archive with the program and the weights of the archive at a path.

    Raises `ModelError` if the program may read or write files. It is checked before loading, which may already run
    parts of it.
    """
    with open_archive(path, f"torchscript {path}") as members:
        if not {"data.pkl", "constants.pkl"} <= members.keys():
            raise ModelError(
                f"torchscript {path}: not a TorchScript program, or damaged (it has no constants.pkl): expected what "
                f"torch.jit.save writes"
            )
        return write_archive(_verified(path, members))


def _verified(path: Path, members: Members) -> Iterator[tuple[str, bytes]]:
    for name in members:
        if _CODE.fullmatch(name):
            yield name, _require_no_files_reached(path, members[name])
        elif _NEEDED.fullmatch(name):
            yield name, _require_no_foreign_class(path, members[name]) if name.endswith(".pkl") else members[name]
        elif not _LEFT_OUT.fullmatch(name):
            raise ModelError(
                f"torchscript {path}: {name!r:.80} is nothing that torch.jit.save writes; nothing in it was run. Save "
                f"the model again with torch.jit.save"
            )


def _require_no_files_reached(path: Path, code: bytes) -> bytes:
    # The code is searched unchanged, and without comments that may split a name. The second search alone is not enough:
    # it removes everything after a number sign in a string.
    for text in (code, _BETWEEN.sub(b" ", code)):
        word = _REACHES_FILES.search(text)
        if word is not None:
            raise ModelError(
                f"torchscript {path}: its program has {_shortened(word[0])}, which may reach files; "
                f"it was not run. Save the model's state dict, and load it with checkpoint:FILE?arch=..."
            )
    return code


def _require_no_foreign_class(path: Path, pickled: bytes) -> bytes:
    name = _FOREIGN_CLASS.search(pickled)
    if name is not None:
        raise ModelError(
            f"torchscript {path}: it holds an object of {_shortened(name[0])}, which is no tensor; "
            f"it was not run. Save the model's state dict, and load it with checkpoint:FILE?arch=..."
        )
    return pickled


def _shortened(name: bytes) -> str:
    return " ".join(name.decode(errors="replace").split())[:80]
