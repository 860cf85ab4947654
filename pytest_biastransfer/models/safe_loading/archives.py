"""Zip archives of models: read in the one way that is possible, and written anew for torch.

torch's reader and Python's look for the members of an archive in different ways. What Python's reader sees is verified,
written into a new archive, and only that is given to torch. So it does not matter what torch would see in the file.
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
# Sizes that are written behind a member, with 4 or 8 bytes each.
_DESCRIPTOR_SIGNATURE: Final = b"PK\x07\x08"
_DESCRIPTOR_LENGTHS: Final = (16, 24)
# Sizes stand behind the member; names are UTF-8. Others mean encryption.
_KNOWN_FLAGS: Final = 0x0008 | 0x0800
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_END_LENGTH: Final = 22
_END_SIGNATURE: Final = b"PK\x05\x06"
# torch compresses nothing but source code.
_MOST_UNPACKED: Final = 256 * 2**20
_MOST_MEMBERS: Final = 200_000
_NAME: Final = re.compile(r"[\w.\-+=@ ]+(/[\w.\-+=@ ]+)*")


class Members(Mapping[str, bytes]):
    """The contents of an archive's members by their names, without the folder that all of them are in.

    One member is read at a time.
    """

    def __init__(self, archive: zipfile.ZipFile, place: str) -> None:
        self._archive = archive
        names = [info.filename for info in archive.infolist()]
        top = _common_folder(names)
        self._names = {name.removeprefix(top): name for name in names}
        self.place = place

    def __getitem__(self, name: str) -> bytes:
        return self._archive.read(self._names[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@contextmanager
def opened(path: Path, place: str) -> Iterator[Members]:
    """Open an archive; `place` names it in error messages, also for what is damaged while it is read.

    Raises `ModelError` where more than one archive could be read in the file, where a member is there twice (whatever
    the case of its name), encrypted or larger than it may be, and for names that lead elsewhere.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            _require_one_reading(archive, file, place)
            yield Members(archive, place)
    except _BROKEN as error:
        raise ModelError(f"{place}: no archive as torch writes it, or damaged ({error})") from error


def written(members: Iterator[tuple[str, bytes]], folder: str = "archive/") -> io.BytesIO:
    """Return a new archive with these members in a folder, which torch's reader leaves out of their names."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(f"{folder}{name}"), content)
    file.seek(0)
    return file


def _common_folder(names: list[str]) -> str:
    folders = {name.partition("/")[0] for name in names}
    return f"{folders.pop()}/" if len(folders) == 1 and all("/" in name for name in names) else ""


def _require_one_reading(archive: zipfile.ZipFile, file: IO[bytes], place: str) -> None:
    infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
    _require_plain_members(infos, place)
    if archive.comment:
        raise _ambiguous(place, "it ends with a comment")
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - _END_LENGTH))
    if file.read(4) != _END_SIGNATURE:
        raise _ambiguous(place, "something follows its end")
    position = 0
    for info in infos:
        position = _end_of_member(file, info, position, place)
    # Between the last member and the directory another archive could be.
    if position != archive.start_dir:
        raise _ambiguous(place, "something else is between its members and their directory")


def _require_plain_members(infos: list[zipfile.ZipInfo], place: str) -> None:
    if len(infos) > _MOST_MEMBERS:
        raise ModelError(f"{place}: has {len(infos)} members, more than any model; nothing in it was run")
    for name, count in Counter(info.filename.lower() for info in infos).items():
        if count > 1:
            raise ModelError(f"{place}: {name!r:.80} is there twice; nothing in it was run")
    for info in infos:
        name = info.filename
        dotted = any(not part.strip(". ") for part in name.split("/"))
        if not _NAME.fullmatch(name) or dotted or name != info.orig_filename:
            raise ModelError(f"{place}: a member is called {info.orig_filename!r:.80}; nothing in it was run")
        if info.flag_bits & ~_KNOWN_FLAGS:
            raise ModelError(f"{place}: {name!r:.80} is encrypted; nothing in it was run")
        if info.compress_type not in _METHODS:
            raise ModelError(f"{place}: {name!r:.80} is compressed as torch never does; nothing in it was run")
        if info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
            raise ModelError(f"{place}: {name!r:.80} is damaged: it has two sizes; nothing in it was run")
    unpacked = sum(info.file_size for info in infos if info.compress_type != zipfile.ZIP_STORED)
    if unpacked > _MOST_UNPACKED:
        raise ModelError(
            f"{place}: would be {unpacked:,} bytes when it is unpacked, more than {_MOST_UNPACKED:,}; torch compresses "
            f"no weights. Nothing in it was run"
        )


def _end_of_member(file: IO[bytes], info: zipfile.ZipInfo, position: int, place: str) -> int:
    """Return where a member ends that has to begin at a position, and to be there what the directory says."""
    if info.header_offset != position:
        reason = "it begins with something else" if position == 0 else "something else is between its members"
        raise _ambiguous(place, reason)
    file.seek(position)
    header = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    signature, _, flags, method = header[:4]
    name_length, extra_length = map(int, header[-2:])
    name = file.read(name_length)
    expected = info.orig_filename.encode("utf-8" if info.flag_bits & 0x0800 else "cp437")
    if signature != _LOCAL_SIGNATURE or name != expected or flags != info.flag_bits or method != info.compress_type:
        raise _ambiguous(place, f"{info.filename!r:.80} is another member than its directory says")
    end = position + _LOCAL_HEADER.size + name_length + extra_length + info.compress_size
    return end + _descriptor_length(file, end, info)


def _descriptor_length(file: IO[bytes], position: int, info: zipfile.ZipInfo) -> int:
    """Return the length of the sizes behind a member, which say what the directory says."""
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


def _ambiguous(place: str, reason: str) -> ModelError:
    return ModelError(f"{place}: is not the same archive for all who read it: {reason}; nothing in it was run")
