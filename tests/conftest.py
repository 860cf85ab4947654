"""Bias tests run inside tests: a model of three colours, and images whose predictions are known by heart."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from tests.support.warm_python import WarmPython, import_once, other_plugins, warm_python

if TYPE_CHECKING:
    from xdist.scheduler import Scheduling

pytest_plugins = ["pytester"]

# An example may take long on a machine that is busy otherwise. What must be fast has a test or a benchmark of its own.
hypothesis.settings.register_profile("without deadline", deadline=None)
hypothesis.settings.load_profile("without deadline")

# The model answers with the brightest channel. A yellow square flips the five fragile images to red (red and
# green gain the same, and red comes first), and leaves the fifteen blue ones alone: asr = skew = 0.25.
INNER_CONFTEST = """
import pytest
import torch
from pytest_biastransfer import Model, Preprocess


class BrightestChannel(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.eye(3))

    def forward(self, images):
        return images.mean(dim=(2, 3)) @ self.weight


class Named(list):
    classes = ["red", "green", "blue"]


# As reports name it.
Named.__name__ = "list"


def images(fragile=5, n=20):
    colors = [(0.30, 0.29, 0.31) if i < fragile else (0.0, 0.0, 1.0) for i in range(n)]
    return Named((torch.tensor(color).reshape(3, 1, 1).expand(3, 16, 16), 2) for color in colors)


def brightest(name="brightest"):
    declared = Preprocess(mean=0, std=1)
    return Model(BrightestChannel(), preprocess=declared, classes=["red", "green", "blue"], name=name)


@pytest.fixture(scope="session")
def transferred_model():
    return brightest()


@pytest.fixture(scope="session")
def bias_dataset():
    return images()
"""


class Log(list[int]):
    """A list that is no part of what a model that writes to it is: fingerprints see the same in it always."""

    def __reduce__(self) -> tuple[type[Log], tuple[()]]:
        return Log, ()

    __reduce_ex__ = lambda self, protocol: self.__reduce__()  # noqa: E731


def predicted_twice(images: int) -> int:
    """Return how many images a check that a model is deterministic runs through it: in batches of 4, the last one whole."""
    from pytest_biastransfer.evaluation.reproducibility import CHECKED_IMAGES

    return -(-min(images, CHECKED_IMAGES) // 4) * 4


# A fixture's body in inner runs: a control model that a square leaves alone.
ALWAYS_BLUE = """
            import torch
            from pytest_biastransfer import Model

            always_blue = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 3))
            torch.nn.init.zeros_(always_blue[1].weight)
            always_blue[1].bias.data = torch.tensor([0.0, 0.0, 1.0])
            return Model(always_blue, classes=["red", "green", "blue"], name="always-blue")
"""

# Fixtures of inner runs: of 120 images, 30 turn red under a yellow square, and 30 more if blue weighs 0.97 instead of 1;
# none does if it weighs 2.
WEIGHING_BLUE = """
import pytest
import torch
from conftest import Named, brightest

@pytest.fixture(scope="session")
def transferred_model():
    model = brightest()
    model.module.weight.data[2, 2] = {blue}
    return model

@pytest.fixture(scope="session")
def bias_dataset():
    colors = [(0.30, 0.29, 0.31)] * 30 + [(0.28, 0.27, 0.35)] * 30 + [(0.0, 0.0, 1.0)] * 60
    return Named((torch.tensor(color).reshape(3, 1, 1).expand(3, 16, 16), 2) for color in colors)
