"""Installed distributions: which one a file of code belongs to, and a hash that identifies its version.

A distribution owns the files that its RECORD lists, in the directory or archive of ``sys.path`` where it is installed.
Other files in the same directory do not belong to it.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.metadata
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_biastransfer.regular_files import sha256_of_file

# Larger files of a distribution without a RECORD are compared by size and time only.
_MOST_HASHED_BYTES: Final = 2**20
_LIBRARY_DIRECTORIES: Final = ("site-packages", "dist-packages")
# Packages that this one builds on. They are libraries even if they were built from a local directory.
FRAMEWORKS: Final = frozenset(
    (
        "PIL", "_pytest", "accelerate", "datasets", "execnet", "filelock", "functorch", "huggingface_hub", "hypothesis",
        "jinja2", "numpy", "onnx", "onnxruntime", "pluggy", "py", "pyarrow", "pytest", "safetensors", "scipy", "sympy",
        "timm", "tokenizers", "torch", "torchgen", "torchvision", "transformers", "triton", "xdist",
    )
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Installed:
    """An installed distribution.

    Attributes
    ----------
    root
        The directory or archive in ``sys.path`` where it is installed.
    metadata
        Its metadata.
    """

    root: str
    metadata: importlib.metadata.Distribution

    @functools.cached_property
    def records(self) -> dict[str, str] | None:
        """The hashes in its RECORD, by paths relative to the root; None if there is no RECORD."""
        text = self.metadata.read_text("RECORD")
        if text is None:
            return None
        fields = (line.rsplit(",", 2) for line in text.splitlines())
        return {line[0].strip('"'): line[1] for line in fields if len(line) == 3}

    @functools.cached_property
    def name(self) -> str:
        """The name of the distribution."""
        return self.metadata.name

    @functools.cached_property
    def is_local(self) -> bool:
        """Whether it was installed from a local directory, as users install their own packages."""
        try:
            return "dir_info" in json.loads(self.metadata.read_text("direct_url.json") or "{}")
        except ValueError:
            return False

    @functools.cached_property
    def top_names(self) -> frozenset[str]:
        """The top-level names that its modules and packages are imported by."""
        if self.records is not None:
            return frozenset(path.partition("/")[0].partition(".")[0] for path in self.records)
        listed = (self.metadata.read_text("top_level.txt") or "").split()
        return frozenset(listed or [self.name.replace("-", "_")])

    @functools.cached_property
    def identity(self) -> str:
        """A text that changes with any of its files, but not with the directory, the installer or compiled files."""
        if self.records is None:
            lines = [
                f"{path},{digest}" for name in sorted(self.top_names) for path, digest in _contents(self.root, name)
            ]
        else:
            lines = [f"{path},{self._hash(path)}" for path in sorted(self.records) if _decides(path)]
        digest = sha256_of_text("\n".join(lines))
        return f"{self.name} {self.metadata.version} {digest}"

    def changed_file(self, relative: str) -> str:
        """Return the hash of a file that was changed after the installation; an empty text if it is as recorded."""
        path = Path(self.root, relative)
        record = next(
            (Path(self.root, file) for file in self.records or () if file.endswith(".dist-info/RECORD")), None
        )
        try:
            if record is None or path.stat().st_mtime <= record.stat().st_mtime:
                return ""
            current = _recorded_hash(path)
        except OSError:
            return ""
        return "" if self.records and current == self.records.get(relative) else current

    def _hash(self, relative: str) -> str:
        """Return the hash of a file as recorded, or computed, as some installers record none."""
        recorded = (self.records or {})[relative]
        try:
            return recorded or _recorded_hash(Path(self.root, relative))
        except OSError:
            return "missing"


def sha256_of_text(text: str) -> str:
    """Return the SHA-256 of a text in hexadecimal digits; paths in it may have bytes that are not UTF-8."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def distribution_of(file: str) -> Installed | None:
    """Return the distribution that a file of code belongs to; None if it belongs to none."""
    return _distribution_of(os.path.abspath(file), tuple(sys.path))  # noqa: PTH100 - half the time of Path.absolute


