"""Which code is the user's own, and what identifies it: files for theirs, the RECORD of its library for other code."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from pytest_biastransfer.fingerprints.imports import Module, content_of, imported_by, module_named, module_of
from pytest_biastransfer.fingerprints.installed import FRAMEWORKS, Installed, distribution_of, identity_of, record_of

THIS_PACKAGE: Final = __name__.partition(".")[0]


class CodeBase:
    """The code of this process as it is now; each file is read once."""

    def __init__(self) -> None:
        self._digests: dict[str, tuple[str, frozenset[str]]] = {}
        self.identity = functools.cache(self._identity)

    def _identity(self, module_name: str) -> str:
        """Return what the code of a module is: that of its library, or a hash of the user's files.

        For the user's own code, all modules of theirs that it imports count too: a helper in another file
        decides about the result as much as the class itself. A module without files, as of code typed into
        a session, is identified by nothing here.
        """
        module = sys.modules.get(module_name)
        if module is None:
            return "no module"
        if not is_users(module):
            return library_identity(module)
        reached = self.reached(module)
        digest = hashlib.sha256()
        # By name, except that a script's name is that of its file; not by place.
        for name in sorted(reached):
            digest.update(self._content(reached[name])[0].encode())
        return digest.hexdigest()

    def reached(self, start: types.ModuleType) -> dict[str, Module]:
        """Return, by name, the user's modules that a module imports or has its values from, and theirs in turn."""
        every = {start.__name__: module_of(start)}
        pending = [start.__name__]
        while pending:
            current = pending.pop()
            module = every[current]
            names = {*self.imports(module), *_named_by_values(current)}
            for name in sorted(names - every.keys()):
                if name.partition(".")[0] in sys.stdlib_module_names | FRAMEWORKS | {THIS_PACKAGE}:
                    continue
                reached = module_named(name, module.file)
                if reached is not None and is_users_file(reached.file, name):
                    every[name] = reached
                    pending.append(name)
        return every

    def imports(self, module: Module) -> frozenset[str]:
        """Return the names of the modules that a module imports, wherever in it."""
        return self._content(module)[1]

    def _content(self, module: Module) -> tuple[str, frozenset[str]]:
        """Return the hash of a module's code, and what it imports."""
        if module.name not in self._digests:
            content = content_of(module)
            imports = frozenset[str]() if content is None else imported_by(module, content)
            self._digests[module.name] = hashlib.sha256(content or b"").hexdigest(), imports
        return self._digests[module.name]


def user_modules(module_names: Iterable[str]) -> dict[str, Module]:
    """Return the user's own modules among the named ones, and all of theirs that these import."""
    code = CodeBase()
    named = [sys.modules[name] for name in module_names if name in sys.modules]
    reached: dict[str, Module] = {}
    for start in named:
        # One without a file was made by another one, or by an extension module.
        if _file_of(start) is not None and is_users(start) and start.__name__ not in reached:
            reached |= code.reached(start)
    return reached


def user_files(module_names: Iterable[str]) -> set[Path]:
    """Return the files of the user's own code among the named modules, and of all that they import."""
    return {container_of(module.file) for module in user_modules(module_names).values() if module.file}


def libraries(module_names: Iterable[str]) -> dict[str, str | None]:
    """Return what tells the libraries as they are, that modules belong to or, if they are the user's, import."""
    code = CodeBase()
    named = {name: sys.modules[name] for name in module_names if name in sys.modules}
    names = set(named)
    for start in named.values():
        if is_users(start):
            for module in code.reached(start).values():
                names |= {*code.imports(module), *_named_by_values(module.name)}
    files = {getattr(sys.modules[name], "__file__", None) for name in names & sys.modules.keys()}
    found = {distribution_of(file) for file in files if isinstance(file, str)}
    return records({installed.name for installed in found if installed is not None})


def records(distributions: Iterable[str]) -> dict[str, str | None]:
    """Return what tells distributions as they are installed, None for one that is not."""
    return {name: record_of(name) for name in distributions}


