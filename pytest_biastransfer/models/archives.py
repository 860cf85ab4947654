"""Zip archives that torch loads programs from, as torch reads them."""

from __future__ import annotations

import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import torch

from pytest_biastransfer.errors import ModelError

_BROKEN: Final = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)


class Members(Mapping[str, bytes]):
    """The contents of an archive's members, by their names in small letters: torch finds them whatever the case.

    One member is read at a time. Raises `ModelError` where a member is there twice, or where torch's reader and
    Python's see other contents in the same file: what was looked at must be what is loaded.
    """

    def __init__(self, archive: zipfile.ZipFile, place: str) -> None:
        self._archive = archive
        self._place = place
        names = archive.namelist()
        for name, count in Counter(map(str.lower, names)).items():
            if count > 1:
                raise ModelError(f"{place}: {name} is there twice; nothing in it was run")
        self._names = {name.lower(): name for name in names}
        self._reader = _torchs_reader(archive)
        # Bytes before the first member belong to another archive, which other readers may find.
        if min((info.header_offset for info in archive.infolist()), default=0) != 0:
            raise self._ambiguous("it begins with something else")

    def __getitem__(self, name: str) -> bytes:
        member = self._names[name]
        content = self._archive.read(member)
        if self._reader is not None and _seen_by(self._reader, member) != content:
            raise self._ambiguous(f"torch reads something else in {member}")
        return content

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def _ambiguous(self, reason: str) -> ModelError:
        return ModelError(
            f"{self._place}: is not the same archive for all who read it: {reason}; nothing in it was run"
        )


@contextmanager
def opened(path: Path, place: str) -> Iterator[Members]:
    """Open an archive; `place` names it in error messages, also for what is damaged while it is read."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield Members(archive, place)
    except _BROKEN as error:
        raise ModelError(f"{place}: no archive as torch writes it, or damaged ({error})") from error


def _seen_by(reader: torch._C.PyTorchFileReader, member: str) -> bytes | None:
    # torch leaves out the folder that all members are in.
    try:
        found: bytes = reader.get_record(member.partition("/")[2])
    except RuntimeError:
        return None
    return found


def _torchs_reader(archive: zipfile.ZipFile) -> torch._C.PyTorchFileReader | None:
    """Return torch's own reader, or None for an archive that it cannot read: then torch uses Python's too."""
    try:
        return torch._C.PyTorchFileReader(str(archive.filename))
    except RuntimeError:
        return None
