"""What the terminal shows while an evaluation takes long."""

from __future__ import annotations

import io
import os
import re
import subprocess

import pytest

from pytest_biastransfer.progress.record import Progress, progress_text
from pytest_biastransfer.progress.stream_line import progress_on
from tests.conftest import MODES, Run
from tests.support.systems import posix
from tests.support.warm_python import WarmPython


@pytest.mark.parametrize(
    ("running", "text"),
    [
        ([], None),
        ([Progress("a", 256, 5000, 256, seconds=1.9)], None),
        ([Progress("a", 5000, 5000, 5000, seconds=60)], None),
        ([Progress("a", 1000, 5000, 1000, seconds=2)], "predicting 1,000 of 5,000 images, 500/s, 8 s left"),
        # Half of it was there already: what this process did tells its rate.
        ([Progress("a", 3000, 5000, 500, seconds=5)], "predicting 3,000 of 5,000 images, 100/s, 20 s left"),
        # Two workers share one evaluation, and see each other's chunks.
        (
            [Progress("a", 1000, 5000, 400, seconds=4), Progress("a", 1200, 5000, 800, seconds=4)],
            "predicting 1,200 of 5,000 images, 300/s, 13 s left",
        ),
        (
            [Progress("a", 1000, 5000, 1000, seconds=4), Progress("b", 1000, 3000, 1000, seconds=4)],
            "predicting 2,000 of 8,000 images, 500/s, 12 s left",
        ),
        ([Progress("a", 10, 5000, 10, seconds=20)], "predicting 10 of 5,000 images, 0.5/s, 2 h 46 min left"),
        ([Progress("a", 256, 512, 0, seconds=3)], "predicting 256 of 512 images, 0.0/s"),
    ],
)
def test_progress_in_words(running: list[Progress], text: str | None) -> None:
    assert progress_text(running) == text


SLOW = """
import time
import pytest
from pytest_biastransfer import Model
from conftest import BrightestChannel, images


class Slow(BrightestChannel):
    def forward(self, batch):
        # Only under the intervention: the corner of a clean image is never without blue.
        if batch[0, 2, 0, 0] == 0:
            time.sleep(len(batch) * 0.0025)
        return super().forward(batch)


@pytest.fixture(scope="session")
def transferred_model():
    return Model(Slow(), classes=["red", "green", "blue"])


@pytest.fixture(scope="session")
def bias_dataset():
    return images(fragile=150, n=600)


@pytest.mark.bias_intervention("yellow-square", max_asr=1)
def test_slow():
    print("captured")
"""


def show_sooner(pytester: pytest.Pytester) -> None:
    """Have progress shown after half a second instead of two."""
    with (pytester.path / "conftest.py").open("a") as conftest:
        conftest.write("\nfrom pytest_biastransfer.progress import record\nrecord._SHOWN_AFTER_SECONDS = 0.5\n")


def seen_in_a_terminal(pytester: pytest.Pytester, warm: WarmPython, *arguments: str) -> str:
    """Run the slow test in a terminal and return all that pytest wrote there."""
    show_sooner(pytester)
    pytester.makepyfile(test_slow=SLOW)
    return written_to_a_terminal(pytester, warm, "--bias-batch-size=64", *arguments)


def written_to_a_terminal(pytester: pytest.Pytester, warm: WarmPython, *arguments: str) -> str:
    """Run pytest in a terminal of 100 columns and return all that it wrote there."""
    import pty

    ours, theirs = pty.openpty()
    command = warm.command("-m", "pytest", *arguments)
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "PY_COLORS": "1"}
    with subprocess.Popen(command, cwd=pytester.path, stdin=theirs, stdout=theirs, stderr=theirs, env=environment):
        os.close(theirs)
        written = b""
        while True:
            try:
                read = os.read(ours, 4096)
            except OSError:  # Linux says so when the other end is closed.
                break
            if not read:
                break
            written += read
    os.close(ours)
    return written.decode()


@posix
@pytest.mark.parametrize("mode", list(MODES))
def test_a_long_evaluation_shows_its_progress(colors: pytest.Pytester, warm: WarmPython, mode: str) -> None:
    written = seen_in_a_terminal(colors, warm, *MODES[mode])
    texts = re.findall("\x1b7 (.*?)\x1b\\[K\x1b8", written)
    shown = [text for text in texts if not text.startswith("making the fixture")]
    assert shown
    for text in shown:
        assert re.fullmatch(r"predicting [\d,]+ of 600 images, [\d,]+/s, \d+ s left", text)
    assert 160 < int(re.findall(r"(\d+)/s", shown[-1])[0]) < (880 if mode == "n2" else 440)
    # Each text was taken away before pytest wrote anything else, and what pytest wrote is what it always writes.
    assert re.search("\x1b8\x1b\\[K[^\x1b]*(\x1b\\[32m)?\\.", written)
    without = re.sub("\x1b7.*?\x1b8|\x1b\\[K|\x1b\\[[\\d;]*m", "", written)
    assert re.search(r"test_slow\.py \. +\[100%\]|^\. +\[100%\]", without, re.MULTILINE), without
    assert "captured" not in without


@posix
def test_quiet_sessions_show_none(colors: pytest.Pytester, warm: WarmPython) -> None:
    assert "images," not in seen_in_a_terminal(colors, warm, "-q").partition("bias test")[0]


def test_where_nobody_watches_none_is_shown(colors: pytest.Pytester, run_elsewhere: Run) -> None:
    colors.makepyfile(test_slow=SLOW)
    show_sooner(colors)
    result = run_elsewhere("--bias-batch-size=64", "--color=yes")
    result.assert_outcomes(passed=1)
    assert "\x1b7" not in result.stdout.str()


class Terminal(io.StringIO):
    """A stream that somebody watches."""

    def isatty(self) -> bool:
        return True


def test_progress_outside_of_pytest_is_a_line_that_is_gone_at_the_end() -> None:
    terminal = Terminal()
    show = progress_on(terminal)
    assert show is not None
    show(Progress("a", 1000, 5000, 1000, seconds=4))
    assert terminal.getvalue() == "\rpredicting 1,000 of 5,000 images, 250/s, 16 s left\x1b[K"
    # Not more often than somebody can read.
    show(Progress("a", 1100, 5000, 1100, seconds=4.1))
    show(Progress("a", 5000, 5000, 5000, seconds=20))
    assert terminal.getvalue().endswith("16 s left\x1b[K\r\x1b[K")
    assert progress_on(io.StringIO()) is None
