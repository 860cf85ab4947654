"""The commit and the job that a report names: of CI's variables, and of checkouts that git itself made."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pytest_biastransfer.plugin.session.provenance import commit_of, job_of

COMMIT = "9a15309c0c8f1e4a1d6d5a3c8d7b6f5e4d3c2b1a"


def git(directory: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    process = subprocess.run(["git", *identity, *arguments], cwd=directory, capture_output=True, text=True, check=True)
    return process.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    if shutil.which("git") is None:
        pytest.skip("needs git")
    directory = tmp_path / "project"
    (directory / "tests").mkdir(parents=True)
    git(directory, "init", "--quiet")
    git(directory, "commit", "--quiet", "--allow-empty", "--message", "first")
    return directory


def test_a_checkout_tells_its_commit_however_git_keeps_it(checkout: Path, tmp_path: Path) -> None:
    def is_told(directory: Path) -> bool:
        return commit_of(directory, {}) == git(directory, "rev-parse", "HEAD") != ""

    assert is_told(checkout)
    assert is_told(checkout / "tests")
    git(checkout, "pack-refs", "--all")
    git(checkout, "worktree", "add", "--quiet", "-b", "other", str(tmp_path / "other"))
    git(tmp_path / "other", "commit", "--quiet", "--allow-empty", "--message", "second")
    assert is_told(checkout)
    assert is_told(tmp_path / "other")
    git(checkout, "checkout", "--quiet", "--detach")
    assert is_told(checkout)


def test_what_is_no_checkout_has_no_commit(tmp_path: Path) -> None:
    assert commit_of(tmp_path, {}) == ""
    (tmp_path / ".git").mkdir()
    assert commit_of(tmp_path, {}) == ""
    for head in ("", "ref: refs/heads/unborn", "no hash", "ref: ref", "\udcff"):
        (tmp_path / ".git/HEAD").write_text(head, encoding="utf-8", errors="surrogateescape")
        assert commit_of(tmp_path, {}) == ""


def test_variables_of_ci_come_first(checkout: Path) -> None:
    assert commit_of(checkout, {"GITHUB_SHA": COMMIT}) == COMMIT
    assert commit_of(checkout, {"GITHUB_SHA": "main", "CI_COMMIT_SHA": COMMIT.upper()}) == COMMIT
    assert commit_of(checkout, {"GITHUB_SHA": "main"}) == git(checkout, "rev-parse", "HEAD")
    assert job_of({"CI_JOB_NAME": "bias 3.12"}) == "bias 3.12"
