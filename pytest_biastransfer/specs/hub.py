"""Repositories of the Hugging Face hub: read from the local cache, or downloaded if a spec asks for it."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pytest_biastransfer.errors import SpecError, first_line
from pytest_biastransfer.optional_dependencies import need
from pytest_biastransfer.specs.spec import Spec

KEYS: Final = ("revision", "download")
_SHOWN_DIGITS: Final = 10
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Snapshot:
    """The files of one commit of a repository, or of a local directory.

    Attributes
    ----------
    directory
        The directory that contains them.
    commit
        The commit's hash; None for a local directory.
    """

    directory: Path
    commit: str | None

    @property
    def revision(self) -> str:
        """The suffix of a model's or dataset's name: ``@`` and the first digits of the commit, or an empty text."""
        return f"@{self.commit[:_SHOWN_DIGITS]}" if self.commit else ""

    def name(self, repo: str) -> str:
        """Return the name in reports: the directory's, or the id `repo` of the repository with its commit."""
        return self.directory.name if self.commit is None else f"{repo}{self.revision}"

    def is_fixed(self, revision: str | None) -> bool:
        """Whether `revision` always names these files: a branch may move, a commit or a directory does not."""
        return self.commit is None or self.commit == revision


def snapshot(
    spec: Spec,
    *,
    extra: str,
    patterns: Sequence[str],
    kind: Literal["model", "dataset"],
    repo: str | None = None,
    name: str | None = None,
    keys: Sequence[str] = KEYS,
) -> Snapshot:
    """Return the files that a spec names: a local directory, or a repository in the hub's cache.

    Nothing is downloaded unless the spec has ``download=1`` and the commit as ``revision=``: a branch moves.

    Parameters
    ----------
    spec
        The spec.
    extra
        The extra of this package that installs the library.
    patterns
        Glob patterns of the files to read, such as ``*.json``.
    kind
        The kind of repository.
    repo
        The id of the repository, if it is never a directory.
    name
        The directory, or the id of the repository; default: the spec's rest.
    keys
        The keys that are an error for a directory; the first is that of the repository's revision.

    Raises
    ------
    SpecError
        If it is neither a directory nor in the cache, and the download is not allowed or fails.
    """
    directory = spec.path(name)
    if repo is None and directory.is_dir():
        return _own_directory(spec, directory, keys)
    repo_id = repo or name or spec.rest
    hub = need("huggingface_hub", extra, f"spec {spec.text!r}")
    revision, download = spec.query.get(keys[0]), bool(spec.switch("download"))
    if download:
        required_commit(spec, repo_id, kind, keys[0])
    try:
        directory_of_commit = hub.snapshot_download(
            repo_id,
            repo_type=kind,
            revision=revision,
            allow_patterns=list(patterns),
            local_files_only=not download,
        )
    except hub.errors.HFValidationError as error:
        raise SpecError(
            f"spec {spec.text!r}: no directory {directory}, and {repo_id!r} is not an id of the hub"
        ) from error
    except hub.errors.LocalEntryNotFoundError as error:
        where = f"no directory {directory}, and " if repo is None else ""
        at = f" at revision {revision}" if revision else ""
        reason = "cannot be reached" if download else f"is not asked without download=1 and {keys[0]}="
        raise SpecError(
            f"spec {spec.text!r}: {where}{repo_id}{at} is not in the hub's cache ({hub.constants.HF_HUB_CACHE}); "
            f"the hub {reason}"
        ) from error
    except (hub.errors.HfHubHTTPError, OSError) as error:
        raise SpecError(f"spec {spec.text!r}: {repo_id} cannot be downloaded: {first_line(error)}") from error
    return Snapshot(Path(directory_of_commit), Path(directory_of_commit).name)


def required_commit(spec: Spec, repo_id: str, kind: str, key: str = KEYS[0]) -> str:
    """Return the commit that a spec with ``download=1`` names; raise `SpecError` for a branch, or if there is none."""
    revision = spec.query.get(key, "")
    if not _COMMIT.fullmatch(revision):
        raise SpecError(
            f"spec {spec.text!r}: download=1 needs &{key}= with a commit of {repo_id}, 40 digits: a branch moves, and "
            f"the same spec would be another {kind} tomorrow"
        )
    return revision


@contextmanager
def offline() -> Iterator[None]:
    """Keep code in this context from asking the hub, whatever the files say that it loads."""
    # The environment variable is read once, at import; so the constant that was made from it is set.
    constants: Any = importlib.import_module("huggingface_hub.constants")
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _own_directory(spec: Spec, directory: Path, keys: Sequence[str]) -> Snapshot:
    hub_keys = [key for key in keys if key in spec.query]
    if hub_keys:
        raise SpecError(
            f"spec {spec.text!r}: {hub_keys[0]}= is for repositories on the hub, and {directory} is a directory"
        )
    return Snapshot(directory, None)
