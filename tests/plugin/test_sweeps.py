"""Sweeps in a session: ordinary parametrized tests whose points become one table, JSON and plot."""

from __future__ import annotations

import json

import pytest

from tests.conftest import MODES, Run
from tests.plugin.test_finetuning import CONFTEST, NET

SWEEP = """
import pytest
from pytest_biastransfer import Square
from pytest_biastransfer.transfer import Recipe, plant

RECIPE = Recipe(epochs=2, batch_size=16)


def planted(data, level):
    return plant(data, Square(), level)


@pytest.mark.parametrize("source", ["source_model", "other_source"])
@pytest.mark.parametrize("weight_decay", [0.1, 0, pytest.param(0.01, marks=pytest.mark.xfail(strict=True))])
def test_weight_decay(bias_sweep, source, weight_decay, bias_finetuning_dataset, bias_dataset):
    found = bias_sweep(source, bias_finetuning_dataset, bias_dataset, Square(), weight_decay=weight_decay,
                       mode="full-network", recipe=RECIPE, seeds=2, save=["decay.json", "decay.svg"])
    assert found.figure <= 1
    assert weight_decay != 0.01


@pytest.mark.parametrize(("level", "size"), [(0.0, 16), (1.0, 32)])
def test_data(bias_sweep, source_model, level, size, bias_finetuning_dataset, bias_dataset):
    bias_sweep(source_model, bias_finetuning_dataset, bias_dataset, Square(), level=level, change=planted, size=size,
               recipe=RECIPE, seeds=2, save="data.json")
"""
OTHER_SOURCE = """

@pytest.fixture(scope="session")
def other_source():
    torch = pytest.importorskip("torch")
    net = Net()
    torch.nn.init.constant_(net.conv.weight, 0.1)
    return net
"""


@pytest.fixture
def inner(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(net=NET, test_it=SWEEP)
    pytester.makeconftest(CONFTEST + OTHER_SOURCE)
    return pytester


@pytest.mark.parametrize("mode", list(MODES))
def test_the_points_of_a_function_are_one_table(inner: pytest.Pytester, run_elsewhere: Run, mode: str) -> None:
    result = run_elsewhere(*MODES[mode])
    result.assert_outcomes(passed=6, xfailed=2)
    result.stdout.fnmatch_lines(
        [
            "*= bias transfer: experiments =*",
            "test_it.py::test_data: asr of Square(*), by level and size",
            "  with source=Net, mode=fixed-feature, epochs=2, batch_size=16",
            "  level  size  figure * accuracy",
            "  0      16    *",
            "  1      32    *",
            "  written to data.json",
            "test_it.py::test_weight_decay: asr of Square(*), by source and weight_decay",
            "  with mode=full-network, epochs=2, batch_size=16",
            "  source        weight_decay  figure * accuracy",
        ],
        consecutive=True,
    )
    # A point whose test failed is there, too.
    found = json.loads((inner.path / "decay.json").read_text())
    assert found["axes"]["weight_decay"] == [0, 0.01, 0.1]
    assert sorted(found["axes"]["source"]) == ["other_source", "source_model"]
    assert len(found["points"]) == 6
    assert (inner.path / "decay.svg").read_text().count("<use") > 6
    # What was trained is there for the next session, and for a part of the sweep.
    trained = len(list((inner.path / ".pytest_cache/d/biastransfer/trained").iterdir()))
    again = run_elsewhere(*MODES[mode], "-k", "source_model and weight_decay")
    again.stdout.fnmatch_lines(["test_it.py::test_weight_decay: asr of Square(*), by weight_decay"])
    assert len(list((inner.path / ".pytest_cache/d/biastransfer/trained").iterdir())) == trained
    part = json.loads((inner.path / "decay.json").read_text())
    assert part["points"] == [
        {**point, "settings": {"weight_decay": point["settings"]["weight_decay"]}}
        for point in found["points"]
        if point["settings"]["source"] == "source_model"
    ]


def test_quiet_sessions_write_the_files_alone(inner: pytest.Pytester) -> None:
    result = inner.runpytest_inprocess("-q", "-k", "data")
    assert "experiments" not in result.stdout.str()
    assert (inner.path / "data.json").exists()


def test_a_file_that_cannot_be_written_fails_the_session(inner: pytest.Pytester) -> None:
    inner.makepyfile(test_it=SWEEP.replace('"data.json"', '"missing/data.json"'))
    result = inner.runpytest_inprocess("-k", "data")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["  save=missing/data.json: cannot be written (No such file*); name another file"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "weight_decay=weight_decay",
            "weight_decays=weight_decay",
            "*'weight_decays' is not a setting of a sweep; did",
        ),
        ("weight_decay=weight_decay", "seed=3", "*'seed' is not a setting of a sweep; seeds= repeats each model"),
        ("decay.svg", "decay.txt", "*decay.txt: expected a file with the ending .svg, .png, .pdf or .json"),
        ("bias_sweep(source,", "bias_sweep('sources',", "*fixture 'sources' not found"),
    ],
)
def test_mistakes_are_one_message(inner: pytest.Pytester, old: str, new: str, message: str) -> None:
    inner.makepyfile(test_it=SWEEP.replace(old, new))
    result = inner.runpytest_inprocess("-k", "weight_decay and source_model and 0.1")
    result.assert_outcomes(failed=1, deselected=7)
    result.stdout.fnmatch_lines([f"{message}*"])
    assert "sweep_experiment.py" not in result.stdout.str()
    assert "bias transfer: experiments" not in result.stdout.str()
