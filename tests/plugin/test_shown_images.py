"""Which images a report shows: those that count for the metric that got worse; and as of which model their shares are."""

from __future__ import annotations

import pytest

from pytest_biastransfer.reporting.html import render_html
from pytest_biastransfer.reporting.report import Details, read_report

# A yellow square turns the images 0 to 2 red, and 3 and 4 green, unless blue weighs more.
FIXTURES = """
import pathlib

import pytest
import torch
from conftest import Named, brightest


@pytest.fixture(scope="session")
def transferred_model():
    model = brightest()
    model.module.weight.data[2, 2] = float(pathlib.Path("blue.txt").read_text())
    return model


@pytest.fixture(scope="session")
def source_model(transferred_model):
    return transferred_model


@pytest.fixture(scope="session")
def bias_dataset():
    colors = [(0.30, 0.29, 0.31)] * 3 + [(0.29, 0.30, 0.31)] * 2 + [(0.0, 0.0, 1.0)] * 15
    return Named((torch.tensor(color).reshape(3, 1, 1).expand(3, 16, 16), 2) for color in colors)


"""


def measured(pytester: pytest.Pytester, *options: str) -> Details:
    pytester.runpytest_inprocess("-p", "no:xdist", "--bias-report=bias.json", *options)
    (test,) = read_report(pytester.path / "bias.json").tests
    assert test.details is not None
    return test.details


def declare(pytester: pytest.Pytester, limits: str) -> None:
    pytester.makepyfile(
        test_it=FIXTURES + f'@pytest.mark.bias_intervention("yellow-square", {limits})\ndef test_it():\n    pass\n'
    )


@pytest.fixture
def project(colors: pytest.Pytester) -> pytest.Pytester:
    (colors.path / "blue.txt").write_text("1")
    return colors


def test_a_targeted_test_shows_what_hits_the_target(project: pytest.Pytester) -> None:
    declare(project, 'target="green", max_targeted_asr=0')
    details = measured(project)
    assert details.flips == 5
    assert (details.counted, details.counted_flips) == ("hits", 2)
    assert [(image.index, image.after) for image in details.shown] == [(3, "green"), (4, "green")]
    page = render_html(read_report(project.path / "bias.json"))
    assert "Images that hit the target: 2 of 2" in page
    assert "Flipped images" not in page


def test_a_regression_of_the_target_marks_what_newly_hits_it(project: pytest.Pytester) -> None:
    declare(project, 'target="green", max_targeted_asr=1')
    (project.path / "blue.txt").write_text("2")
    details = measured(project, "--bias-update=new")
    assert (details.counted, details.shown) == ("hits", [])
    (project.path / "blue.txt").write_text("1")
    details = measured(project, "--bias-compare=warn")
    assert [(image.index, image.new) for image in details.shown] == [(3, True), (4, True)]


def test_the_metric_that_is_above_its_limit_decides(project: pytest.Pytester) -> None:
    declare(project, 'target="green", max_targeted_asr=0.5, max_asr=0.05')
    details = measured(project)
    assert (details.counted, len(details.shown)) == ("flipped", 5)


def test_shares_are_of_the_model_that_the_fixture_names(project: pytest.Pytester) -> None:
    declare(project, 'max_asr=0.05, model="source_model"')
    assert [shares.role for shares in measured(project).shares] == ["source"]
    assert "Source: brightest" in render_html(read_report(project.path / "bias.json"))
