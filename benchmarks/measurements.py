"""What is measured: each method does one thing once, and returns named quantities of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.figures import ADAPTERS, FORMATS
from benchmarks.processes import BenchmarkError, Finished, images_evaluated, run, run_pytest
from benchmarks.workload import Workload, make_project, model_spec, write_tiny_weights

Quantities = Mapping[str, float]
Measurement = Callable[[], Quantities]

_TESTS: Final = 4
_MANY: Final = 200
_COLLECTED: Final = 1000
_TIME_IMPORT: Final = """
import time, pytest, dataclasses
start = time.perf_counter()
import pytest_biastransfer.plugin.hooks, pytest_biastransfer.plugin.fixtures
print((time.perf_counter() - start) * 1000)
"""


@dataclass(frozen=True)
class Mode:
    """A way to run a session: the arguments that bias tests and a trivial test take for it."""

    name: str
    arguments: tuple[str, ...] = ()
    trivial_arguments: tuple[str, ...] = ()


ONE_PROCESS: Final = Mode("one")
TWO_WORKERS: Final = Mode("n2", ("-n", "2"), ("-n", "2"))


class Workbench:
    """A directory for projects, the work, and the environment of all processes."""

    def __init__(self, place: Path, work: Workload, environment: Mapping[str, str]) -> None:
        place.mkdir(parents=True, exist_ok=True)
        self._place = place
        self._work = work
        self._images = len(work)
        self._environment = dict(environment)
        self._run_once: set[Mode] = set()

    def floor(self, *arguments: str) -> Quantities:
        """Time forward passes alone: five over the images."""
        project = self._project("floor", {"floor.py": "floor.py"})
        command = [sys.executable, "floor.py", str(self._work.images), str(self._work.weights), *arguments]
        finished = run(command, project, self._environment)
        return {"passes": sum(finished.printed["passes"]), "process": finished.seconds}

    def cold(self, mode: Mode) -> Quantities:
        """Time the first session of a new project with four bias tests."""
        project = self._project(f"ours-{mode.name}", {"test_biases.py": "four_interventions.py"})
        self._run_once.add(mode)
        return {"seconds": self._bias_session(project, mode.arguments, _TESTS, reused=False).seconds}

    def warm(self, mode: Mode) -> Quantities:
        """Time the second session of that project, with nothing changed."""
        if mode not in self._run_once:
            self.cold(mode)
        self._run_once.remove(mode)
        project = self._place / f"ours-{mode.name}"
        finished = self._bias_session(project, mode.arguments, _TESTS, reused=True)
        return {"seconds": finished.seconds, "torch": _importers(project, "torch")}

    def trivial(self, mode: Mode) -> Quantities:
        """Time a session of one trivial test; its files were compiled before, as a second session's are."""
        project = self._place / "trivial"
        if not project.exists():
            self._project("trivial", {"test_trivial.py": "trivial.py"})
            run_pytest(project, (), self._environment, passed=1)
        finished = run_pytest(project, mode.trivial_arguments, self._environment, passed=1)
        return {"seconds": finished.seconds}

    def hand(self, mode: Mode) -> Quantities:
        """Time the hand-written suite."""
        project = self._project("hand", {"test_hand_written.py": "hand_written.py"})
        where = {"BENCHMARK_IMAGES": str(self._work.images), "BENCHMARK_WEIGHTS": str(self._work.weights)}
        finished = run_pytest(project, mode.trivial_arguments, self._environment | where, passed=_TESTS)
        return {"seconds": finished.seconds}

    def many(self) -> Quantities:
        """Time 200 bias tests that the store has everything of."""
        project = self._place / "many"
        if not project.exists():
            weights = write_tiny_weights(self._place / "tiny.safetensors")
            copies = {"tiny.py": "tiny.py", "test_biases.py": "many_interventions.py"}
            make_project(project, copies, model_spec(weights, "python:tiny:Tiny"), f"imagefolder:{self._work.images}")
            self._bias_session(project, (), _MANY, reused=False)
        return {"seconds": self._bias_session(project, (), _MANY, reused=True).seconds}

    def canary(self) -> Quantities:
        """Time a session that has everything in the store and loads its model, with and without the canary."""
        project = self._place / "canary"
        if not project.exists():
            self._project("canary", {"test_biases.py": "fixture_model.py"})
            self._bias_session(project, (), _TESTS, reused=False)
        modes = ("auto", "off")
        seconds = [
            self._bias_session(project, (f"--bias-verify={mode}",), _TESTS, reused=True).seconds for mode in modes
        ]
        return dict(zip(modes, seconds, strict=True))

    def memory(self) -> Quantities:
        """Tell the most memory that the first session of one bias test takes."""
        project = self._project("memory", {"test_biases.py": "one_intervention.py"})
        return {"bytes": self._bias_session(project, (), 1, reused=False).peak_bytes}

    def counting(self) -> Quantities:
        """Count the images that went through the model in two workers; each intervention takes one pass."""
        copies = {"counting.py": "counting.py", "test_biases.py": "four_interventions.py"}
        project = self._project("counting", copies, arch="counting:CountingResNet20")
        self._bias_session(project, TWO_WORKERS.arguments, _TESTS, reused=False)
        counts = [int(line) for path in (project / "forwarded").iterdir() for line in path.read_text().split()]
        from pytest_biastransfer.evaluation.reproducibility import CHECKED_IMAGES

        # The model is checked once, by whichever worker comes first.
        return {"clean": (sum(counts) - CHECKED_IMAGES) / self._images - _TESTS}

    def five_passes(self, by: str) -> Quantities:
        """Time five passes by two actors of Ray, or by two processes that share a store, after a first pass."""
        project = self._project(f"five-{by}", {"five_passes.py": "five_passes.py"})
        command = [sys.executable, "five_passes.py", by, str(self._work.images), str(self._work.weights)]
        return run(command, project, self._environment).printed

    def early_stop(self, alpha: float | None) -> Quantities:
        """Time one measurement that stops early, or one of all images."""
        project = self._project("early", {"early_stop.py": "early_stop.py"})
        asked = () if alpha is None else ("--alpha", str(alpha))
        command = [sys.executable, "early_stop.py", str(self._work.images), str(self._work.weights), *asked]
        return run(command, project, self._environment).printed

    def statistics(self) -> Quantities:
        """Time all statistics of one measurement."""
        project = self._project("statistics", {"statistics_of_one.py": "statistics_of_one.py"})
        return run([sys.executable, "statistics_of_one.py"], project, self._environment).printed

    def gaps(self) -> Quantities:
        """Time the gaps of a million predictions."""
        project = self._project("gaps", {"gaps_of_a_million.py": "gaps_of_a_million.py"})
        return run([sys.executable, "gaps_of_a_million.py"], project, self._environment).printed

    def transferring(self) -> Quantities:
        """Time fixed-feature transfers, and a session in which nothing has changed."""
        project = self._project("transferring", {"transferring.py": "transferring.py"})
        return run([sys.executable, "transferring.py", str(self._work.images)], project, self._environment).printed

    def applying(self) -> Quantities:
        """Time each intervention, and a forward pass of the same images."""
        project = self._project("applying", {"applying.py": "applying.py"})
        return run([sys.executable, "applying.py"], project, self._environment).printed

    def searching(self) -> Quantities:
        """Search for a planted shortcut from ten seeds; from one and on few images where there are few."""
        project = self._project("searching", {name: name for name in ("planted.py", "search_for_planted.py")})
        much = self._work.images.parent.name == "cifar10"
        counts = ("10", "256") if much else ("1", "64")
        command = [sys.executable, "search_for_planted.py", str(self._work.weights.parents[1]), *counts]
        return run(command, project, self._environment).printed

    def fingerprint(self) -> Quantities:
        """Time the fingerprint of the images' files, when nothing is known of them and in the next process."""
        project = self._project("fingerprint", {"fingerprint_of_files.py": "fingerprint_of_files.py"})
        command = [sys.executable, "fingerprint_of_files.py", str(self._work.images), "store"]
        cold, warm = (run(command, project, self._environment).printed["milliseconds"] for _ in range(2))
        return {"cold": cold, "warm": warm}

    def loading(self, name: str) -> Quantities:
        """Tell the most memory that loading a model takes beside what was there, and the size of its file."""
        project = self._project("loading", {"loading.py": "loading.py"})
        run([sys.executable, "loading.py", "make", name], project, self._environment)
        return run([sys.executable, "loading.py", "load", name], project, self._environment).printed

    def collecting(self) -> Quantities:
        """Time collecting a thousand bias tests on models of twenty specs, and count who imports torch for it."""
        project = self._project("collecting", {"test_specs.py": "twenty_specs.py"})
        command = [
            sys.executable,
            "-m",
            "pytest",
            "--rootdir",
            str(project),
            "-c",
            "pytest.ini",
            "--collect-only",
            "-q",
        ]
        finished = run(command, project, self._environment)
        if f"{_COLLECTED} tests collected" not in finished.output:
            raise BenchmarkError(f"expected {_COLLECTED} tests\n{finished.output[-2000:]}")
        return {"seconds": finished.seconds, "torch": _importers(project, "torch")}

    def plugin_import(self) -> Quantities:
        """Time the import of what the plugin adds to every session."""
        finished = run([sys.executable, "-c", _TIME_IMPORT], self._place, self._environment)
        return {"milliseconds": float(finished.output)}

    def plain_session(self) -> Quantities:
        """Count the heavy modules in a session without bias tests; Hypothesis' plugin may import numpy itself."""
        project = self._project("plain", {"test_trivial.py": "trivial.py"})
        run_pytest(project, ("-p", "no:hypothesispytest"), self._environment, passed=1)
        return {"heavy": _importers(project, "torch") + _importers(project, "numpy")}

    def _project(self, name: str, copies: Mapping[str, str], arch: str = "resnet20:ResNet20") -> Path:
        model = model_spec(self._work.weights, f"python:{arch}")
        return make_project(self._place / name, copies, model, f"imagefolder:{self._work.images}")

    def _bias_session(self, project: Path, arguments: Sequence[str], tests: int, *, reused: bool) -> Finished:
        for note in project.glob("imported/*"):
            note.unlink()
        finished = run_pytest(project, (*arguments, "--bias-store=store"), self._environment, passed=tests)
        if (images_evaluated(finished) == 0) is not reused:
            wrong = "evaluated images again" if reused else "evaluated nothing"
            raise BenchmarkError(f"the session in {project.name} {wrong}\n{finished.output[-4000:]}")
        return finished