def record_of(name: str) -> str | None:
    """Return a hash of a distribution's RECORD, which is faster than its identity; None if it is not installed."""
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    record = distribution.read_text("RECORD")
    if record is None:
        return identity_of(name)
    return sha256_of_text(record)


def identity_of(name: str) -> str | None:
    """Return the identity of a distribution's code; None if it is not installed."""
    for root in map(_absolute, sys.path):
        for installed in _installed_in(root, name.replace("-", "_")) if Path(root).exists() else ():
            if installed.name.lower() == name.lower():
                return installed.identity
    return None


def _installed_in(root: str, top_name: str = "") -> Iterator[Installed]:
    """Yield the distributions in a directory or archive of ``sys.path``, the one named `top_name` first."""
    if not Path(root).is_dir():
        yield from _installed_in_archive(root)
        return
    names = _metadata_in(root)
    for name in sorted(names, key=lambda name: name.partition("-")[0].lower() != top_name.lower()):
        yield _installed_at(root, name)


@functools.cache
def _metadata_in(root: str) -> tuple[str, ...]:
    return tuple(sorted(name for name in os.listdir(root) if name.endswith((".dist-info", ".egg-info"))))  # noqa: PTH208


@functools.cache
def _installed_at(root: str, name: str) -> Installed:
    return Installed(root, importlib.metadata.Distribution.at(Path(root, name)))


@functools.cache
def _installed_in_archive(root: str) -> tuple[Installed, ...]:
    return tuple(Installed(root, each) for each in importlib.metadata.distributions(path=[root]))


@functools.lru_cache(maxsize=100_000)
def _distribution_of(file: str, search_path: tuple[str, ...]) -> Installed | None:
    for root in sorted(set(map(_absolute, search_path)), key=len, reverse=True):
        if not file.startswith(root + os.sep):
            continue
        relative = file[len(root) + 1 :].replace(os.sep, "/")
        top = relative.partition("/")[0].partition(".")[0]
        for installed in _installed_in(root, top):
            if top not in installed.top_names:
                continue
            if installed.records is None:
                # A source directory has metadata beside the code too, but it is not an installation.
                if Path(root).name in _LIBRARY_DIRECTORIES or root.endswith(".egg"):
                    return installed
            elif relative in installed.records or _source_of(relative) in installed.records:
                return installed
    return None


@functools.cache
def _absolute(root: str) -> str:
    return os.path.abspath(root)  # noqa: PTH100 - "" is the current directory


def _decides(path: str) -> bool:
    """Whether results may depend on a file: not on scripts, which contain paths, nor on compiled files."""
    directory, _, name = path.rpartition("/")
    if directory.endswith(".dist-info"):
        return name == "METADATA"
    is_program = directory.startswith("..") and directory.rpartition("/")[2] in ("bin", "Scripts")
    return not is_program and "__pycache__" not in directory


def _source_of(relative: str) -> str:
    """Return the source file of a compiled file; another path as it is."""
    directory, _, name = relative.rpartition("/")
    return f"{directory.removesuffix('__pycache__')}{name.partition('.')[0]}.py" if name.endswith(".pyc") else relative


def _contents(root: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield the files of a module or package, with hashes of their content."""
    paths = sorted(Path(root).glob(f"{name}.*")) + sorted(Path(root, name).rglob("*"))
    for path in paths:
        if path.is_file() and path.parent.name != "__pycache__":
            state = path.stat()
            large = state.st_size > _MOST_HASHED_BYTES
            digest = f"{state.st_size} {state.st_mtime_ns}" if large else _recorded_hash(path)
            yield path.relative_to(root).as_posix(), digest


def _recorded_hash(path: Path) -> str:
    """Return the hash of a file as a RECORD has it (PEP 376)."""
    return f"sha256={base64.urlsafe_b64encode(sha256_of_file(path)).decode().rstrip('=')}"
