"""Sessions where Python has no fork, no fcntl and no SIGKILL, as on Windows, and processes are spawned."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.support import no_posix
from tests.support.small_datasets import noise, write_picture

NET = """
import torch


def net():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 2))
"""
TESTS = """
import pytest


@pytest.mark.bias_intervention("yellow-square", max_asr=1.0)
def test_square(bias):
    import os
    import sys

    assert not hasattr(os, "fork")
    assert sys.modules["fcntl"] is None


@pytest.mark.bias_intervention("blur", max_asr=1.0)
def test_blur():
    pass
"""
Session = Callable[..., pytest.RunResult]


@pytest.fixture
def session(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Session:
    """A model of a checkpoint with images in folders; its sessions, and their workers, lack what Windows does."""
    torch.manual_seed(0)
    pytester.makepyfile(net=NET, test_net=TESTS)
    layers = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 2))
    torch.save(layers.state_dict(), pytester.path / "net.pt")
    for index in range(12):
        write_picture(pytester.path / f"photos/{'ab'[index % 2]}/{index}.png", noise(3, 16, 16, seed=index))
    pytester.makeini(
        "[pytest]\nbias_dataset = imagefolder:photos\n"
        "bias_transferred_model = checkpoint:net.pt?arch=python:net:net&mean=0&std=1&size=16\n"
    )
    paths = [*no_posix.__path__, str(Path(__file__).parents[2]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    return lambda *options: pytester.run(sys.executable, "-m", "pytest", *options)


def test_workers_share_a_store_and_a_baseline(session: Session, pytester: pytest.Pytester) -> None:
    session("-n2", "--bias-update=all", "--bias-report=report.html").assert_outcomes(passed=2)
    baseline = (pytester.path / "bias-baseline.json").read_bytes()
    assert b'"test_net.py::test_square' in baseline
    assert b"\r" not in baseline

    again = session("-p", "no:xdist")
    again.stdout.fnmatch_lines(["2 bias tests: 2 passed; 0 images evaluated, 48 predictions reused"])
    again.stdout.fnmatch_lines(["compared with bias-baseline.json: 2 no worse"])
