"""Whole sessions that have bad luck: processes die or hang, disks fail, files rot, clocks are wrong.

Whatever happens, the session that goes on, or the next one, shows the figures of an undisturbed session; no
image goes through the model twice without need; and a session that lost a test is red and names it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pytest_biastransfer.evaluation.reproducibility import CHECKED_IMAGES
from tests.support.systems import posix
from tests.support.warm_python import WarmPython

pytestmark = posix

# 350 red, 210 green and 140 blue images. One pixel of each tells the order of its channels: the clean images are
# "rgb", and each intervention swaps two channels. They are visited in chunks of 32 to 256. The first four are computed
# together, as the others 128 images a forward pass. The model logs its process, the order and the number of images of
# each pass.
#
# A link `trap` to "bgr 3" catches the first process that sees "bgr" when there were three passes of it: in the middle
# of the first chunk of 256. It stays there until `caught-PID` is removed, a minute at most. The model opens no file to
# learn that: what a model reads is part of what its predictions are known by.
CONFTEST = """
import os
import time
from pathlib import Path

import pytest
import torch

import pytest_biastransfer.measurement.measure  # Imported here, it does not count for the time limit of a test.
from pytest_biastransfer import Custom, Model

BGR = Custom(lambda images: images[:, [2, 1, 0]], name="bgr")
GRB = Custom(lambda images: images[:, [1, 0, 2]], name="grb")
RBG = Custom(lambda images: images[:, [0, 2, 1]], name="rbg")


class BrightestChannel(torch.nn.Module):
    def forward(self, images):
        order = "".join("rgb"[channel] for channel in images[0, :, 0, 0].argsort())
        log(f"{os.getpid()} {order} {len(images)}")
        step_into_trap(order)
        return images.mean(dim=(2, 3))


def log(line):
    write("passes", f"{line}\\n")
    write(f"passes-{line.split()[1]}", ".")


def write(name, text):
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, text.encode())
    os.close(descriptor)


def step_into_trap(order):
    caught, deadline = Path(f"caught-{os.getpid()}"), time.monotonic() + 60
    try:
        wanted, passes = os.readlink("trap").split()
        if order != wanted or os.stat(f"passes-{order}").st_size < int(passes):
            return
        Path("trap").rename(caught)  # Only one process succeeds.
    except FileNotFoundError:
        return
    while caught.is_symlink() and time.monotonic() < deadline:
        time.sleep(0.01)


def image(place):
    pixels = torch.zeros(3, 8, 8)
    pixels[(0, 0, 0, 0, 0, 1, 1, 1, 2, 2)[place % 10]] = 0.6
    pixels[:, 0, 0] = torch.tensor([0.2, 0.4, 0.6])
    return pixels


@pytest.fixture(scope="session")
def transferred_model():
    return Model(BrightestChannel(), classes=["red", "green", "blue"])


@pytest.fixture(scope="session")
def bias_dataset():
    return [(image(place), 0) for place in range(700)]
"""
# With two workers, one gets the first and the third test, and the other one the second.
TESTS = """
import pytest
from conftest import BGR, GRB, RBG

@pytest.mark.bias_intervention(BGR, GRB, RBG, max_asr=0.8, max_skew=0.9)
def test_swap():
    pass
"""
SAME_AGAIN = """
import pytest
from conftest import BGR

@pytest.mark.bias_intervention(BGR, max_asr=0.8, max_skew=0.9)
def test_swap_again():
    pass
