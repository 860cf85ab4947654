"""Which commit and which CI job a session is of: from variables of the environment, or from the files of a checkout."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

# GitHub, GitLab, CircleCI, Buildkite, Bitbucket, Azure Pipelines, Jenkins. A session has variables of one of them.
_COMMIT_VARIABLES: Final = (
    "GITHUB_SHA",
    "CI_COMMIT_SHA",
    "CIRCLE_SHA1",
    "BUILDKITE_COMMIT",
    "BITBUCKET_COMMIT",
    "BUILD_SOURCEVERSION",
    "GIT_COMMIT",
)
_JOB_VARIABLES: Final = ("GITHUB_JOB", "CI_JOB_NAME", "CIRCLE_JOB", "BUILDKITE_LABEL", "JOB_NAME")
# SHA-1 or SHA-256.
_HASH: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
# More links from one file of git to the next are no checkout.
_MOST_LINKS: Final = 5


def commit_of(directory: Path, environment: Mapping[str, str]) -> str:
    """Return the commit that is checked out, as its full hash; empty if it cannot be told.

    The environment comes first: the checkout of a CI job may be a copy without the files of git. No program is run:
    starting git takes longer than reading its files, and git may be missing.

    Examples
    --------
    >>> commit_of(Path("/"), {"CI_COMMIT_SHA": "9a15309c0c8f1e4a1d6d5a3c8d7b6f5e4d3c2b1a"})
    '9a15309c0c8f1e4a1d6d5a3c8d7b6f5e4d3c2b1a'
    """
    for variable in _COMMIT_VARIABLES:
        commit = environment.get(variable, "").strip().lower()
        if _HASH.fullmatch(commit):
            return commit
    for parent in (directory, *directory.parents):
        entry = parent / ".git"
        if entry.exists():
            # An unreadable checkout has no commit to show; a report is worth writing without one.
            try:
                return _head(_git_directory(entry))
            except (OSError, ValueError):
                return ""
    return ""


def job_of(environment: Mapping[str, str]) -> str:
    """Return the name of the CI job; empty outside CI.

    >>> job_of({"GITHUB_JOB": "bias"}), job_of({})
    ('bias', '')
    """
    return next((environment[name] for name in _JOB_VARIABLES if environment.get(name)), "")


def _git_directory(entry: Path) -> Path:
    """Return git's directory; of a worktree or a submodule, `.git` is a file that names it."""
    if entry.is_dir():
        return entry
    return entry.parent / _text(entry).removeprefix("gitdir:").strip()


def _head(git: Path) -> str:
    reference = _text(git / "HEAD")
    # A worktree has a HEAD of its own, and shares the branches with the repository.
    common = git / _text(git / "commondir") if (git / "commondir").exists() else git
    for _ in range(_MOST_LINKS):
        if not reference.startswith("ref:"):
            return reference if _HASH.fullmatch(reference) else ""
        name = reference.removeprefix("ref:").strip()
        reference = _text(common / name) if (common / name).is_file() else _packed(common / "packed-refs", name)
    return ""


def _packed(file: Path, name: str) -> str:
    """Return what a reference is in git's file of packed references; empty if it is not there."""
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            commit, _, reference = line.strip().partition(" ")
            if reference == name:
                return commit
    return ""


def _text(file: Path) -> str:
    with file.open(encoding="utf-8") as lines:
        # The first line is all; a file that is no file of git may be large.
        return lines.readline(4096).strip()
