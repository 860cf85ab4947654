"""What code has read, as another session can compare it: files, directories, environment variables and other inputs."""

from __future__ import annotations

import importlib.util
import os
import types
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pytest_biastransfer.fingerprints.installed import distribution_of, sha256_of_text
from pytest_biastransfer.fingerprints.source_code import is_of_python
from pytest_biastransfer.regular_files import sha256_of_file

# Events whose outcome may differ the next time, and cannot be compared.
ELSEWHERE: Final = (
    "socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "urllib.", "http.",
    "ftplib.", "sqlite3.", "ctypes.dlopen", "winreg.",
)  # fmt: skip
_OF_THE_MACHINE: Final = ("/proc/", "/sys/", "/dev/")


@dataclass
class Reads:
    """The inputs that code has read.

    Attributes
    ----------
    files
        Absolute paths, with sizes and modification times when they were read; None for a missing file.
    directories
        Directories whose entries were listed.
    variables
        Names of environment variables, with hashes of their values; None for one that was not set.
    elsewhere
        Inputs that cannot be compared in the next session.
    modules
        Modules that were imported meanwhile.
    origins
        The file and the line of the code that first read one of `files` or `elsewhere`.
    """

    files: dict[str, tuple[int, int] | None] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)
    variables: dict[str, str | None] = field(default_factory=dict)
    elsewhere: set[str] = field(default_factory=set)
    modules: set[str] = field(default_factory=set)
    origins: dict[str, tuple[str, int]] = field(default_factory=dict)

    def __or__(self, other: Reads) -> Reads:
        """Return the inputs of both."""
        return Reads(
            {**other.files, **self.files},
            self.directories | other.directories,
            {**other.variables, **self.variables},
            self.elsewhere | other.elsewhere,
            self.modules | other.modules,
            {**other.origins, **self.origins},
        )

    def files_besides(self, covered: Iterable[Path | str]) -> dict[str, str | None]:
        """Return the hashes of the files that are neither in `covered` nor in a library; None for a missing file.

        Raises `NotComparableError` with a file that was removed or changed since it was read, whose hash then is
        unknown, and with one that tells of the machine.
        """
        own = {os.path.abspath(path) for path in covered}  # noqa: PTH100 - strings
        digests: dict[str, str | None] = {}
        for path, state in self.files.items():
            source = source_of(path)
            if path in own or source in own or is_of_a_library(source):
                continue
            # Python writes the compiled file after it has read the source, so only the source is compared.
            before = state_of(source) if source != path else state
            if source.startswith(_OF_THE_MACHINE) or before != state_of(source):
                raise NotComparableError(path)
            try:
                digests[source] = None if before is None else sha256_of_file(Path(source)).hex()
            except OSError as error:
                raise NotComparableError(path) from error
        return digests

    def note_elsewhere(self, read: str, frame: types.FrameType) -> None:
        """Add an input that cannot be compared, and the code that reads it."""
        self.elsewhere.add(read)
        self.origins.setdefault(read, (frame.f_code.co_filename, frame.f_lineno))


class NotComparableError(Exception):
    """Code has read something that another session cannot compare: a file, or all that a module reads.

    Attributes
    ----------
    subject
        The path of the file, or the name of the module.
    """

    def __init__(self, subject: str) -> None:
        super().__init__(subject)
        self.subject = subject


def described(read: str) -> str:
    """Return what code does that has a read in `Reads.elsewhere`.

    >>> described("sys.argv"), described("socket.connect")
    ('reads sys.argv', 'calls socket.connect')
    """
    return f"calls {read}" if read.startswith(ELSEWHERE) else f"reads {read}"


def variable(name: str) -> str | None:
    """Return a hash of the value of an environment variable, None if it is not set."""
    value = os.environ.get(name)
    # Hashed, as values may be secrets.
    return None if value is None else sha256_of_text(value)


def state_of(path: str) -> tuple[int, int] | None:
    """Return the size and the modification time of a file; None if there is none."""
    try:
        state = os.stat(path)  # noqa: PTH116 - half the time of Path.stat
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns


def source_of(path: str) -> str:
    """Return the source of a compiled module; the path itself for any other file."""
    try:
        return importlib.util.source_from_cache(path)
    except ValueError:
        return path


def is_of_a_library(path: str) -> bool:
    """Whether a file belongs to Python or to an installed library, whose RECORD identifies it."""
    if is_of_python(path):
        return True
    installed = distribution_of(path)
    return installed is not None and not installed.is_local
