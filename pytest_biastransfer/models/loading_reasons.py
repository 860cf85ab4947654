"""Why a model was not known from an earlier session and had to be loaded: in words, with the file and the line."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_biastransfer.fingerprints.reads import Reads, described

if TYPE_CHECKING:
    from pytest_biastransfer.fingerprints.unseen_reads import UnseenRead
    from pytest_biastransfer.models.model import Model


@dataclass(frozen=True)
class LoadingReason:
    """Why a model was loaded.

    Attributes
    ----------
    text
        A sentence without its end, such as "its code reads sys.argv (net.py:7)".
    lasts
        Whether it is a reason in each session, even if nothing changes.
    """

    text: str
    lasts: bool = False

    def __str__(self) -> str:
        return f"{self.text}; without this, it is loaded only when something changes" if self.lasts else self.text


# Told of each model that was loaded although its spec names it.
Listener = Callable[["Model", LoadingReason], None]


def no_listener(model: Model, reason: LoadingReason) -> None:
    """Do nothing: nobody asks why models are loaded."""


FIRST_TIME = LoadingReason("first time")
NEEDED = LoadingReason("it has not changed, but the store does not have all that a test asked for")
PATCHED = LoadingReason("its code was imported or changed in this session before the model was needed")
NO_STORE = LoadingReason("there is no store that this session can write to", lasts=True)


def what_changed(environment: Mapping[str, str | None], before: Mapping[str, str | None] | None) -> LoadingReason:
    """Return why a model is not known with these versions; `before` are those that it was loaded with, if it was."""
    if before is None:
        return FIRST_TIME
    for name, version in environment.items():
        if before.get(name) != version:
            now, then = (str(text).partition(" ")[0] for text in (version, before.get(name)))
            return LoadingReason(f"{name} {now} is installed, it was {then} when it was measured")
    return LoadingReason("no session has described it in the store yet")


def uncomparable(reads: Reads, directory: Path) -> str:
    """Return what code has read that cannot be compared in the next session."""
    read = min(reads.elsewhere)
    return f"its code {described(read)}{_position(reads, read, directory)}"


def changing_file(reads: Reads, path: str, directory: Path) -> str:
    """Return that code has read a file whose content is not that of the next session."""
    return f"its code reads {_named(path, directory)}, which changes{_position(reads, path, directory)}"


def below_python(mention: UnseenRead, directory: Path) -> str:
    """Return that code may open files unseen."""
    return (
        f"its code may read a file by {mention.name} ({_named(mention.file, directory)}:{mention.line}), which Python "
        f"does not report"
    )


def changed_file(path: str, exists: bool, code: Collection[str | None], read: Collection[str], directory: Path) -> str:
    """Return that a file is not as it was: of its code, one that the code reads, or one of the spec."""
    name = _named(path, directory)
    if not exists:
        return f"{name} is missing"
    if path in code:
        return f"its code changed ({name})"
    if path in read:
        return f"{name} changed, which its code reads"
    return f"its file {name} changed since it was measured"


def _position(reads: Reads, read: str, directory: Path) -> str:
    if read not in reads.origins:
        return ""
    file, line = reads.origins[read]
    return f" ({_named(file, directory)}:{line})"


def _named(path: str, directory: Path) -> str:
    """Return a path, relative to the directory of specs if it is in there."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - links are no other place
    root = Path(os.path.abspath(directory))  # noqa: PTH100
    return (absolute.relative_to(root) if absolute.is_relative_to(root) else absolute).as_posix()