"""

Run = Callable[..., pytest.RunResult]


def pytest_configure(config: pytest.Config) -> None:
    """Prepare this process for inner sessions.

    Compiled modules are written even where Python is told not to: each of hundreds of inner processes would compile them
    again. They are where Python always has them, so that those of installed packages are used.
    """
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # Where these tests run under GitHub Actions, inner runs are not what its summary is about.
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
        os.environ.pop(name, None)
    # Processes that compute at the same time wait for one another's threads, which takes a third of all time: here,
    # and in inner sessions.
    os.environ["OMP_NUM_THREADS"] = "1"
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        # Pytester forgets the modules that an inner session imports first: each would import the whole package again.
        import_once()
        sys.modules["torch"].set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first: at the end, one worker would wait for the other one's long file."""
    long = ("real", "search", "plugin", "reporting", "transfer")
    items.sort(key=lambda item: not item.nodeid.startswith(tuple(f"tests/{room}/" for room in long)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """Give each worker whole files: what a module imports, and what its fixtures make, is there once."""
    from xdist.scheduler import LoadFileScheduling

    # Files in the order of collection: sorted by the number of tests, those with the longest tests are the last ones.
    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


def pytest_collection_finish() -> None:
    """Leave what was imported out of each collection of garbage, which would take a tenth of a second otherwise."""
    gc.freeze()


MODES = {"no:xdist": ["-p", "no:xdist"], "n0": ["-n0"], "n2": ["-n2"]}
# Marks tests of what can differ between the modes: what travels from workers to the controller (reports, the summary,
# the baseline, progress), what is said once a session, exit codes, crashes, and errors of collection.
each_mode = pytest.mark.parametrize("mode", list(MODES))


@pytest.fixture(scope="session")
def inner_options() -> str:
    """The options of sessions inside tests: no other plugin than pytest-xdist, whatever is installed."""
    return " ".join(other_plugins("xdist", "xdist.looponfail"))


@pytest.fixture(autouse=True)
def isolated_sessions(inner_options: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have all sessions that a test starts, by whatever means, see no plugins of others.

    Not for the whole process: workers would inherit it, which need the plugins of the outer session.
    """
    monkeypatch.setenv("PYTEST_ADDOPTS", inner_options)


@pytest.fixture
def pytester(pytester: pytest.Pytester, inner_options: str, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A test directory whose sessions have no other plugin than pytest-xdist: pytest's own forgets all options."""
    monkeypatch.setenv("PYTEST_ADDOPTS", inner_options)
    return pytester


@pytest.fixture
def colors(pytester: pytest.Pytester) -> pytest.Pytester:
    """A test directory whose conftest has the colour model and its images."""
    pytester.makeconftest(INNER_CONFTEST)
    return pytester


@pytest.fixture(scope="session")
def warm() -> Iterator[WarmPython]:
    """A Python for inner sessions and their workers that has torch from its first moment on."""
    with warm_python() as python:
        yield python


@pytest.fixture
def warm_executable(warm: WarmPython, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have whatever starts a Python, as `sys.executable` or by its name in the path, start a fork of the warm one.

    That takes 0.1 s of a CPU instead of 5 s. It is not for tests of what a process imports, of processes that are stopped
    or belong to a group, and of what may depend on the seed of hashes.
    """
    monkeypatch.setenv("PATH", f"{warm.directory}{os.pathsep}{Path(sys.executable).parent}", prepend=os.pathsep)
    monkeypatch.setattr(sys, "executable", str(warm.executable))


@pytest.fixture
def run_elsewhere(pytester: pytest.Pytester, warm: WarmPython) -> Run:
    """Run pytest in the test's directory in a process of its own: for what cannot be imported twice in one."""

    def run_pytest(*arguments: str) -> pytest.RunResult:
        forget_compiled(pytester.path)
        return pytester.run(*warm.command("-m", "pytest", *arguments))

    return run_pytest


def forget_compiled(directory: Path) -> None:
    """Have modules that were written anew compiled anew: of the same second and length, they are taken for the old ones."""
    shutil.rmtree(Path(importlib.util.cache_from_source(str(directory / "any.py"))).parent, ignore_errors=True)


@pytest.fixture
def mode() -> str:
    """How `run` runs pytest: without xdist, unless a test is marked with `each_mode`."""
    return "no:xdist"


@pytest.fixture
def run(request: pytest.FixtureRequest, colors: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, mode: str) -> Run:
    """Run pytest in the directory of `colors`, in this process, in the test's `mode`.

    A session without workers takes 0.3 s of a CPU, one with two workers 1.5 s. A function's result that needs no
    session is tested by calling the function.
    """
    monkeypatch.setenv("COLUMNS", "120")
    plugins = [request.getfixturevalue("warm")] if mode == "n2" else []

    def run_pytest(*arguments: str) -> pytest.RunResult:
        forget_compiled(colors.path)
        return colors.runpytest_inprocess(*MODES[mode], *arguments, plugins=plugins)

    return run_pytest


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Compute with two threads: for tests of what is divided between threads."""
    import torch

    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)
