"""Files that declarations name: read when something is declared, and known by their content."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
from pathlib import Path

from pytest_biastransfer.errors import InterventionError


def read_named_file(owner: object, name: str) -> tuple[bytes, str]:
    """Return the content of the file that a field of an intervention names, and its hash; make the field a string.

    Relative paths are relative to the current directory. Raises `InterventionError` if there is no such file.
    """
    kind, path = type(owner).__name__, getattr(owner, name)
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise InterventionError(f"{kind}: {name}={path!r:.100}, expected the path of a file")
    object.__setattr__(owner, name, Path(path).as_posix())
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise InterventionError(f"{kind}: {name}={str(path)!r} cannot be read ({_reason(error, path)})") from error
    return content, hashlib.sha256(content).hexdigest()[:32]


def _reason(error: OSError | ValueError, path: object) -> str:
    if isinstance(error, FileNotFoundError):
        return f"there is no file {Path(str(path)).absolute()}"
    return str(error.strerror) if isinstance(error, OSError) else str(error)


@functools.cache
def pillow_version() -> str:
    """Return the version of what decodes, resizes and writes: another one may do so slightly differently."""
    return importlib.metadata.version("pillow")