"""

# asr and skew of an undisturbed session. Swapping red and blue changes the 350 + 140 of 700 images that are red or
# blue, and leaves 350 - 140 more of one and fewer of the other.
FIGURES = {"bgr": (0.7, 0.3), "grb": (0.8, 0.2), "rbg": (0.5, 0.1)}
# How many images have gone through the model after an undisturbed session: of the clean ones, some a second time to
# see whether it says the same.
ONCE = Counter({"rgb": 700 + CHECKED_IMAGES, "bgr": 700, "grb": 700, "rbg": 700})
TRAP = "bgr 3"
# What is lost with the process in the trap: the first pass over that chunk.
IN_THE_TRAP = Counter({"bgr": 128})

WITHOUT_XDIST = ("-p", "no:xdist")


class Result(NamedTuple):
    """How a session ended."""

    code: int
    output: str

    @property
    def figures(self) -> dict[str, tuple[float, float]]:
        """asr and skew of each test that has a result, by intervention."""
        row = r"^  (\w+) +asr +(\d\.\d+) .* passed .*\n +skew +(\d\.\d+) "
        block = re.search(r"^test_swaps\.py::test_swap\n((?:  .*\n)*)", self.output, re.MULTILINE)
        rows = re.findall(row, block[1], re.MULTILINE) if block else []
        return {name: (float(asr), float(skew)) for name, asr, skew in rows}

    @property
    def lost(self) -> set[str]:
        """The tests that the session says have no result, by intervention."""
        said = re.search(r"^\d+ bias tests? without a result: (.*)$", self.output, re.MULTILINE)
        return set(re.findall(r"test_swaps\.py::test_swap\[(\w+)\]", said[1])) if said else set()

    @property
    def warnings(self) -> int:
        """The number of warnings in pytest's last line."""
        found = re.search(r"(\d+) warnings?\b.* in ", self.output.splitlines()[-1])
        return int(found[1]) if found else 0


class Pass(NamedTuple):
    """One call of the model."""

    process: int
    order: str
    images: int


class Project:
    """A directory with the bias tests, the sessions that were started there, and what the model saw in all of them."""

    def __init__(self, directory: Path, warm: WarmPython) -> None:
        self.directory = directory
        self._warm = warm
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a session in a fork, which dies with the process that is returned; so do its workers."""
        # Nothing is verified: how often an image goes through the model is what is counted here.
        options = ["--bias-store=store", "--bias-batch-size=128", "--bias-device=cpu", "--bias-verify=off", "-v"]
        # This test may itself run in a worker.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        process = subprocess.Popen(
            [*self._warm.command(), "-m", "pytest", *options, *arguments],
            cwd=self.directory,
            env=environment | {"COLUMNS": "120", "OMP_NUM_THREADS": "1", "TMPDIR": str(self.directory)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def run(self, *arguments: str) -> Result:
        """Run a session to its end."""
        return finish(self.start(*arguments))

    def passes(self) -> list[Pass]:
        log = self.directory / "passes"
        lines = log.read_text().splitlines() if log.exists() else []
        return [Pass(int(process), order, int(images)) for process, order, images in map(str.split, lines)]

    def images(self) -> Counter[str]:
        """How many images went through the model, by the order of their channels."""
        seen: Counter[str] = Counter()
        for one in self.passes():
            seen[one.order] += one.images
        return seen

    def chunks(self, kind: str = "predictions") -> list[Path]:
        return sorted((self.directory / "store" / kind).glob("*/*.chunk"))

    def facts(self) -> list[Path]:
        return sorted((self.directory / "store" / "facts").rglob("*.fact"))

    def forget_figures(self) -> None:
        """Remove what the next session would take its figures from without a look at the predictions."""
        shutil.rmtree(self.directory / "store" / "facts", ignore_errors=True)

    def set_trap(self) -> None:
        (self.directory / "trap").symlink_to(TRAP)

    def wait_for_caught(self) -> Path:
        """Return the file named after the process in the trap."""
        self.wait_until(lambda: any(self.directory.glob("caught-*")))
        return next(self.directory.glob("caught-*"))

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that happens while the sessions run."""
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, "waited for too long"
            ended = [session for session in self._started if session.poll() is not None]
            assert not ended, finish(ended[0]).output
            time.sleep(0.01)

    def kill_all(self) -> None:
        """Kill what a failed test may have left running, workers too."""
        for process in self._started:
            # A closed pipe is that of a session that was waited for: its number may be another process's by now.
            if process.stdout is not None and not process.stdout.closed:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.communicate()


def finish(process: subprocess.Popen[str], seconds: float = 60) -> Result:
    """Wait for a session and, as its output ends only then, for the last one of its workers."""
    output, _ = process.communicate(timeout=seconds)
    return Result(process.returncode, output)


