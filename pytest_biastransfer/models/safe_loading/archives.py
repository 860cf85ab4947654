"""Opens zip archives of models strictly, and writes verified members to a new archive for torch.

torch's reader and Python's reader find the members of an archive in different ways, so one file can show each of them
other content. Members are verified as Python's reader sees them, and written to a new archive. torch reads only the new
archive, so it does not matter what torch would find in the original file.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from pytest_biastransfer.errors import ModelError

_BROKEN: Final = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, ValueError)
_LOCAL_HEADER: Final = struct.Struct("<4sHHHHHLLLHH")
_LOCAL_SIGNATURE: Final = b"PK\x03\x04"
# A data descriptor after a member repeats its sizes, with 4 or 8 bytes each.
_DESCRIPTOR_SIGNATURE: Final = b"PK\x07\x08"
_DESCRIPTOR_LENGTHS: Final = (16, 24)
# Allowed are a data descriptor and UTF-8 names. Other flags mean encryption.
_ALLOWED_FLAGS: Final = 0x0008 | 0x0800
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_END_LENGTH: Final = 22
_END_SIGNATURE: Final = b"PK\x05\x06"
# torch compresses only source code, so a larger size is a zip bomb.
_MOST_UNPACKED: Final = 256 * 2**20
_MOST_MEMBERS: Final = 200_000
_NAME: Final = re.compile(r"[\w.\-+=@ ]+(/[\w.\-+=@ ]+)*")


class Members(Mapping[str, bytes]):
    """The contents of an archive's members by name, without their common top folder; each access reads one member."""

    def __init__(self, archive: zipfile.ZipFile, location: str) -> None:
        self._archive = archive
        names = [info.filename for info in archive.infolist()]
        top = _common_folder(names)
        self._names = {name.removeprefix(top): name for name in names}
        self.location = location

    def __getitem__(self, name: str) -> bytes:
        return self._archive.read(self._names[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@contextmanager
def open_archive(path: Path, location: str) -> Iterator[Members]:
    """Open an archive; `location` names it in error messages, also for damage that shows while members are read.

    Raises `ModelError` if two readers could see different archives in the file, if a member occurs twice (in any case
    of its name), is encrypted or too large, and for names that lead out of the archive.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            _require_unambiguous(archive, file, location)
            yield Members(archive, location)
    except _BROKEN as error:
        raise ModelError(f"{location}: no archive as torch writes it, or damaged ({error})") from error


def write_archive(members: Iterator[tuple[str, bytes]], folder: str = "archive/") -> io.BytesIO:
    """Return a new archive with these members in a top folder, which torch's reader strips from their names."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(f"{folder}{name}"), content)
    file.seek(0)
    return file


def _common_folder(names: list[str]) -> str:
    folders = {name.partition("/")[0] for name in names}
    return f"{folders.pop()}/" if len(folders) == 1 and all("/" in name for name in names) else ""


def _require_unambiguous(archive: zipfile.ZipFile, file: IO[bytes], location: str) -> None:
    infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
    _require_plain_members(infos, location)
    if archive.comment:
        raise _ambiguous(location, "it ends with a comment")
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - _END_LENGTH))
    if file.read(4) != _END_SIGNATURE:
        raise _ambiguous(location, "something follows its end")
    position = 0
    for info in infos:
        position = _end_of_member(file, info, position, location)
    # Another archive could hide between the last member and the central directory.
    if position != archive.start_dir:
        raise _ambiguous(location, "something else is between its members and their directory")


def _require_plain_members(infos: list[zipfile.ZipInfo], location: str) -> None:
    if len(infos) > _MOST_MEMBERS:
        raise ModelError(f"{location}: has {len(infos)} members, more than any model; nothing in it was run")
    for name, count in Counter(info.filename.lower() for info in infos).items():
        if count > 1:
            raise ModelError(f"{location}: {name!r:.80} is there twice; nothing in it was run")
    for info in infos:
        name = info.filename
        dotted = any(not component.strip(". ") for component in name.split("/"))
        if not _NAME.fullmatch(name) or dotted or name != info.orig_filename:
            raise ModelError(f"{location}: a member is called {info.orig_filename!r:.80}; nothing in it was run")
        if info.flag_bits & ~_ALLOWED_FLAGS:
            raise ModelError(f"{location}: {name!r:.80} is encrypted; nothing in it was run")
        if info.compress_type not in _METHODS:
            raise ModelError(f"{location}: {name!r:.80} is compressed as torch never does; nothing in it was run")
        if info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
            raise ModelError(f"{location}: {name!r:.80} is damaged: it has two sizes; nothing in it was run")
    unpacked = sum(info.file_size for info in infos if info.compress_type != zipfile.ZIP_STORED)
    if unpacked > _MOST_UNPACKED:
        raise ModelError(
            f"{location}: would be {unpacked:,} bytes when it is unpacked, more than {_MOST_UNPACKED:,}; torch "
            f"compresses no weights. Nothing in it was run"
        )


def _end_of_member(file: IO[bytes], info: zipfile.ZipInfo, position: int, location: str) -> int:
    """Return the end of a member; raise unless it begins at `position` and its header agrees with the directory."""
    if info.header_offset != position:
        reason = "it begins with something else" if position == 0 else "something else is between its members"
        raise _ambiguous(location, reason)
    file.seek(position)
    header = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    signature, _, flags, method = header[:4]
    name_length, extra_length = map(int, header[-2:])
    name = file.read(name_length)
    expected = info.orig_filename.encode("utf-8" if info.flag_bits & 0x0800 else "cp437")
    if signature != _LOCAL_SIGNATURE or name != expected or flags != info.flag_bits or method != info.compress_type:
        raise _ambiguous(location, f"{info.filename!r:.80} is another member than its directory says")
    end = position + _LOCAL_HEADER.size + name_length + extra_length + info.compress_size
    return end + _descriptor_length(file, end, info)


def _descriptor_length(file: IO[bytes], position: int, info: zipfile.ZipInfo) -> int:
    """Return the length of the data descriptor after a member; raise unless it agrees with the directory."""
    if not info.flag_bits & 0x0008:
        return 0
    file.seek(position)
    content = file.read(max(_DESCRIPTOR_LENGTHS))
    sizes = (info.CRC, info.compress_size, info.file_size)
    for length, form in zip(_DESCRIPTOR_LENGTHS, ("<LLL", "<LQQ"), strict=True):
        if form == "<LLL" and max(sizes) > 0xFFFFFFFF:
            continue
        if content[:length] == _DESCRIPTOR_SIGNATURE + struct.pack(form, *sizes):
            return length
    raise zipfile.BadZipFile(f"the sizes behind {info.filename!r:.80} are missing")


def _ambiguous(location: str, reason: str) -> ModelError:
    return ModelError(f"{location}: is not the same archive for all who read it: {reason}; nothing in it was run")
