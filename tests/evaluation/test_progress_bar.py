"""Progress bars of functions that are called without pytest."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pytest_biastransfer import Square, ladder, measure, measure_gaps, measure_ladder, scan, search_worst
from pytest_biastransfer.errors import BiasTransferError, SpecError
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.evaluation.progress_bar import images_shown, steps_shown
from pytest_biastransfer.progress.record import Progress
from pytest_biastransfer.strategies import patches
from pytest_biastransfer.transfer import Recipe, attribute_bias, dose_response, plant, sweep

N = 80
IMAGES = [
    (torch.tensor([0.4, 0.3, 0.2]).reshape(3, 1, 1).expand(3, 16, 16), 0, {"place": "ab"[number % 2]})
    for number in range(N)
]
PLAIN = [(image, number % 2) for number, (image, _, _) in enumerate(IMAGES)]
OPTIONS: dict[str, Any] = {"recipe": Recipe(epochs=1, batch_size=16), "seeds": 2}


def network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 3))


CALLS: dict[str, tuple[Callable[..., Any], str]] = {
    "measure": (lambda **own: measure(network(), IMAGES, Square(), **own), f"{2 * N}/{2 * N}"),
    "measure a sample": (
        lambda **own: measure(network(), IMAGES, Square(), control=network(), max_images=40, **own),
        "160/160",
    ),
    "measure_gaps": (lambda **own: measure_gaps(network(), IMAGES, "place", "accuracy", **own), f"{N}/{N}"),
    "measure_ladder": (
        lambda **own: measure_ladder(network(), IMAGES, ladder(Square(), "size", [0.2, 0.5]), **own),
        f"{3 * N}/{3 * N}",
    ),
    "scan": (lambda **own: scan(network(), IMAGES, interventions={"a": Square(), "b": "blur"}, **own), "3/3"),
    "attribute_bias": (
        lambda **own: attribute_bias(network(), network(), PLAIN, PLAIN, Square(), **OPTIONS, **own),
        "6/6",
    ),
    "dose_response": (
        lambda **own: dose_response(
            network(),
            PLAIN,
            PLAIN,
            Square(),
            change=lambda images, level: plant(images, Square(), level),
            levels=[0, 0.5],
            **OPTIONS,
            **own,
        ),
        "4/4",
    ),
    "sweep": (lambda **own: sweep(network(), PLAIN, PLAIN, Square(), over={"size": [20, 40]}, **OPTIONS, **own), "4/4"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_bar_counts_to_its_end(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    call, end = CALLS[name]
    call(progress=True)
    shown = capsys.readouterr().err
    last = shown.splitlines()[-1].rpartition("\r")[2]
    assert last.startswith(f"{name.partition(' ')[0]}: 100%")
    assert end in last


@pytest.mark.parametrize("name", CALLS)
def test_without_being_asked_nothing_is_shown(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    CALLS[name][0]()
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_the_bar_of_a_search_counts_images_and_does_not_guess_how_many_there_will_be(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = search_worst(network(), PLAIN, patches(), limit=1.0, budget=5, images=40, progress=True)
    shown = capsys.readouterr().err
    assert "%" not in shown
    assert int(re.findall(r"search_worst: (\d+) images", shown)[-1]) >= result.computed - 2 * N


def test_stored_predictions_count_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = network()
    for _ in range(2):
        measure(model, PLAIN, Square(), store=tmp_path, progress=True)
        assert f"{2 * N}/{2 * N}" in capsys.readouterr().err.rpartition("\r")[2]


def test_an_error_ends_the_bar_where_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BiasTransferError):
        measure(network(), PLAIN, Square(size=0.01), progress=True)
    assert "100%" not in capsys.readouterr().err


def test_the_evaluator_reports_to_whom_it_did_before() -> None:
    def before(_: Progress) -> None:
        """Watch."""

    evaluator = Evaluator("cpu", on_progress=before)
    with images_shown([evaluator], "outer", 1, shown=True):
        outer = evaluator.on_progress
        with steps_shown(evaluator, "inner", 1, "steps", shown=True):
            assert evaluator.on_progress not in (before, outer)
        assert evaluator.on_progress is outer
    assert evaluator.on_progress is before


def test_without_tqdm_the_error_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "tqdm"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(SpecError, match=r"progress=True: needs tqdm, .*pip install 'pytest-biastransfer\[notebook\]'"):
        measure(network(), PLAIN, Square(), progress=True)