def process_of(caught: Path) -> int:
    return int(caught.name.partition("-")[2])


def assert_right(result: Result) -> None:
    assert (result.code, result.figures) == (0, FIGURES), result.output


def assert_red(result: Result, *failed: str) -> None:
    """Check that a session is red for some tests, which it names, and that the others have the right figures."""
    assert result.code != 0
    for name in failed:
        assert re.search(rf"^(FAILED|ERROR) test_swaps\.py::test_swap\[{name}\]", result.output, re.MULTILINE)
    assert result.figures == {name: FIGURES[name] for name in FIGURES if name not in failed}, result.output


def assert_lost(result: Result, *lost: str) -> None:
    """Check that a session is red for tests without a result, and says that they have none."""
    assert_red(result, *lost)
    assert result.lost == set(lost), result.output


@contextlib.contextmanager
def project_in(directory: Path, warm: WarmPython) -> Iterator[Project]:
    project = Project(directory, warm)
    try:
        yield project
    finally:
        project.kill_all()


def write_tests(directory: Path) -> None:
    (directory / "conftest.py").write_text(CONFTEST)
    (directory / "test_swaps.py").write_text(TESTS)


@pytest.fixture
def project(tmp_path: Path, warm: WarmPython) -> Iterator[Project]:
    """Bias tests that never ran."""
    write_tests(tmp_path)
    with project_in(tmp_path, warm) as project:
        yield project


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, warm: WarmPython) -> tuple[Path, Result]:
    """The directory of one undisturbed session, and how it ended."""
    directory = tmp_path_factory.mktemp("undisturbed")
    write_tests(directory)
    with project_in(directory, warm) as project:
        return directory, project.run(*WITHOUT_XDIST)


@pytest.fixture
def done(undisturbed: tuple[Path, Result], tmp_path: Path, warm: WarmPython) -> Iterator[Project]:
    """A copy of the project after the undisturbed session, with its store and its log."""
    directory = tmp_path / "copy"
    shutil.copytree(undisturbed[0], directory)
    with project_in(directory, warm) as project:
        yield project


def test_an_undisturbed_session_is_what_the_others_are_compared_with(
    undisturbed: tuple[Path, Result], done: Project
) -> None:
    assert_right(undisturbed[1])
    assert undisturbed[1].warnings == 0
    assert done.images() == ONCE
    assert len(done.chunks()) == 4 * 6


# ------------------------------------------------------------------------------------- processes are killed


def start_with_one_worker_in_the_trap(project: Project, *arguments: str) -> tuple[subprocess.Popen[str], int]:
    """Start a session with two workers; return it when one is in the trap and the other has nothing more to do.

    The one in the trap is at "bgr" and would be given "rbg" next; the other one has evaluated "grb".
    """
    project.set_trap()
    session = project.start("-n2", *arguments)
    trapped = process_of(project.wait_for_caught())
    project.wait_until(lambda: project.images()["grb"] == ONCE["grb"])
    return session, trapped


def test_a_killed_worker_costs_the_test_that_it_was_at(project: Project) -> None:
    session, trapped = start_with_one_worker_in_the_trap(project)
    os.kill(trapped, signal.SIGKILL)
    # A new worker takes the dead one's place for the third test.
    assert_lost(finish(session), "bgr")

    assert_right(project.run(*WITHOUT_XDIST))
    assert project.images() == ONCE + IN_THE_TRAP


def test_a_killed_worker_without_a_successor_costs_all_its_tests(project: Project) -> None:
    session, trapped = start_with_one_worker_in_the_trap(project, "--max-worker-restart=0")
    os.kill(trapped, signal.SIGKILL)
    assert_lost(finish(session), "bgr", "rbg")

    assert_right(project.run(*WITHOUT_XDIST))
    assert project.images() == ONCE + IN_THE_TRAP


