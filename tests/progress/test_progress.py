"""Tasks that take long report to whoever listens, and lines show them: often in a terminal, rarely in a log."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from pytest_biastransfer import load_dataset
from pytest_biastransfer.progress import activities, stream_line
from pytest_biastransfer.progress.activities import counted, listening, reported
from pytest_biastransfer.progress.record import Progress, progress_text
from pytest_biastransfer.progress.stream_line import StreamLine
from tests.conftest import MODES, Run
from tests.plugin.xdist.test_worker_progress import written_to_a_terminal
from tests.support.small_datasets import noise, write_picture
from tests.support.systems import posix
from tests.support.warm_python import WarmPython


class Clock:
    """A clock that a test advances."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(activities, "time", clock)
    monkeypatch.setattr(stream_line, "time", clock)
    return clock


def test_what_is_counted_is_reported_now_and_then_and_at_its_end(clock: Clock) -> None:
    seen: list[Progress] = []
    with listening(seen.append):
        for _ in counted(range(100), 100, "hashing", "files"):
            clock.now += 0.05
    # Every 0.2 s of 5 s.
    assert 20 <= len(seen) <= 26
    assert [one.is_done for one in seen] == [False] * (len(seen) - 1) + [True]
    assert progress_text([Progress("hashing", 50, 100, 50, 2.5, "hashing", "files")]) == (
        "hashing 50 of 100 files, 20/s, 2 s left"
    )


def test_nobody_listens() -> None:
    assert list(counted("abc", 3, "hashing", "files")) == ["a", "b", "c"]
    with reported("loading model.pt"), listening(None):
        pass


def test_a_task_ends_for_its_listener_though_it_failed() -> None:
    seen: list[Progress] = []
    with pytest.raises(ValueError, match="broken"), listening(seen.append), reported("loading model.pt"):
        raise ValueError("broken")
    assert [progress_text([one]) for one in seen] == ["loading model.pt", None]


def test_files_of_a_dataset_are_counted_while_they_are_hashed(tmp_path: Path) -> None:
    for number in range(3):
        write_picture(tmp_path / "a" / f"{number}.png", noise(3, 4, 4, seed=number))
    seen: list[Progress] = []
    with listening(seen.append):
        load_dataset(f"imagefolder:{tmp_path}").fingerprint  # noqa: B018
    assert (seen[-1].task, seen[-1].done, seen[-1].total, seen[-1].unit) == ("hashing", 3, 3, "files")


def test_tasks_of_several_workers_are_side_by_side() -> None:
    loading = Progress("m", 0, 0, 0, 0.0, "loading model.pt")
    predicting = Progress("a", 1000, 5000, 1000, 4.0)
    assert (
        progress_text([loading, predicting]) == "loading model.pt; predicting 1,000 of 5,000 images, 250/s, 16 s left"
    )
    assert progress_text([loading, loading]) == "loading model.pt"


def test_a_log_has_a_line_in_half_a_minute(clock: Clock) -> None:
    log = io.StringIO()
    with StreamLine(log) as line:
        line.begin("2 of 12: chain-link")
        for second in range(100):
            clock.now += 1
            line.show(Progress("a", 10 * second + 10, 5000, 10 * second + 10, second + 1.0))
    lines = log.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0] == "2 of 12: chain-link  predicting 300 of 5,000 images, 10/s, 8 min left"


def test_a_task_that_begins_at_once_after_another_is_shown(clock: Clock) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    with StreamLine(terminal) as line, listening(line.show):
        with reported("loading a.pt"):
            clock.now += 0.01
        clock.now += 0.01
        with reported("loading b.pt"):
            pass
    written = [text.removesuffix("\x1b[K") for text in terminal.getvalue().split("\r")]
    assert [text for text in written if text] == ["loading a.pt", "loading b.pt"]


def test_a_session_in_a_log_has_rare_lines_of_their_own(colors: pytest.Pytester, run_elsewhere: Run) -> None:
    with (colors.path / "conftest.py").open("a") as conftest:
        conftest.write(
            "\nfrom pytest_biastransfer.progress import record\nfrom pytest_biastransfer.plugin.session import "
            "progress_line\nrecord._SHOWN_AFTER_SECONDS = 0.1\nprogress_line.BETWEEN_LINES_SECONDS = 0.2\n"
        )
    colors.makepyfile(
        """
        import time
        import pytest
        from pytest_biastransfer import Model
        from conftest import BrightestChannel, images

        class Slow(BrightestChannel):
            def forward(self, batch):
                time.sleep(len(batch) * 0.001)
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
    )
    for options in (("-p", "no:xdist"), ("-p", "no:xdist", "-q")):
        result = run_elsewhere("--bias-batch-size=64", f"--bias-store=store{len(options)}", *options)
        result.assert_outcomes(passed=1)
        shown = [line for line in result.outlines if line.startswith("bias transfer: ")]
        assert bool(shown) == ("-q" not in options)
        for line in shown:
            assert line.startswith("bias transfer: predicting ")
        assert "captured" not in result.stdout.str()


def test_after_a_part_the_whole_goes_on() -> None:
    seen: list[Progress] = []
    with listening(seen.append), reported("making the fixture transferred_model"), reported("loading model.pt"):
        pass
    assert [progress_text([one]) for one in seen] == [
        "making the fixture transferred_model", "loading model.pt", None, "making the fixture transferred_model", None,
    ]  # fmt: skip


@posix
@pytest.mark.parametrize("mode", ["no:xdist", "n2"])
def test_a_terminal_shows_which_fixture_is_made(colors: pytest.Pytester, warm: WarmPython, mode: str) -> None:
    colors.makepyfile(
        test_made="""
        import time
        import pytest
        from conftest import brightest

        @pytest.fixture(scope="session")
        def transferred_model():
            time.sleep(1.5)
            return brightest()

        @pytest.mark.bias_intervention("yellow-square", max_asr=1)
        def test_made():
            pass
        """
    )
    written = written_to_a_terminal(colors, warm, *MODES[mode])
    assert "making the fixture transferred_model\x1b[K" in written
    assert "1 passed" in written
