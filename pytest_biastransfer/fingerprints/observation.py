"""Records what code reads while it runs: files, directories, environment variables and other inputs.

Python reports files, directories, programs and connections to audit hooks (PEP 578). It does not report reads of
environment variables, so ``os.environ`` itself gets a class that records them. Reads below Python, such as by C's
``getenv`` or by a library that opens files in C++ or Rust, are not visible.
"""

from __future__ import annotations

import functools
import gc
import importlib.util
import operator
import os
import re
import sys
import threading
import types
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pytest_biastransfer.fingerprints.installed import FRAMEWORKS, distribution_of, sha256_of_text
from pytest_biastransfer.fingerprints.source_code import THIS_PACKAGE, is_of_python, is_users_file
from pytest_biastransfer.regular_files import sha256_of_file

_LISTING: Final = ("os.listdir", "os.scandir")
# Events whose outcome may differ the next time, and cannot be compared.
_ELSEWHERE: Final = (
    "socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "urllib.", "http.",
    "ftplib.", "sqlite3.", "ctypes.dlopen", "winreg.",
)  # fmt: skip
_BELOW_PYTHON: Final = re.compile(
    rb"\b(safe_open|load_file|jit\.load|load_library|imread|read_image|read_file|decode_image|InferenceSession|h5py|"
    rb"VideoReader|VideoCapture|CDLL)\b"
)
# The files that compilers read affect speed, not results.
_COMPILERS: Final = ("torch._dynamo", "torch._inductor")
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
    """

    files: dict[str, tuple[int, int] | None] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)
    variables: dict[str, str | None] = field(default_factory=dict)
    elsewhere: set[str] = field(default_factory=set)
    modules: set[str] = field(default_factory=set)

    def __or__(self, other: Reads) -> Reads:
        """Return the inputs of both."""
        return Reads(
            {**other.files, **self.files},
            self.directories | other.directories,
            {**other.variables, **self.variables},
            self.elsewhere | other.elsewhere,
            self.modules | other.modules,
        )

    def files_besides(self, covered: Iterable[Path | str]) -> dict[str, str | None] | None:
        """Return the hashes of the files that are neither in `covered` nor in a library; None if that is impossible.

        It is impossible for a file that was removed or changed since it was read: its hash then is unknown.
        """
        own = {os.path.abspath(path) for path in covered}  # noqa: PTH100 - strings
        digests: dict[str, str | None] = {}
        for path, state in self.files.items():
            source = source_of(path)
            if path in own or source in own or is_of_a_library(source):
                continue
            # Python writes the compiled file after it has read the source, so only the source is compared.
            before = _state(source) if source != path else state
            if source.startswith(_OF_THE_MACHINE) or before != _state(source):
                return None
            try:
                digests[source] = None if before is None else sha256_of_file(Path(source)).hex()
            except OSError:
                return None
        return digests


def exempt_thread() -> None:
    """Record nothing that this thread reads, from now on: it works for this package, whatever else runs meanwhile."""
    _here.exempt = True


@contextmanager
def unobserved() -> Iterator[None]:
    """Record nothing that this thread reads in this context: the caller knows what the result depends on."""
    before = getattr(_here, "exempt", False)
    _here.exempt = True
    try:
        yield
    finally:
        _here.exempt = before


def reads_below_python(files: Iterable[Path]) -> bool:
    """Whether code mentions functions that open files in C++ or Rust, which audit hooks do not report."""
    return any(_BELOW_PYTHON.search(file.read_bytes()) for file in files)


def variable(name: str) -> str | None:
    """Return a hash of the value of an environment variable, None if it is not set."""
    value = os.environ.get(name)
    # Hashed, as values may be secrets.
    return None if value is None else sha256_of_text(value)


def reads_of_imports(names: Iterable[str]) -> Reads | None:
    """Return what was read while modules were imported; None if one of them was imported without observation."""
    reads = Reads()
    for name in names:
        module = sys.modules.get(name)
        if module is None:
            continue
        imported, observed = _imported.get(name, (None, Reads()))
        if imported is None or imported() is not module:
            return None
        reads |= observed
    return reads


@contextmanager
def observing() -> Iterator[Reads]:
    """Record what any thread reads in this context."""
    if not _hooked:
        _hooked.append(True)
        # An audit hook cannot be removed; this one does nothing while there is no observation.
        sys.addaudithook(_hook)
    reads, before, arguments = Reads(), list(sys.modules.values()), sys.argv
    sys.argv = _Arguments(arguments)
    environments = [mapping for mapping in (os.environ, getattr(os, "environb", None)) if type(mapping) is _Environ]
    if len(environments) == 0:
        reads.elsewhere.add("an environment of another type")
    # The class is changed, not the object: other code may have kept a reference to `os.environ`.
    for mapping in environments:
        mapping.__class__ = _ObservedEnvironment
    if not _active and gc.isenabled():
        # Finalizers of other objects would run inside the observed code, and what they read would count as its own.
        gc.disable()
        _collecting.append(True)
    _active.append(reads)
    try:
        yield reads
    finally:
        _active.remove(reads)
        if not _active and _collecting:
            _collecting.clear()
            gc.enable()
        if not _active:
            for mapping in environments:
                mapping.__class__ = _Environ
        if type(sys.argv) is _Arguments:
            sys.argv = arguments
        reads.modules |= _modules_besides(before)
        for name in reads.modules & sys.modules.keys():
            if isinstance(sys.modules[name], types.ModuleType):
                _imported[name] = weakref.ref(sys.modules[name]), reads


def _modules_besides(before: list[types.ModuleType]) -> set[str]:
    """Return the names of the imported modules that were not imported before."""
    # Each chunk of images is observed, and imports are rare. Python reports each call of `id` to the audit hook, which
    # takes milliseconds for the thousands of modules, so `id` is called only where something was imported.
    after = list(sys.modules.values())
    if len(after) == len(before) and all(map(operator.is_, after, before)):
        return set()
    # By identity: multiprocessing gives `__main__` a second name, which is no import.
    identities = set(map(id, before))
    return {name for name, module in list(sys.modules.items()) if id(module) not in identities}


_Environ: Final = type(os.environ)
# Module-level state, as an audit hook belongs to the process.
_active: Final[list[Reads]] = []
_hooked: Final[list[bool]] = []
# Whether garbage was collected before the observation began.
_collecting: Final[list[bool]] = []
_imported: Final[dict[str, tuple[Any, Reads]]] = {}
_here: Final = threading.local()


class _ObservedEnvironment(_Environ):  # type: ignore[valid-type, misc]
    def __getitem__(self, key: Any) -> Any:
        if _is_of_interest(sys._getframe(1)):
            name = os.fsdecode(key) if isinstance(key, str | bytes) else str(key)
            value = self._data.get(self.encodekey(key)) if isinstance(key, str | bytes) else None
            text = None if value is None else os.fsdecode(value)
            digest = None if text is None else sha256_of_text(text)
            for reads in _active:
                reads.variables.setdefault(name, digest)
        return super().__getitem__(key)

    def __iter__(self) -> Iterator[Any]:
        _note_elsewhere("all environment variables", sys._getframe(1))
        yield from super().__iter__()

    def __len__(self) -> int:
        _note_elsewhere("all environment variables", sys._getframe(1))
        return len(self._data)


class _Arguments(list[str]):
    def __getitem__(self, index: Any) -> Any:
        _note_elsewhere("arguments", sys._getframe(1))
        return super().__getitem__(index)

    def __iter__(self) -> Iterator[str]:
        _note_elsewhere("arguments", sys._getframe(1))
        return super().__iter__()


def _note_elsewhere(origin: str, frame: types.FrameType) -> None:
    if _is_of_interest(frame):
        for reads in _active:
            reads.elsewhere.add(origin)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _active or getattr(_here, "busy", False):
        return
    is_open, is_listing = event == "open", event in _LISTING
    if not (is_open or is_listing or event.startswith(_ELSEWHERE)):
        return
    _here.busy = True
    try:
        frame = sys._getframe(1)
        # Imports list directories too. Whether they would find the same modules is checked elsewhere.
        if not (is_listing and frame.f_code.co_filename.startswith("<frozen ")) and _is_of_interest(frame):
            _note(event, arguments, is_open, is_listing)
    finally:
        _here.busy = False


def _note(event: str, arguments: tuple[Any, ...], is_open: bool, is_listing: bool) -> None:
    path = arguments[0] if arguments else None
    if is_open and (isinstance(path, int) or not _reads(*arguments[1:3])):
        return
    if event == "ctypes.dlopen" and (path is None or is_of_a_library(os.path.abspath(os.fsdecode(path)))):  # noqa: PTH100
        return
    for reads in _active:
        if not (is_open or is_listing):
            reads.elsewhere.add(event)
        elif isinstance(path, int):
            reads.elsewhere.add("a directory by its number")
        else:
            absolute = os.path.abspath(os.fsdecode(path if path is not None else "."))  # noqa: PTH100 - a string
            if is_open:
                reads.files.setdefault(absolute, _state(absolute))
            else:
                reads.directories.add(absolute)


def _reads(mode: Any, flags: Any) -> bool:
    """Whether a file is opened to be read."""
    if isinstance(mode, str):
        return "r" in mode or "+" in mode
    return not isinstance(flags, int) or flags & os.O_WRONLY == 0


def _is_of_interest(frame: types.FrameType | None) -> bool:
    """Whether a read comes from the user's code, directly or through a library.

    Reads of this package are not recorded, nor those of frameworks while they are imported or called by this package.
    """
    if getattr(_here, "exempt", False):
        return False
    by_a_library = False
    while frame is not None:
        name = frame.f_globals.get("__name__")
        top = name.partition(".")[0] if isinstance(name, str) else ""
        if top in FRAMEWORKS:
            if frame.f_code.co_name == "<module>" or str(name).startswith(_COMPILERS):
                return False
            by_a_library = False
        elif name != __name__ and top == THIS_PACKAGE:
            # This package called a library that is no framework: it may be the model's own package.
            return by_a_library
        elif name != __name__ and top != "__main__" and top not in sys.stdlib_module_names:
            if _is_users(frame.f_code.co_filename, top):
                return True
            by_a_library = True
        frame = frame.f_back
    return by_a_library


@functools.lru_cache(maxsize=10_000)
def _is_users(file: str, top: str) -> bool:
    # Generated code has no file.
    return file.startswith("<") or is_users_file(os.path.abspath(file), top)  # noqa: PTH100 - a string


def _state(path: str) -> tuple[int, int] | None:
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