def test_a_killed_controller_leaves_no_worker_behind(project: Project) -> None:
    session, _ = start_with_one_worker_in_the_trap(project)
    session.kill()
    # The worker in the trap holds its chunk until it notices, after some seconds, that nobody listens.
    second = project.start("-n2")
    assert finish(session, seconds=20).code == -signal.SIGKILL
    assert_right(finish(second))
    assert project.images() == ONCE + IN_THE_TRAP


# ------------------------------------------------------------------------------------------- disks that fail

FULL_DISK = """
import resource
import sys

# Python keeps what it could write of a compiled module.
sys.dont_write_bytecode = True
# Enough for the log of passes; less than any chunk.
resource.setrlimit(resource.RLIMIT_FSIZE, (800, 800))
"""
READ_ONLY_DISK = """
import errno
import os

STORE = os.path.abspath("store")


def only_reading(system_call, writes):
    def call(path, *arguments, **options):
        if os.path.abspath(path).startswith(STORE) and writes(*arguments):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return system_call(path, *arguments, **options)

    return call


os.mkdir = only_reading(os.mkdir, lambda *_: True)
os.open = only_reading(os.open, lambda flags, *_: flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
"""
DISKS = {"full": FULL_DISK, "read_only": READ_ONLY_DISK}


@pytest.mark.parametrize("disk", list(DISKS))
def test_on_a_disk_that_does_not_write_a_session_goes_on_with_one_warning(project: Project, disk: str) -> None:
    (project.directory / "bad_disk.py").write_text(DISKS[disk])
    result = project.run(*WITHOUT_XDIST, "-p", "bad_disk")
    assert_right(result)
    assert project.images() == ONCE
    assert project.chunks() == []
    assert (result.output.count("cannot be written"), result.warnings) == (1, 1), result.output


def test_on_a_full_disk_each_worker_goes_on_with_one_warning(project: Project) -> None:
    (project.directory / "bad_disk.py").write_text(FULL_DISK)
    result = project.run("-n2", "-p", "bad_disk")
    assert_right(result)
    # Each worker needs the clean images, and has nowhere to take them from.
    assert project.images() == ONCE + Counter({"rgb": ONCE["rgb"]})
    assert result.warnings == 2, result.output


def test_a_full_store_on_a_read_only_disk_is_used(done: Project) -> None:
    (done.directory / "bad_disk.py").write_text(READ_ONLY_DISK)
    result = done.run(*WITHOUT_XDIST, "-p", "bad_disk")
    assert_right(result)
    assert result.warnings == 0, result.output
    assert done.images() == ONCE


def test_predictions_on_a_read_only_disk_are_used_without_the_figures(done: Project) -> None:
    (done.directory / "bad_disk.py").write_text(READ_ONLY_DISK)
    done.forget_figures()
    result = done.run(*WITHOUT_XDIST, "-p", "bad_disk")
    assert_right(result)
    assert result.warnings == 1, result.output
    assert done.images() == ONCE


# ------------------------------------------------------------------------------------------- files that rot


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def replace_by_a_picture(file: Path) -> None:
    file.write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(range(256)))


def replace_by_a_text(file: Path) -> None:
    file.write_text("These are not the predictions you are looking for.\n")


def test_damaged_and_foreign_files_are_computed_again(done: Project) -> None:
    harm = [truncate, flip_a_bit, replace_by_a_picture, replace_by_a_text]
    predictions = done.chunks()[::6]  # The first chunk of each of the four orders.
    damaged = [*predictions, done.chunks("pixels")[0], *done.facts()]
    for file, damage in zip(damaged, itertools.cycle(harm), strict=False):
        damage(file)

    result = done.run(*WITHOUT_XDIST)
    assert_right(result)
    assert done.images() == ONCE + Counter({"rgb": 32, "bgr": 32, "grb": 32, "rbg": 32})
    warned = re.findall(r"StoreWarning: (\S+): .*; it is computed again", result.output)
    assert sorted(warned) == sorted(map(str, damaged))

    # They are whole again.
    done.forget_figures()
    again = done.run(*WITHOUT_XDIST)
    assert_right(again)
    assert again.warnings == 0


