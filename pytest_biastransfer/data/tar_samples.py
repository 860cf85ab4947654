"""Samples in tar files, as WebDataset defines them: consecutive files whose names are equal up to the first dot.

Nothing is extracted. Files are read at their offsets, so their names are only names, whatever directory they lead to.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pytest_biastransfer.errors import DatasetError

# The directory and the name up to the first dot, and what follows the dot.
_NAME: Final = re.compile(r"((?:.*/|)[^./]+)\.([^/]*)")
# Files about the shard, such as those that begin with two underscores, belong to no sample.
_OF_THE_SHARD: Final = re.compile(r"(?:.*/|)__[^/]*__(?:\.[^/]*)?")
_BLOCK_BYTES: Final = 512
_DAMAGE: Final = (tarfile.TarError, ValueError, EOFError, OverflowError)


@dataclass(frozen=True)
class Extent:
    """The bytes of one file in a shard."""

    name: str
    offset: int
    size: int


@dataclass
class Sample:
    """The files of one sample.

    Attributes
    ----------
    key
        Their common name, with its directory.
    files
        The place of each file, by what follows the first dot of its name, in small letters.
    """

    key: str
    files: dict[str, Extent] = field(default_factory=dict)


def samples_in(shard: Path) -> Iterator[Sample]:
    """Yield the samples of a shard, in its order; only the headers of its files are read.

    Raises
    ------
    DatasetError
        If the file is damaged, compressed or no tar file, with the offset where that shows; or if it has a link or a
        device, or two files of one name in a sample.
    OSError
        If the file cannot be opened.
    """
    sample: Sample | None = None
    for extent in _files_in(shard):
        name = _NAME.fullmatch(extent.name)
        if name is None or _OF_THE_SHARD.fullmatch(extent.name):
            continue
        key, suffix = name[1], name[2].lower()
        if sample is None or sample.key != key:
            if sample is not None:
                yield sample
            sample = Sample(key)
        if suffix in sample.files:
            raise DatasetError(f"webdataset {shard}: sample {key!r} has two files .{suffix}, expected one; rename one")
        sample.files[suffix] = extent
    if sample is not None:
        yield sample


def _files_in(shard: Path) -> Iterator[Extent]:
    """Yield the regular files of a tar file."""
    size = shard.stat().st_size
    try:
        archive = tarfile.open(shard, "r:")  # noqa: SIM115 - it is closed below
    except _DAMAGE as error:
        raise DatasetError(
            f"webdataset {shard}: {_what_it_is(shard)} ({error}), expected an uncompressed tar file; write it again"
        ) from error
    with archive:
        while (member := _next(archive, shard)) is not None:
            _require_plain(shard, member)
            if not 0 <= member.size <= size - member.offset_data:
                raise _damaged(shard, member.offset, f"{member.name!r} is said to have {member.size:,} bytes")
            if member.isreg():
                yield Extent(member.name, member.offset_data, member.size)
        _require_end(shard, archive.offset)


def _next(archive: tarfile.TarFile, shard: Path) -> tarfile.TarInfo | None:
    try:
        return archive.next()
    except _DAMAGE as error:
        raise _damaged(shard, archive.offset, str(error)) from error


def _require_plain(shard: Path, member: tarfile.TarInfo) -> None:
    if not (member.isreg() or member.isdir()) or member.issparse():
        kind = "link" if member.islnk() or member.issym() else "sparse file" if member.issparse() else "device"
        raise DatasetError(
            f"webdataset {shard}: {member.name!r} at byte {member.offset:,} is a {kind}, expected files and "
            f"directories only; write the file itself"
        )


def _require_end(shard: Path, offset: int) -> None:
    """Raise unless there is the mark of the end, a block of zeros: the library takes a damaged header for the end."""
    with shard.open("rb") as file:
        file.seek(offset)
        block = file.read(_BLOCK_BYTES)
    if block != bytes(_BLOCK_BYTES):
        problem = (
            "the file ends there, without a mark of its end" if len(block) < _BLOCK_BYTES else "no header is there"
        )
        raise _damaged(shard, offset, problem)


def _damaged(shard: Path, offset: int, problem: str) -> DatasetError:
    return DatasetError(f"webdataset {shard}: is damaged at byte {offset:,} ({problem}); copy or write it again")


def _what_it_is(shard: Path) -> str:
    with shard.open("rb") as file:
        start = file.read(6)
    kinds: Mapping[bytes, str] = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
    for magic, name in kinds.items():
        if start.startswith(magic):
            return f"is compressed with {name}, and images could not be read at random"
    return "is no tar file, or is damaged"


def read_extent(shard: os.PathLike[str] | str, offset: int, size: int) -> bytes:
    """Return bytes of a shard; raises OSError, and EOFError if the file has become shorter."""
    with open(shard, "rb") as file:  # noqa: PTH123 - half the time of Path.open
        file.seek(offset)
        content = file.read(size)
    if len(content) < size:
        raise EOFError(f"{shard}: ends before byte {offset + size:,}")
    return content
