"""Which code is the user's own, and what identifies it: files for theirs, versions for libraries."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import re
import site
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

_READING: Final = re.compile(
    rb"\b(environ|getenv|argv|open|load|safe_load|loads|loadtxt|genfromtxt|fromfile|read_\w+|imread|from_pretrained|"
    rb"import_module|glob|iglob|rglob|listdir|scandir|iterdir|Popen|check_output|urlopen)\b"
)


def code_identity(module_name: str) -> str:
    """Return what the code of a module is: its library's version, or a hash of the user's files.

    For the user's own code, all modules of theirs that it imports count too: a helper in another file
    decides about the result as much as the class itself. A module without files, as of code typed into
    a session, is identified by nothing here.
    """
    module = sys.modules.get(module_name)
    if module is None:
        return "no module"
    if is_users(module):
        return _hash_of(sorted({Path(file) for found in _reached(module) if (file := _file_of(found))}))
    top = sys.modules.get(module_name.partition(".")[0], module)
    version = getattr(top, "__version__", None)
    return f"{top.__name__} {version or _installed_version(top.__name__)}"


def user_files(module_names: Iterable[str]) -> set[Path]:
    """Return the files of the user's own code among the named modules, and of all that they import."""
    named = [sys.modules[name] for name in module_names if name in sys.modules]
    found = {_file_of(module) for start in named if is_users(start) for module in _reached(start)}
    return {Path(file) for file in found if file}


def libraries(module_names: Iterable[str]) -> dict[str, str | None]:
    """Return the versions of the libraries that modules belong to or, if they are the user's, import."""
    named = [sys.modules[name] for name in module_names if name in sys.modules]
    users = [module for start in named if is_users(start) for module in _reached(start)]
    places = {_module_name(value) for module in users for value in vars(module).values()}
    tops = {place.partition(".")[0] for place in places if place} | {
        module.__name__.partition(".")[0] for module in named
    }
    installed = importlib.metadata.packages_distributions()
    return versions({name for top in tops - sys.stdlib_module_names for name in installed.get(top, ())})


def versions(distributions: Iterable[str]) -> dict[str, str | None]:
    """Return the versions of installed distributions, None for one that is not installed."""
    return {name: _version(name) for name in distributions}


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def reads_elsewhere(files: Iterable[Path]) -> bool:
    """Whether code may depend on more than itself: on the environment, on arguments, on files that it reads."""
    return any(_READING.search(file.read_bytes()) for file in files)


@functools.cache
def _installed_version(library: str) -> str:
    """Return the version of a library that does not tell it; that of Python for its own modules."""
    if library not in sys.stdlib_module_names:
        for distribution in importlib.metadata.packages_distributions().get(library, ()):
            return importlib.metadata.version(distribution)
    return f"{sys.version_info[:2]}"


def is_users(module: types.ModuleType | None) -> bool:
    """Whether a module is the user's own: neither installed nor part of Python nor of this package.

    None, the module of what was made on the fly, is.
    """
    if module is None:
        return True
    file = _file_of(module)
    if file is None:
        return module.__name__ == "__main__"
    return not _is_in_a_library(file)


@functools.cache
def _is_in_a_library(file: str) -> bool:
    return any(Path(file).is_relative_to(place) for place in _library_places())


def _reached(start: types.ModuleType) -> Iterator[types.ModuleType]:
    """Yield `start` and the user's modules that its names come from, and theirs in turn."""
    seen, pending = {start.__name__}, [start]
    while pending:
        module = pending.pop()
        yield module
        for value in list(vars(module).values()):
            name = _module_name(value)
            if name is None or name in seen or name not in sys.modules:
                continue
            seen.add(name)
            if is_users(sys.modules[name]):
                pending.append(sys.modules[name])


def _module_name(value: object) -> str | None:
    """Return the name of the module that a value is or comes from."""
    name = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
    return name if isinstance(name, str) else None


def _file_of(module: types.ModuleType) -> str | None:
    file: str | None = getattr(module, "__file__", None)
    return file


def _hash_of(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


@functools.cache
def _library_places() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    installed = [paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"]]
    installed += [*site.getsitepackages(), site.getusersitepackages()]
    return (*map(Path, installed), Path(__file__).parent.parent)
