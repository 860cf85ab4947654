"""Finds code that may open files below Python, where audit hooks do not report it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from pytest_biastransfer.fingerprints.imports import Module
from pytest_biastransfer.fingerprints.reachable_code import mentions
from pytest_biastransfer.fingerprints.scopes import UnresolvableError
from pytest_biastransfer.fingerprints.source_code import container_of

# Functions, classes and modules that open files in C++ or Rust.
_READERS: Final = (
    "CDLL", "InferenceSession", "VideoCapture", "VideoReader", "decode_image", "h5py", "imread", "load_file",
    "load_library", "read_file", "read_image", "safe_open",
)  # fmt: skip
_TEXT: Final = re.compile(rf"\b({'|'.join(_READERS)}|jit\.load)\b".encode())


class UnseenRead(NamedTuple):
    """A mention of a function that may open files unseen: its name, the file and the line of the mention."""

    name: str
    file: str
    line: int


def unseen_read(code: Mapping[str, Module], objects: Iterable[str]) -> UnseenRead | None:
    """Return the first mention, in the code that objects can reach, of a function that may open files unseen.

    Where the code that can be reached cannot be told, any mention in any of the modules counts.

    Parameters
    ----------
    code
        The user's modules, by name.
    objects
        The classes and functions that a model is made of, as `reachable_code.mentions` takes them.
    """
    textual = list(_textual(code))
    # Nearly always there is none, and nothing is parsed.
    if not textual:
        return None
    try:
        reached = [UnseenRead(*mention) for mention in mentions(_READERS, code, objects)]
    except (UnresolvableError, RecursionError):
        return textual[0]
    return min(reached, key=lambda mention: mention[1:], default=None)


def _textual(code: Mapping[str, Module]) -> Iterator[UnseenRead]:
    for file in sorted({str(container_of(module.file)) for module in code.values() if module.file}):
        with open(file, "rb") as stream:  # noqa: PTH123 - a string
            for number, line in enumerate(stream, start=1):
                for match in _TEXT.finditer(line):
                    yield UnseenRead(match[1].decode(), file, number)