def _importers(project: Path, module: str) -> int:
    """Return how many processes of the project's last session had imported a module."""
    return sum(module in note.read_text().split() for note in (project / "imported").iterdir())


def cpu_measurements(whole: Workbench, tenth: Workbench) -> dict[str, Measurement]:
    """Return the measurements on the CPU by name, in the order in which a round takes them."""
    one, two = ONE_PROCESS, TWO_WORKERS
    return {
        "floor": whole.floor,
        "cold": partial(whole.cold, one),
        "warm": partial(whole.warm, one),
        "trivial": partial(whole.trivial, one),
        "hand": partial(whole.hand, one),
        "cold-n2": partial(whole.cold, two),
        "warm-n2": partial(whole.warm, two),
        "trivial-n2": partial(whole.trivial, two),
        "hand-n2": partial(whole.hand, two),
        "many": whole.many,
        "two-processes": partial(whole.five_passes, "processes"),
        "ray": partial(whole.five_passes, "ray"),
        "canary": whole.canary,
        "memory": whole.memory,
        "memory-tenth": tenth.memory,
        "all-images": partial(whole.early_stop, None),
        "early-stop": partial(whole.early_stop, 0.01),
        "statistics": whole.statistics,
        "gaps": whole.gaps,
        "transferring": whole.transferring,
        "applying": whole.applying,
        "searching": whole.searching,
        "fingerprint": whole.fingerprint,
        "collecting": whole.collecting,
        **{f"loading-{name}": partial(whole.loading, name) for name in (*FORMATS, *ADAPTERS)},
        "import": whole.plugin_import,
        "plain": whole.plain_session,
        "counting": whole.counting,
    }
