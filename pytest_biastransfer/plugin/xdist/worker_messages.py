"""What workers tell the controller while they run: small files that outlive the worker that wrote them.

pytest-xdist carries nothing from a worker before it ends but its reports, and a worker that is killed never ends.
Workers on another machine share no files with the controller: it learns of their tests from pytest-xdist, and of the
tests that wait for an outcome at the worker's end.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pytest_biastransfer.plugin.collection.collected_tests import CollectedTests
from pytest_biastransfer.plugin.records import from_text, to_text
from pytest_biastransfer.progress.record import Progress
from pytest_biastransfer.store.atomic_files import replace_file

if TYPE_CHECKING:
    import pytest

    from pytest_biastransfer.plugin.session.held_test import HeldTest

MAILBOX_INPUT: Final = "biastransfer_mailbox"
WATCHED_INPUT: Final = "biastransfer_watched"
WORKERS_OF_GPU_INPUT: Final = "biastransfer_workers_of_gpu"
HELD_OUTPUT: Final = "biastransfer_held"

_Kind = Literal["tests", "collected", "held", "progress"]


class Mailbox:
    """The directory that the workers of one session leave their messages in, one file for each worker and kind."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write_tests(self, worker: str, nodeids: Sequence[str]) -> None:
        """Leave the node ids of the bias tests that a worker has collected."""
        self._write(worker, "tests", list(nodeids))

    def tests(self) -> set[str]:
        """Return the node ids of the bias tests that any worker has collected."""
        return {nodeid for nodeids in self._read("tests") for nodeid in nodeids}

    def write_collected(self, worker: str, tests: CollectedTests | None) -> None:
        """Leave all bias tests that a worker has collected, for pruning; None if not all of them run."""
        self._write(worker, "collected", None if tests is None else tests.to_plain())

    def collected(self) -> list[CollectedTests | None]:
        """Return what each worker has collected."""
        return [None if plain is None else CollectedTests.from_plain(plain) for plain in self._read("collected")]

    def write_held(self, worker: str, held: Sequence[dict[str, Any]]) -> None:
        """Leave all tests of a worker that wait for their outcome."""
        self._write(worker, "held", held)

    def held(self) -> list[dict[str, Any]]:
        """Return the tests of all workers that wait for their outcome, as `HeldTest.to_plain` gives them."""
        return [test for tests in self._read("held") for test in tests]

    def write_progress(self, worker: str, progress: Progress) -> None:
        """Leave how far the evaluation of a worker is."""
        self._write(worker, "progress", asdict(progress))

    def progress(self) -> list[Progress]:
        """Return how far the evaluation of each worker is."""
        return [Progress(**plain) for plain in self._read("progress")]

    def forget_progress(self, worker: str) -> None:
        """Remove how far the evaluation of a worker was that has died."""
        (self.directory / f"{worker}.progress").unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove all messages."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _write(self, worker: str, kind: _Kind, content: Any) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The controller reads while workers write: a file appears under its name when it is whole.
        incomplete = self.directory / f"{worker}.{kind}.part"
        incomplete.write_text(to_text(content), encoding="utf-8")
        replace_file(incomplete, self.directory / f"{worker}.{kind}")

    def _read(self, kind: _Kind) -> Iterator[Any]:
        """Yield the messages of a kind in the order of the workers' names."""
        for path in sorted(self.directory.glob(f"*.{kind}")):
            try:
                text = path.read_text(encoding="utf-8")
            except FileNotFoundError:  # Its worker has died meanwhile.
                continue
            yield from_text(text)


def worker_mailbox(config: pytest.Config) -> tuple[Mailbox, str] | None:
    """Return where this process leaves its messages, and its name; None if it is no worker."""
    workerinput: dict[str, Any] = getattr(config, "workerinput", {})
    if MAILBOX_INPUT not in workerinput:
        return None
    return Mailbox(Path(workerinput[MAILBOX_INPUT])), workerinput["workerid"]


def hand_over(config: pytest.Config, held: Sequence[HeldTest]) -> None:
    """Leave to the controller all tests of this worker that wait for their outcome by now."""
    plain = [test.to_plain(config) for test in held]
    address = worker_mailbox(config)
    if address is not None:
        mailbox, worker = address
        mailbox.write_held(worker, plain)
    # This reaches a controller on another machine when the worker ends.
    config.workeroutput[HELD_OUTPUT] = to_text(plain)  # type: ignore[attr-defined]


def held_at_end(workeroutput: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the tests that a worker handed over at its end."""
    return from_text(workeroutput[HELD_OUTPUT]) if HELD_OUTPUT in workeroutput else []
