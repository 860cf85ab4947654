"""The action for GitHub and the job for GitLab of docs/ci.md post one comment and update it: their shell, against a server."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from pytest_biastransfer.reporting.report import to_json
from tests.support.comment_server import TOKEN, CommentServer, serving_comments
from tests.support.sample_reports import report_of, sample_report

ROOT: Final = Path(__file__).parents[2]
ACTION: Final = yaml.safe_load((ROOT / "action.yml").read_text())
PAGE: Final = (ROOT / "docs" / "ci.md").read_text()
COMMIT: Final = "3f2a9c0000000000000000000000000000000000"
NEEDED: Final = ("bash", "curl", "jq", "git", "sed", "base64")

pytestmark = [
    pytest.mark.usefixtures("warm_executable"),
    pytest.mark.skipif(any(shutil.which(tool) is None for tool in NEEDED), reason=f"needs {', '.join(NEEDED)}"),
]


@pytest.fixture
def server() -> Iterator[CommentServer]:
    with serving_comments() as server:
        yield server


def shell(script: str, directory: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a script as the runners do: it ends at the first error."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=directory,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


class Job:
    """A job of GitHub Actions: what `with:` has, and what the runner sets."""

    def __init__(self, directory: Path, server: CommentServer) -> None:
        self.directory = directory
        (directory / "temp").mkdir()
        self.inputs = {name: str(declared["default"]) for name, declared in ACTION["inputs"].items()}
        self.inputs |= {"number": "12", "token": TOKEN}
        self.runner = {
            "GITHUB_API_URL": server.address,
            "GITHUB_REPOSITORY": "someone/pets",
            "GITHUB_RUN_ID": "345",
            "GITHUB_SERVER_URL": (directory / "server").as_uri(),
            "RUNNER_TEMP": str(directory / "temp"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
        }

    def evaluated(self, expression: str) -> str:
        """Return the value of an expression of the action."""
        if expression == "${{ github.event.pull_request.head.sha || github.sha }}":
            return COMMIT
        of_input = re.fullmatch(r"\$\{\{ inputs\.([\w-]+) \}\}", expression)
        assert of_input is not None
        return self.inputs[of_input[1]]

    def run(self) -> subprocess.CompletedProcess[str]:
        """Run the steps of the action until one fails."""
        finished = None
        for step in ACTION["runs"]["steps"]:
            if "if" in step and not self.inputs["images-branch"]:
                assert step["if"] == "${{ inputs.images-branch != '' }}"
                continue
            environment = {name: self.evaluated(value) for name, value in step["env"].items()}
            finished = shell(step["run"], self.directory, {**self.runner, **environment})
            if finished.returncode:
                break
        assert finished is not None
        return finished


@pytest.fixture
def job(tmp_path: Path, server: CommentServer) -> Job:
    (tmp_path / "bias.json").write_text(to_json(sample_report()))
    return Job(tmp_path, server)


def test_the_action_posts_a_comment_and_updates_it(job: Job, server: CommentServer) -> None:
    finished = job.run()
    assert (finished.returncode, finished.stderr) == (0, "")
    (body,) = server.bodies
    assert body.startswith("<!-- pytest-biastransfer: bias -->\n## ❌ Bias transfer: 2 tests got worse")
    run = f"{(job.directory / 'server').as_uri()}/someone/pets/actions/runs/345"
    assert body.endswith(f"\n\nCommit {COMMIT}, [run]({run})\n")
    (job.directory / "bias.json").write_text(to_json(report_of()))
    assert job.run().returncode == 0
    (body,) = server.bodies
    assert "no bias tests ran" in body
    assert server.requests[-1] == "PATCH /repos/someone/pets/issues/comments/1"


def test_the_action_finds_its_comment_among_many(job: Job, server: CommentServer) -> None:
    for number in range(150):
        server.add(f"comment {number}", kind="User")
    # Somebody writes the marker, and another job has its own comment.
    server.add("<!-- pytest-biastransfer: bias --> mine", kind="User")
    server.add("<!-- pytest-biastransfer: gpu -->\nof another job")
    own = server.add("<!-- pytest-biastransfer: bias -->\nof the last push")
    before = list(server.bodies)
    assert job.run().returncode == 0
    changed = [number for number, (old, new) in enumerate(zip(before, server.bodies, strict=True), 1) if old != new]
    assert changed == [own]
    job.inputs["name"] = "nightly"
    assert job.run().returncode == 0
    assert server.bodies[-1].startswith("<!-- pytest-biastransfer: nightly -->\n")
    assert len(server.bodies) == len(before) + 1


def test_the_action_finds_its_comment_by_the_owner_of_a_personal_token(job: Job, server: CommentServer) -> None:
    server.is_personal = True
    server.add("<!-- pytest-biastransfer: bias --> of a bot", user=1)
    own = server.add("<!-- pytest-biastransfer: bias -->\nof the last push", kind="User")
    assert job.run().returncode == 0
    assert server.requests[-1] == f"PATCH /repos/someone/pets/issues/comments/{own}"
    assert server.bodies[0] == "<!-- pytest-biastransfer: bias --> of a bot"
    assert len(server.bodies) == 2


def test_a_comment_keeps_names_that_a_shell_would_execute(job: Job, server: CommentServer) -> None:
    hostile = "test_it.py::test_x[\"'`$(touch run)\\\\n%s!]"
    (test, *_) = sample_report().tests
    (job.directory / "bias.json").write_text(to_json(report_of(dataclasses.replace(test, name=hostile))))
    finished = job.run()
    assert finished.returncode == 0, finished.stderr
    assert hostile in server.bodies[0]
    assert not list(job.directory.rglob("run"))


def test_the_action_pushes_pictures_to_a_branch_of_their_own(job: Job, server: CommentServer) -> None:
    remote = job.directory / "server" / "someone" / "pets"
    subprocess.run(["git", "init", "-q", "--bare", str(remote)], check=True)
    job.inputs["images-branch"] = "bias-images"
    for _ in range(2):
        finished = job.run()
        assert finished.returncode == 0, finished.stderr
    (body,) = server.bodies
    links = re.findall(r"!\[[^]]*\]\((\S+)\)", body)
    assert links
    prefix = f"{remote.as_uri()}/raw/bias-images/"
    assert all(link.startswith(prefix) for link in links)
    listed = subprocess.run(
        ["git", "--git-dir", str(remote), "ls-tree", "--name-only", "bias-images"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert set(listed.stdout.split()) == {link.removeprefix(prefix) for link in links}
    # The second run had the same pictures, and nothing to push.
    log = ["git", "--git-dir", str(remote), "rev-list", "--count", "bias-images"]
    assert subprocess.run(log, check=True, capture_output=True, text=True).stdout == "1\n"
    # Other pictures are added to those that are there.
    (job.directory / "bias.json").write_text(to_json(report_of(sample_report().tests[6])))
    assert job.run().returncode == 0


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("number", "", "There is no pull request to comment on."),
        ("name", "a/b", "name: has other characters than letters, digits and hyphens"),
        ("token", "wrong", "Bad credentials"),
        ("reports", "lost.json", "lost.json cannot be read"),
    ],
)
def test_the_action_fails_with_a_reason(job: Job, server: CommentServer, name: str, value: str, message: str) -> None:
    job.inputs[name] = value
    finished = job.run()
    assert finished.returncode != 0
    assert message in finished.stdout + finished.stderr
    assert server.bodies == []
    assert TOKEN not in finished.stdout + finished.stderr


def gitlab() -> Any:
    (workflow,) = [
        loaded
        for block in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
        if "bias-comment" in (loaded := yaml.safe_load(block))
    ]
    return workflow


def test_the_job_of_gitlab_posts_a_comment_with_pictures_and_updates_it(tmp_path: Path, server: CommentServer) -> None:
    jobs = gitlab()
    (tmp_path / "part-shapes.json").write_text(to_json(sample_report()))
    for line in jobs["bias-report"]["script"][1:]:
        assert shell(line, tmp_path, {}).returncode == 0
    assert {"bias.md", "bias-images"} < set(jobs["bias-report"]["artifacts"]["paths"])
    pictures = list((tmp_path / "bias-images").iterdir())
    written = (tmp_path / "bias.md").read_text()
    for number in range(120):
        server.add("<!-- pytest-biastransfer: bias-comment 1/2 --> mine" if number == 3 else "a comment", user=1)
    (script,) = jobs["bias-comment"]["script"]
    runner = {
        "CI_API_V4_URL": server.address,
        "CI_PROJECT_ID": "5",
        "CI_MERGE_REQUEST_IID": "12",
        "CI_COMMIT_SHA": COMMIT,
        "CI_JOB_NAME": "bias-comment 1/2",
        "CI_PIPELINE_URL": "https://example.org/pipelines/7",
        "BIAS_TOKEN": TOKEN,
    }
    finished = shell(script, tmp_path, runner)
    assert finished.returncode == 0, finished.stderr
    assert len(server.bodies) == 121
    assert server.requests[-1] == "POST /projects/5/merge_requests/12/notes"
    assert server.bodies[-1].startswith(
        "<!-- pytest-biastransfer: bias-comment 1/2 -->\n## ❌ Bias transfer: 2 tests got worse"
    )
    assert server.bodies[-1].endswith(f"\n\nCommit {COMMIT}, [pipeline](https://example.org/pipelines/7)\n")
    # Every link is to an uploaded file.
    assert len(server.uploads) == len(pictures) > 0
    assert set(re.findall(r"!\[[^]]*\]\((\S+)\)", server.bodies[-1])) == {
        f"/uploads/{number}/picture.png" for number in range(1, len(pictures) + 1)
    }
    (tmp_path / "bias.md").write_text(written.replace("2 tests got worse", "3 tests got worse"))
    assert shell(script, tmp_path, runner).returncode == 0
    assert len(server.bodies) == 121
    assert "3 tests got worse" in server.bodies[-1]
    assert server.requests[-1] == "PUT /projects/5/merge_requests/12/notes/121"
    # Another job of the same merge request.
    assert shell(script, tmp_path, {**runner, "CI_JOB_NAME": "bias-comment 2/2"}).returncode == 0
    assert len(server.bodies) == 122
    refused = shell(script, tmp_path, {**runner, "BIAS_TOKEN": "wrong"})
    assert refused.returncode != 0
    assert 'GitLab: {"message": "Bad credentials"}' in refused.stderr


def test_the_page_describes_every_input_of_the_action() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (.*?) \|", PAGE, re.MULTILINE)
    defaults = {name: declared["default"] for name, declared in ACTION["inputs"].items()}
    assert [name for name, _ in rows if name in defaults] == list(defaults)
    assert {name: value.strip("`") for name, value in rows if name in ("reports", "name")} == {
        name: defaults[name] for name in ("reports", "name")
    }