def identities(distributions: Iterable[str]) -> dict[str, str | None]:
    """Return what identifies the code of distributions, None for one that is not installed."""
    return {name: identity_of(name) for name in distributions}


def versions(distributions: Iterable[str]) -> dict[str, str | None]:
    """Return the versions of installed distributions, None for one that is not installed."""
    return {name: _version(name) for name in distributions}


def _version(distribution: str) -> str | None:
    return _version_on(distribution, tuple(sys.path))


@functools.cache
def _version_on(distribution: str, path: tuple[str, ...]) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def library_identity(module: types.ModuleType) -> str:
    """Return what the code of a library's module is: that of its distribution, or Python's version."""
    file = _file_of(module)
    top = module.__name__.partition(".")[0]
    if top == THIS_PACKAGE:
        return f"{top} {_version('pytest-biastransfer')}"
    installed = distribution_of(file) if file is not None else _owner_of_package(top)
    if installed is not None:
        own = "" if file is None else installed.changed_file(_relative(file, installed))
        return f"{installed.identity} {own}".rstrip()
    version = getattr(sys.modules.get(top), "__version__", None) if top in FRAMEWORKS else None
    return f"{top} {version or sys.version_info[:2]}"


def is_users(module: types.ModuleType | None) -> bool:
    """Whether a module is the user's own: neither installed nor part of Python nor of this package.

    What was installed from a directory of this machine is the user's too. None, the module of what was made on the
    fly, is.
    """
    if module is None:
        return True
    file = _file_of(module)
    if file is not None:
        return is_users_file(file, module.__name__)
    top = module.__name__.partition(".")[0]
    if top in sys.stdlib_module_names | FRAMEWORKS | {THIS_PACKAGE} or hasattr(module, "__path__"):
        return False
    # Made by code, or a part of an extension module.
    package = sys.modules.get(top)
    return package is module or is_users(package)


def is_users_file(file: str | None, module_name: str) -> bool:
    """Whether a module of that file is the user's own; a package without a file has no code."""
    top = module_name.partition(".")[0]
    if file is None or top == THIS_PACKAGE or top in FRAMEWORKS:
        return False
    if is_of_python(file):
        return False
    installed = distribution_of(file)
    return installed is None or installed.is_local


def container_of(file: str) -> Path:
    """Return the file on disk that a module is in: its own, or an archive."""
    path = Path(file)
    return next((each for each in (path, *path.parents) if each.is_file()), path)


def _relative(file: str, installed: Installed) -> str:
    return str(Path(file).absolute())[len(installed.root) + 1 :].replace("\\", "/")


def _owner_of_package(top: str) -> Installed | None:
    """Return the distribution of a package without a file of its own, by a module of it that has one."""
    for name, module in list(sys.modules.items()):
        file = _file_of(module) if name.startswith(f"{top}.") else None
        if file is not None:
            return distribution_of(file)
    return None


@functools.cache
def is_of_python(file: str) -> bool:
    """Whether a file is part of Python."""
    if any(part in ("site-packages", "dist-packages") for part in Path(file).parts):
        return False
    return any(Path(file).is_relative_to(place) for place in _python_places())


@functools.cache
def _python_places() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    archive = f"python{sys.version_info[0]}{sys.version_info[1]}.zip"
    places = [Path(paths["stdlib"]), Path(paths["platstdlib"])]
    return (*places, *(Path(entry) for entry in sys.path if Path(entry).name == archive))


def _named_by_values(module_name: str) -> Iterator[str]:
    """Yield the names of the modules that the values of an imported module come from."""
    module = sys.modules.get(module_name)
    for value in [] if module is None else list(vars(module).values()):
        name = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
        if isinstance(name, str) and name in sys.modules:
            yield name


def _file_of(module: types.ModuleType) -> str | None:
    file = getattr(module, "__file__", None)
    return file if isinstance(file, str) else None
