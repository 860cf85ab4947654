"""Fields of declarations that name a file: read at declaration, and identified by content."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from pytest_biastransfer.errors import InterventionError
from pytest_biastransfer.regular_files import require_regular


def keep_content(owner: object, name: str) -> None:
    """Read the file that a field names into the fields `content` and `digest`; convert the field to a string.

    Relative paths are relative to the current directory. Raises `InterventionError` for a missing or unreadable file.
    """
    kind, path = type(owner).__name__, getattr(owner, name)
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise InterventionError(f"{kind}: {name}={path!r:.100}, expected the path of a file")
    object.__setattr__(owner, name, Path(path).as_posix())
    # Read now: a file that changes later must not change an intervention whose fingerprint is already in use.
    try:
        require_regular(path)
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise InterventionError(f"{kind}: {name}={str(path)!r} cannot be read ({_reason(error, path)})") from error
    object.__setattr__(owner, "content", content)
    object.__setattr__(owner, "digest", hashlib.sha256(content).hexdigest()[:32])


def _reason(error: OSError | ValueError, path: object) -> str:
    if isinstance(error, FileNotFoundError):
        return f"there is no file {Path(str(path)).absolute()}"
    return str(error.strerror) if isinstance(error, OSError) else str(error)
