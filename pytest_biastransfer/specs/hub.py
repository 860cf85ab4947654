"""Repositories of the Hugging Face hub: from the local cache, or downloaded where a spec says so."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pytest_biastransfer.errors import SpecError
from pytest_biastransfer.optional_dependencies import need
from pytest_biastransfer.specs.spec import Spec

KEYS: Final = ("revision", "download")
_SHOWN_DIGITS: Final = 10
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Snapshot:
    """The files of a repository, or of a directory of the user's.

    Attributes
    ----------
    directory
        Where they are.
    commit
        The commit that they are of; None for a directory of the user's.
    """

    directory: Path
    commit: str | None

    @property
    def revision(self) -> str:
        """What is added to a name to tell which commit it was: ``@`` and its first digits, or nothing."""
        return f"@{self.commit[:_SHOWN_DIGITS]}" if self.commit else ""


def snapshot(
    spec: Spec, *, extra: str, patterns: Sequence[str], repo: str | None = None, kind: Literal["model", "dataset"]
) -> Snapshot:
    """Return the files that a spec names: a directory, or a repository in the cache of the hub.

    Nothing is downloaded unless the spec says ``download=1`` and which ``revision=`` it wants: a branch moves.

    Parameters
    ----------
    spec
        Its rest is the directory, or else the repository's id.
    extra
        The extra of this package that has the library.
    patterns
        Which files are wanted, such as ``*.json``.
    repo
        The repository, where it is not the spec's rest.
    kind
        What kind of repository it is.

    Raises
    ------
    SpecError
        If it is neither a directory nor in the cache, and may not be downloaded, or cannot.
    """
    directory = spec.path()
    if repo is None and directory.is_dir():
        return _own_directory(spec, directory)
    found = repo or spec.rest
    hub = need("huggingface_hub", extra, f"spec {spec.text!r}")
    revision, download = spec.query.get("revision"), bool(spec.switch("download"))
    if download and not _COMMIT.fullmatch(revision or ""):
        raise SpecError(
            f"spec {spec.text!r}: download=1 needs &revision= with a commit of {found}, 40 digits: a branch "
            f"moves, and the same spec would be another {kind} tomorrow"
        )
    try:
        place = hub.snapshot_download(
            found,
            repo_type=kind,
            revision=revision,
            allow_patterns=list(patterns),
            local_files_only=not download,
        )
    except hub.errors.HFValidationError as error:
        raise SpecError(f"spec {spec.text!r}: no directory {directory}, and {found!r} is no id of the hub") from error
    except hub.errors.LocalEntryNotFoundError as error:
        where = f"no directory {directory}, and " if repo is None else ""
        at = f" at revision {revision}" if revision else ""
        reason = "cannot be reached" if download else "is not asked, without download=1 and revision="
        raise SpecError(
            f"spec {spec.text!r}: {where}{found}{at} is not in the hub's cache ({hub.constants.HF_HUB_CACHE}); "
            f"the hub {reason}"
        ) from error
    except (hub.errors.HfHubHTTPError, OSError) as error:
        raise SpecError(f"spec {spec.text!r}: {found} cannot be downloaded: {str(error).splitlines()[0]}") from error
    return Snapshot(Path(place), Path(place).name)


@contextmanager
def offline() -> Iterator[None]:
    """Let nothing that is loaded meanwhile ask the hub, whatever its files say."""
    constants: Any = importlib.import_module("huggingface_hub.constants")
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _own_directory(spec: Spec, directory: Path) -> Snapshot:
    given = [key for key in KEYS if key in spec.query]
    if given:
        raise SpecError(
            f"spec {spec.text!r}: {given[0]}= is of repositories on the hub, and {directory} is a directory"
        )
    return Snapshot(directory, None)