def test_where_warnings_are_errors_a_damaged_file_makes_one_session_red(done: Project) -> None:
    truncate(done.chunks()[0])
    done.forget_figures()
    assert done.run(*WITHOUT_XDIST, "-W", "error").code == 1
    assert_right(done.run(*WITHOUT_XDIST, "-W", "error"))


# ------------------------------------------------------------------------------------------- other sessions


def test_two_sessions_at_once_share_the_work(project: Project) -> None:
    project.set_trap()
    sessions = [project.start(*WITHOUT_XDIST) for _ in range(2)]
    # One is in the trap. It goes on as soon as the other one works at another chunk of the same images.
    caught = project.wait_for_caught()
    project.wait_until(lambda: len({one.process for one in project.passes() if one.order == "bgr"}) == 2)
    caught.unlink()
    for session in sessions:
        assert_right(finish(session))
    assert project.images() == ONCE


# ---------------------------------------------------------------------------------------------------- clocks

BACKWARDS = """
import itertools
import time

time.time = itertools.count(time.time() - 10 * 365 * 86400, -3600).__next__
"""


def test_a_clock_that_runs_backwards_changes_nothing(done: Project) -> None:
    (done.directory / "clock.py").write_text(BACKWARDS)
    done.chunks()[0].unlink()
    done.forget_figures()
    future = time.time() + 10 * 365 * 86400
    for path in (done.directory / "store").rglob("*"):
        os.utime(path, (future, future))
    assert_right(done.run(*WITHOUT_XDIST, "-p", "clock"))
    assert (done.images() - ONCE).total() == 32


# ----------------------------------------------------------------------------------------------- lock files


def die_holding(lock: Path) -> None:
    """Let a process take a lock, and kill it."""
    code = "import filelock, sys, time; filelock.FileLock(sys.argv[1]).acquire(); print('held'); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-u", "-c", code, str(lock)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        holder.kill()


def test_locks_of_dead_processes_do_not_block(done: Project) -> None:
    done.forget_figures()
    for chunk in done.chunks():
        chunk.unlink()
        chunk.with_suffix(".lock").write_text("4194304\nlocalhost\n")
    die_holding(done.chunks("pixels")[0].with_suffix(".lock"))
    done.chunks("pixels")[0].unlink()
    die_holding(next((done.directory / "store" / "predictions").glob("*/0-32.lock")))

    assert_right(finish(done.start(*WITHOUT_XDIST), seconds=30))
    # That the model says the same of an image each time is known from before.
    assert done.images() == ONCE + ONCE - Counter({"rgb": CHECKED_IMAGES})


# ----------------------------------------------------------------------------------------- tests that hang


def test_a_test_that_times_out_leaves_its_chunk_to_the_others(project: Project) -> None:
    (project.directory / "test_swaps_again.py").write_text(SAME_AGAIN)
    project.set_trap()
    result = finish(project.start(*WITHOUT_XDIST, "--timeout=3", "--timeout-method=signal"))
    assert_red(result, "bgr")
    assert re.search(r"Timeout \(?>3\.0s", result.output), result.output
    assert re.search(r"test_swap_again\n  bgr +asr +0\.700 .* passed .*\n +skew +0\.300 ", result.output, re.MULTILINE)
    assert project.images() == ONCE + IN_THE_TRAP


def test_a_session_that_times_out_and_dies_is_continued(project: Project) -> None:
    project.set_trap()
    result = finish(project.start(*WITHOUT_XDIST, "--timeout=3", "--timeout-method=thread"))
    assert result.code != 0
    assert "Timeout" in result.output
    assert project.images() == Counter({"rgb": ONCE["rgb"], "bgr": 256 + 128})

    assert_right(project.run(*WITHOUT_XDIST))
    assert project.images() == ONCE + IN_THE_TRAP


def test_a_worker_that_times_out_and_dies_costs_the_test_that_it_was_at(project: Project) -> None:
    project.set_trap()
    assert_lost(finish(project.start("-n2", "--timeout=3", "--timeout-method=thread")), "bgr")

    assert_right(project.run(*WITHOUT_XDIST))
    assert project.images() == ONCE + IN_THE_TRAP
