"""Timed processes, and pytest sessions whose outcome is checked."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class BenchmarkError(Exception):
    """Something else happened than what was to be measured."""


@dataclass(frozen=True)
class Finished:
    """A process that has ended well.

    Attributes
    ----------
    seconds
        Wall time from its start to its end.
    peak_bytes
        The most memory that it had resident.
    output
        Standard output and standard error.
    """

    seconds: float
    peak_bytes: int
    output: str

    @property
    def last_line(self) -> str:
        """The last line of the output."""
        return self.output.rstrip().rpartition("\n")[2]

    @property
    def printed(self) -> dict[str, Any]:
        """The JSON object in the last line."""
        found: dict[str, Any] = json.loads(self.last_line)
        return found


def child_environment(gpu: bool) -> dict[str, str]:
    """Return this process's environment without what would change a session, and with or without GPUs."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "OMP_", "MALLOC_"))}
    return plain if gpu else plain | {"CUDA_VISIBLE_DEVICES": ""}


def run(command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> Finished:
    """Run a command to its end; raises `BenchmarkError` with the end of its output if it fails."""
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        child = subprocess.Popen(
            command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode(errors="replace")
    if child.returncode != 0:
        raise BenchmarkError(f"exit status {child.returncode} of {' '.join(command)}\n{text[-4000:]}")
    return Finished(seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024), text)


def run_pytest(project: Path, arguments: Sequence[str], environment: Mapping[str, str], *, passed: int) -> Finished:
    """Run a session of a project; raises `BenchmarkError` unless exactly so many tests passed."""
    command = [sys.executable, "-m", "pytest", "--rootdir", str(project), "-c", "pytest.ini", *arguments]
    finished = run(command, project, environment)
    said = finished.last_line.partition(" in ")[0]
    counts = {word: int(number) for number, word in re.findall(r"(\d+) ([a-z]+)", said)}
    if counts.keys() - {"warning", "warnings"} != {"passed"} or counts["passed"] != passed:
        raise BenchmarkError(f"expected {passed} passed of {' '.join(command)}\n{finished.output[-4000:]}")
    return finished


def images_evaluated(session: Finished) -> int:
    """Return how many images a session's summary says were run through a model."""
    found = re.search(r"([\d,]+) images? evaluated", session.output)
    if found is None:
        raise BenchmarkError(f"the summary does not tell how many images were evaluated\n{session.output[-4000:]}")
    return int(found[1].replace(",", ""))
