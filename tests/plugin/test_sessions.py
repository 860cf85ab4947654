"""Sessions: what they import, what the ini file configures, what an interruption leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import pytest
import torch
from PIL import Image

from tests.conftest import MODES, Run, each_mode
from tests.support.systems import KILL, posix
from tests.support.warm_python import WarmPython

HEAVY = ("torch", "torchvision", "numpy", "scipy", "PIL", "jinja2")


@pytest.mark.parametrize("mode", list(MODES))
def test_session_without_bias_tests_imports_nothing_heavy(pytester: pytest.Pytester, mode: str) -> None:
    pytester.makepyfile(
        f"""
        import sys

        def test_nothing_heavy():
            assert not set(sys.modules) & set({HEAVY})
        """
    )
    result = pytester.runpytest_subprocess(*MODES[mode])
    result.assert_outcomes(passed=1)


def test_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, pytest_biastransfer as b\n"
        "b.Square(size=0.5) | b.Blur(); b.Custom(print); b.Preprocess(size=8)\n"
        f"sys.exit(repr(set(sys.modules) & set({HEAVY})) if set(sys.modules) & set({HEAVY}) else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


# The figure is 15 ms where pytest itself takes 100 ms: a busy machine slows the two alike, so their ratio is asserted.
def test_plugin_imports_in_15_milliseconds_where_pytest_takes_100(tmp_path: Path) -> None:
    code = (
        "import time\n"
        "start = time.process_time()\n"
        "import pytest, dataclasses\n"
        "pytest_is_here = time.process_time()\n"
        "import pytest_biastransfer.plugin.hooks, pytest_biastransfer.plugin.fixtures\n"
        "print((time.process_time() - pytest_is_here) / (pytest_is_here - start))"
    )
    # The first process compiles, as pip does where it installs a package; the others are timed.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
        for _ in range(6)
    ]
    assert list(tmp_path.rglob("hooks.*.pyc")), "nothing was compiled"
    ratios = [float(run.stdout) for run in runs[1:]]
    assert median(ratios) < 0.15, ratios


def make_folder(directory: Path, images: int) -> None:
    """Write pictures whose brightest channel is known: every second one turns red under a yellow square."""
    for place in range(images):
        color = (76, 74, 79) if place % 2 else (0, 0, 255)
        folder = directory / ("blue" if place % 3 else "green")
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 16), color).save(folder / f"{place:03}.png")


@each_mode
def test_ini_file_names_models_and_dataset(run: Run, colors: pytest.Pytester) -> None:
    make_folder(colors.path / "config" / "data", 12)
    conftest = colors.path / "conftest.py"
    (colors.path / "config" / "mine.py").write_text(conftest.read_text())
    conftest.unlink()
    torch.save({"weight": torch.eye(3)}, colors.path / "config" / "weights.pt")
    (colors.path / "config" / "classes.txt").write_text("red\ngreen\nblue\n")
    (colors.path / "config" / "pytest.ini").write_text(
        "[pytest]\n"
        "bias_transferred_model = checkpoint:weights.pt?arch=python:mine:brightest&size=16\n"
        "bias_control_model = python:mine:brightest?classes=classes.txt&name=plain&size=16\n"
        "bias_dataset = imagefolder:data\n"
        "bias_batch_size = 5\n"
        "bias_max_images = 10\n"
        "bias_store = kept\n"
    )
    colors.makepyfile(
        """
        import pytest

        @pytest.mark.bias_intervention("yellow-square", max_asr=1, control="control_model")
        def test_it(bias):
            assert (bias.model, bias.dataset, bias.control.model, bias.n) == ("weights", "data", "plain", 10)
            assert bias.asr == bias.control.asr == len(bias.flips) / 10
            assert {flip.label for flip in bias.flips} <= {"blue", "green"}
        """
    )
    result = run("-c", "config/pytest.ini", "--rootdir", ".")
    result.assert_outcomes(passed=1)
    assert list((colors.path / "config" / "kept" / "predictions").glob("*/0-10.chunk"))
    assert run("-c", "config/pytest.ini", "--rootdir", ".", "--bias-max-images=6").ret == pytest.ExitCode.TESTS_FAILED


SLOW = """
import os, signal, time
import conftest
import pytest
from pytest_biastransfer import Custom

@pytest.fixture(scope="session")
def bias_dataset():
    return conftest.images(fragile=100, n=2000)

def slow(images):
    with open("batches", "a") as log:
        log.write("batch\\n")
    time.sleep(float(os.environ.get("PAUSE", "0")))
    return images.flip(1)

@pytest.mark.bias_intervention(Custom(slow), max_asr=1)
def test_slow(bias):
    assert bias.n == 2000
"""


@posix
@pytest.mark.parametrize("mode", ["no:xdist", "n2"])
@pytest.mark.parametrize("how", [signal.SIGINT, KILL])
def test_interrupted_run_resumes_from_finished_chunks(
    colors: pytest.Pytester, warm: WarmPython, how: signal.Signals, mode: str
) -> None:
    colors.makepyfile(test_slow=SLOW)
    batches = colors.path / "batches"
    # Workers have to be in the group that is signalled, and forks are in none.
    python = [sys.executable] if mode == "n2" else warm.command()
    command = [*python, "-m", "pytest", *MODES[mode], "--bias-batch-size=256"]
    environment = os.environ | {"PAUSE": "0.15"}
    first = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        # Eight chunks of 256 images: stop in the middle.
        while not batches.exists() or len(batches.read_text().splitlines()) < 4:
            assert first.poll() is None
            time.sleep(0.05)
        os.killpg(first.pid, how)  # As a terminal does: the workers too.
        assert first.wait(timeout=60) != 0
    finally:
        first.kill()
    names = [path.stem.split("-") for path in colors.path.glob(".pytest_cache/d/biastransfer/predictions/*/*.chunk")]
    done = sum(int(stop) - int(start) for start, stop in names)
    assert 2000 + 3 * 256 <= done <= 4000, "all clean images, and the chunks before the interruption"
    assert done < 4000 or mode == "n2", "workers finish the test that they are at when they are interrupted"

    result = colors.runpytest_inprocess(*MODES[mode], "--bias-batch-size=256", plugins=[warm])
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [f"1 bias test: 1 passed; {4000 - done:,} images evaluated, {done:,} predictions reused"]
    )
