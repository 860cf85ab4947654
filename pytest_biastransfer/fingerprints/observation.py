"""Records what code reads while it runs: files, directories, environment variables and other inputs.

Python reports files, directories, programs and connections to audit hooks (PEP 578). It does not report reads of
environment variables, so ``os.environ`` itself gets a class that records them. Reads below Python, such as by C's
``getenv`` or by a library that opens files in C++ or Rust, are not visible.
"""

from __future__ import annotations

import functools
import gc
import operator
import os
import sys
import threading
import types
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from pytest_biastransfer.fingerprints.installed import FRAMEWORKS, sha256_of_text
from pytest_biastransfer.fingerprints.reads import ELSEWHERE, NotComparableError, Reads, is_of_a_library, state_of
from pytest_biastransfer.fingerprints.source_code import THIS_PACKAGE, is_users_file

_LISTING: Final = ("os.listdir", "os.scandir")
# The files that compilers read affect speed, not results.
_COMPILERS: Final = ("torch._dynamo", "torch._inductor")
# What `Reads.elsewhere` has besides the names of events.
_ARGUMENTS: Final = "sys.argv"
_ENVIRONMENT: Final = "all environment variables"


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


def reads_of_imports(names: Iterable[str]) -> Reads:
    """Return what was read while modules were imported.

    Raises `NotComparableError` with one that was imported without observation.
    """
    reads = Reads()
    for name in names:
        module = sys.modules.get(name)
        if module is None:
            continue
        imported, observed = _imported.get(name, (None, Reads()))
        if imported is None or imported() is not module:
            raise NotComparableError(name)
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
        if _reader(sys._getframe(1)) is not None:
            name = os.fsdecode(key) if isinstance(key, str | bytes) else str(key)
            value = self._data.get(self.encodekey(key)) if isinstance(key, str | bytes) else None
            text = None if value is None else os.fsdecode(value)
            digest = None if text is None else sha256_of_text(text)
            for reads in _active:
                reads.variables.setdefault(name, digest)
        return super().__getitem__(key)

    def __iter__(self) -> Iterator[Any]:
        _note_elsewhere(_ENVIRONMENT, sys._getframe(1))
        yield from super().__iter__()

    def __len__(self) -> int:
        _note_elsewhere(_ENVIRONMENT, sys._getframe(1))
        return len(self._data)


class _Arguments(list[str]):
    def __getitem__(self, index: Any) -> Any:
        _note_elsewhere(_ARGUMENTS, sys._getframe(1))
        return super().__getitem__(index)

    def __iter__(self) -> Iterator[str]:
        _note_elsewhere(_ARGUMENTS, sys._getframe(1))
        return super().__iter__()

    def __len__(self) -> int:
        _note_elsewhere(_ARGUMENTS, sys._getframe(1))
        return super().__len__()

    def __contains__(self, argument: object) -> bool:
        _note_elsewhere(_ARGUMENTS, sys._getframe(1))
        return super().__contains__(argument)

    def __eq__(self, other: object) -> bool:
        _note_elsewhere(_ARGUMENTS, sys._getframe(1))
        return super().__eq__(other)

    __hash__ = None

    def copy(self) -> list[str]:
        _note_elsewhere(_ARGUMENTS, sys._getframe(1))
        return super().copy()


def _note_elsewhere(read: str, frame: types.FrameType) -> None:
    reader = _reader(frame)
    if reader is not None:
        for reads in _active:
            reads.note_elsewhere(read, reader)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _active or getattr(_here, "busy", False):
        return
    is_open, is_listing = event == "open", event in _LISTING
    if not (is_open or is_listing or event.startswith(ELSEWHERE)):
        return
    _here.busy = True
    try:
        frame = sys._getframe(1)
        # Imports list directories too. Whether they would find the same modules is checked elsewhere.
        reader = None if is_listing and frame.f_code.co_filename.startswith("<frozen ") else _reader(frame)
        if reader is not None:
            _note(event, arguments, is_open, is_listing, reader)
    finally:
        _here.busy = False


def _note(event: str, arguments: tuple[Any, ...], is_open: bool, is_listing: bool, reader: types.FrameType) -> None:
    path = arguments[0] if arguments else None
    if is_open and (isinstance(path, int) or not _reads(*arguments[1:3])):
        return
    if event == "ctypes.dlopen" and (path is None or is_of_a_library(os.path.abspath(os.fsdecode(path)))):  # noqa: PTH100
        return
    for reads in _active:
        if not (is_open or is_listing):
            reads.note_elsewhere(event, reader)
        elif isinstance(path, int):
            reads.note_elsewhere("a directory by its number", reader)
        else:
            absolute = os.path.abspath(os.fsdecode(path if path is not None else "."))  # noqa: PTH100 - a string
            if is_open:
                reads.files.setdefault(absolute, state_of(absolute))
                reads.origins.setdefault(absolute, (reader.f_code.co_filename, reader.f_lineno))
            else:
                reads.directories.add(absolute)


def _reads(mode: Any, flags: Any) -> bool:
    """Whether a file is opened to be read."""
    if isinstance(mode, str):
        return "r" in mode or "+" in mode
    return not isinstance(flags, int) or flags & os.O_WRONLY == 0


def _reader(frame: types.FrameType | None) -> types.FrameType | None:
    """Return the frame of the code that reads: the user's, or that of a library that is none of the frameworks.

    Reads of this package are not recorded, nor those of frameworks while they are imported or called by this package.
    """
    if getattr(_here, "exempt", False):
        return None
    library: types.FrameType | None = None
    while frame is not None:
        name = frame.f_globals.get("__name__")
        top = name.partition(".")[0] if isinstance(name, str) else ""
        if top in FRAMEWORKS:
            if frame.f_code.co_name == "<module>" or str(name).startswith(_COMPILERS):
                return None
            library = None
        elif name != __name__ and top == THIS_PACKAGE:
            # This package called a library that is no framework: it may be the model's own package.
            return library
        elif name != __name__ and top != "__main__" and top not in sys.stdlib_module_names:
            if _is_users(frame.f_code.co_filename, top):
                return frame
            library = frame
        frame = frame.f_back
    return library


@functools.lru_cache(maxsize=10_000)
def _is_users(file: str, top: str) -> bool:
    # Generated code has no file.
    return file.startswith("<") or is_users_file(os.path.abspath(file), top)  # noqa: PTH100 - a string
