"""Finetuning inside a session: the ini file, the fixtures, what workers share, and what the summary says of it."""

from __future__ import annotations

import pytest

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.plugin.runtest.finetuning import parsed_transfer
from pytest_biastransfer.reporting.report import read_report
from pytest_biastransfer.transfer import Recipe
from tests.conftest import MODES, Run

NET = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.fc = nn.Linear(6, 4)

    def forward(self, images):
        return self.fc(torch.relu(self.norm(self.conv(images))).amax(dim=(2, 3)))


def images(seed, count=48):
    generator = torch.Generator().manual_seed(seed)
    found = []
    for place in range(count):
        image = torch.rand(3, 10, 10, generator=generator) * 0.4
        image[place % 2] += 0.5
        found.append((image, place % 2))
    return found
"""
CONFTEST = """
import pytest
from net import Net, images


@pytest.fixture(scope="session")
def source_model():
    return Net()


@pytest.fixture(scope="session")
def bias_finetuning_dataset():
    return images(1)


@pytest.fixture(scope="session")
def bias_dataset():
    return images(2)
"""
TEST = """
import pytest


@pytest.mark.bias_intervention("grayscale", max_asr=1.0)
def test_it(bias, transferred_model):
    assert bias.accuracy > 0.9
    assert transferred_model.name == "Net, {mode} on list"
"""


@pytest.fixture
def inner(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(net=NET)
    pytester.makeconftest(CONFTEST)
    return pytester


@pytest.mark.parametrize(
    ("mode", "way"),
    [*(("fixed-feature", way) for way in MODES), ("full-network", "no:xdist"), ("scratch", "no:xdist")],
)
def test_the_ini_file_says_how_the_transferred_model_is_made(
    inner: pytest.Pytester, run_elsewhere: Run, mode: str, way: str
) -> None:
    inner.makeini(f"[pytest]\nbias_transfer = {mode}?epochs=30&learning_rate=0.1&batch_size=16\n")
    inner.makepyfile(test_it=TEST.format(mode=mode))
    run_elsewhere(*MODES[way]).assert_outcomes(passed=1)
    # Trained once: the weights are there, whoever looks.
    (kept,) = (inner.path / ".pytest_cache/d/biastransfer/trained").iterdir()
    before = {file: file.stat().st_mtime_ns for file in kept.iterdir()}
    again = run_elsewhere(*MODES[way])
    again.assert_outcomes(passed=1)
    again.stdout.fnmatch_lines(["1 bias test: 1 passed; 0 images evaluated, 96 predictions reused"])
    assert {file: file.stat().st_mtime_ns for file in kept.iterdir()} == before


def test_what_is_to_be_finetuned_may_come_from_specs(inner: pytest.Pytester, run_elsewhere: Run) -> None:
    inner.makeconftest("")
    inner.makeini(
        "[pytest]\npythonpath = .\nbias_transfer = fixed-feature?epochs=30&learning_rate=0.1\n"
        "bias_source_model = python:net:Net\n"
        "bias_finetuning_dataset = python:net:images?draw=1\nbias_dataset = python:net:images?draw=2\n"
    )
    inner.makepyfile(
        net=NET.replace("def images(seed,", "def images(draw=0,").replace("manual_seed(seed)", "manual_seed(int(draw))")
    )
    inner.makepyfile(test_it=TEST.format(mode="fixed-feature"))
    run_elsewhere().assert_outcomes(passed=1)


def test_both_ways_to_have_a_transferred_model_are_too_many(inner: pytest.Pytester, run_elsewhere: Run) -> None:
    inner.makeini("[pytest]\nbias_transfer = fixed-feature\nbias_transferred_model = python:net:Net\n")
    inner.makepyfile(test_it=TEST)
    result = run_elsewhere()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: bias_transfer and bias_transferred_model in the ini file: *remove one of them"]
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("fixed", "mode='fixed'; did you mean fixed-feature?*"),
        ("full-network?epoch=3", "'full-network[?]epoch=3': unknown key 'epoch'; did you mean epochs?*"),
        ("full-network?epochs=many", "*epochs='many', expected a whole number"),
        ("full-network?flip=maybe", "*flip='maybe', expected true or false"),
        ("full-network?milestones=a,b", "*milestones='a,b', expected whole numbers, such as 30,60"),
        ("full-network?momentum=2", "Recipe: momentum=2.0, expected a number from 0 to below 1"),
    ],
)
def test_a_line_that_cannot_be_says_why(inner: pytest.Pytester, line: str, message: str) -> None:
    inner.makeini(f"[pytest]\nbias_transfer = {line}\n")
    inner.makepyfile(test_it=TEST)
    result = inner.runpytest_inprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([message, "*in bias_transfer in the ini file"])


def test_a_missing_finetuning_dataset_says_what_to_write(inner: pytest.Pytester) -> None:
    inner.makeconftest(CONFTEST.replace("def bias_finetuning_dataset", "def another"))
    inner.makeini("[pytest]\nbias_transfer = fixed-feature\n")
    inner.makepyfile(test_it=TEST)
    result = inner.runpytest_inprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*bias_finetuning_dataset = imagefolder:data/*", "in fixture bias_finetuning_dataset"])


def test_recipes_are_read_from_words() -> None:
    assert parsed_transfer("scratch?epochs=3&schedule=cosine&label_smoothing=0.1&patience=2&seed=4") == (
        "scratch",
        Recipe(epochs=3, schedule="cosine", label_smoothing=0.1, patience=2, seed=4),
    )
    assert parsed_transfer("scratch?outputs=sigmoid&pos_weight=balanced")[1] == Recipe(
        outputs="sigmoid", pos_weight="balanced"
    )
    assert parsed_transfer("scratch?pos_weight=2.5")[1].pos_weight == 2.5
    text = "full-network?schedule=multistep&milestones=3,6&gamma=0.2&freeze=2&flip=true&crop=0.125&cutout=0.5"
    assert parsed_transfer(f"{text}&augment_before_triggers=false")[1] == Recipe(
        schedule="multistep", milestones=(3, 6), gamma=0.2, freeze=2, flip=True, crop=0.125, cutout=0.5,
        augment_before_triggers=False,
    )  # fmt: skip
    assert parsed_transfer("scratch?schedule=step&step_size=5")[1] == Recipe(schedule="step", step_size=5)
    with pytest.raises(BiasTransferError, match="unknown key 'with_seed'"):
        parsed_transfer("scratch?with_seed=3")


EXPERIMENTS = """
import pytest
from net import Net, images
from pytest_biastransfer import Gap, Square
from pytest_biastransfer.transfer import Recipe, plant

RECIPE = Recipe(epochs=2, batch_size=16)
LEVELS = [0.0, 0.5, 1.0]


def planted(data, level):
    return plant(data, Square(), level)


@pytest.mark.parametrize("level", LEVELS)
def test_level(bias_dose_response, source_model, bias_finetuning_dataset, bias_dataset, level):
    bias_dose_response(source_model, bias_finetuning_dataset, bias_dataset, Square(), change=planted, levels=[level],
                       recipe=RECIPE, seeds=2)


def test_curve(bias_dose_response, source_model, bias_finetuning_dataset, bias_dataset):
    found = bias_dose_response(source_model, bias_finetuning_dataset, bias_dataset, Square(), change=planted,
                               levels=LEVELS, recipe=RECIPE, seeds=2, limit=1.0)
    assert found.smallest_level == 0.0


def test_fault(bias_attribution, source_model, bias_finetuning_dataset, bias_dataset):
    found = bias_attribution(source_model, Net(), bias_finetuning_dataset, bias_dataset, Square(), metric="skew",
                             recipe=RECIPE, seeds=2)
    assert found.from_source == 0
"""


@pytest.mark.parametrize("mode", list(MODES))
def test_experiments_share_what_they_train_and_are_shown_in_the_summary(
    inner: pytest.Pytester, run_elsewhere: Run, mode: str
) -> None:
    inner.makepyfile(test_it=EXPERIMENTS)
    result = run_elsewhere(*MODES[mode])
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(
        [
            "*= bias transfer: experiments =*",
            "test_it.py::test_curve: asr of Square(*), by level",
            "  level  figure*accuracy",
            "  0      *",
            "  0.5    *",
            "  1      *",
            "  0 is enough for 1*",
            "test_it.py::test_fault: skew of Square(*), by where the model comes from",
            "  source          * accuracy *",
            "  control source  *",
            "  scratch         *",
            "  source - control source: +0.000 *",
            "  It is not clear that these two sources differ (*",
        ]
    )
    # Three levels and the scratch arm, twice: level 0 is the source's arm, and the control source is the same one.
    assert len(list((inner.path / ".pytest_cache/d/biastransfer/trained").iterdir())) == 8
    assert result.stdout.str().count("by level") == 4


def test_reports_plot_what_the_experiments_of_a_bias_test_found(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        test_it="""
        import pytest
        from net import Net
        from pytest_biastransfer import Square
        from pytest_biastransfer.transfer import Recipe, plant

        RECIPE = Recipe(epochs=1, batch_size=16)

        @pytest.fixture(scope="session")
        def transferred_model(source_model):
            return source_model

        @pytest.mark.bias_intervention("yellow-square", max_asr=1)
        def test_it(bias_attribution, bias_dose_response, source_model, bias_finetuning_dataset, bias_dataset):
            given = bias_finetuning_dataset, bias_dataset, Square()
            bias_attribution(source_model, Net(), *given, recipe=RECIPE, seeds=2)
            bias_dose_response(source_model, *given, change=lambda data, level: plant(data, Square(), level),
                               levels=[0.0, 0.5], recipe=RECIPE, seeds=2, limit=0.9)
            bias_dose_response({"first": source_model, "second": Net()}, *given, levels=[0.0], recipe=RECIPE, seeds=2,
                               change=lambda data, level: plant(data, Square(), level))
        """
    )
    reports = ("--bias-report=bias.json", "--bias-report=bias.html")
    result = inner.runpytest_inprocess(*reports, "-p", "no:xdist", "-W", "default")
    result.assert_outcomes(passed=1)
    attribution, response, responses = read_report(inner.path / "bias.json").tests[0].findings
    assert list(attribution.cases) == [
        "source",
        "control source",
        "scratch",
        "source - control source",
        "source - scratch",
    ]
    # Both sources have the same weights.
    assert attribution.cases["source - control source"].value == 0
    assert attribution.cases["source"] == attribution.cases["control source"] == response.cases["level 0"]
    assert (list(response.cases), response.limit) == (["level 0", "level 0.5"], 0.9)
    assert list(responses.cases) == ["first, level 0", "second, level 0"]
    assert responses.limit is None
    page = (inner.path / "bias.html").read_text()
    assert page.count("<caption>asr of Square(") == 3
    assert "<th>level 0.5</th>" in page


def test_several_sources_are_attributed_in_a_session(inner: pytest.Pytester) -> None:
    inner.makeini("[pytest]\npythonpath = .\n")
    inner.makepyfile(
        test_it="""
            import pytest
            from net import Net
            from pytest_biastransfer import Square
            from pytest_biastransfer.transfer import Recipe

            class Other(Net):
                def __init__(self):
                    super().__init__()
                    self.fc.weight.data *= 2


            @pytest.fixture
            def sources(source_model):
                return [source_model, Other()]


            def test_fault(bias_attribution, sources, bias_finetuning_dataset, bias_dataset):
                controls = ("python:net:Net", sources[1])
                found = bias_attribution(sources, controls, bias_finetuning_dataset, bias_dataset, Square(),
                                         mode="full-network", recipe=Recipe(epochs=1), seeds=2)
                assert found.from_source == 0


            def test_twins(bias_attribution, source_model, bias_finetuning_dataset, bias_dataset):
                bias_attribution(source_model, [Net(), Net()], bias_finetuning_dataset, bias_dataset, Square())
        """
    )
    result = inner.runpytest_inprocess()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*control[[]0[]] and control[[]1[]] are the same model; expected models that were trained with different seeds",
            "  source          *",
            "    1             *",
            "    2             *",
            "  control source  *",
            "  It is not clear that it comes from the sources (*, over 2 sources and 2 control sources, 2 seeds each).",
        ]
    )


def test_quiet_sessions_show_no_experiments(inner: pytest.Pytester) -> None:
    inner.makepyfile(test_it=EXPERIMENTS)
    assert "experiments" not in inner.runpytest_inprocess("-q", "-k", "curve").stdout.str()


def test_a_mistake_in_a_test_is_one_message(inner: pytest.Pytester, run_elsewhere: Run) -> None:
    inner.makepyfile(
        test_it="""
            from pytest_biastransfer.transfer import Recipe

            def test_it(bias_transfer, source_model, bias_finetuning_dataset):
                bias_transfer(source_model, bias_finetuning_dataset, "fixed")
        """
    )
    result = run_elsewhere()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*mode='fixed'; did you mean fixed-feature?*"])
    assert "recipe.py" not in result.stdout.str()


def test_sources_and_data_may_be_specs(inner: pytest.Pytester) -> None:
    inner.makeini("[pytest]\npythonpath = .\n")
    inner.makepyfile(
        test_it="""
            from net import images
            from pytest_biastransfer.transfer import Recipe

            def test_it(bias_transfer):
                model = bias_transfer("python:net:Net", images(1), classes=["a", "b"], recipe=Recipe(epochs=1))
                assert model.classes == ("a", "b")
        """
    )
    inner.runpytest_inprocess().assert_outcomes(passed=1)


LABELS = """
import pytest
from net import Net, labelled
from pytest_biastransfer import Gap, Square
from pytest_biastransfer.transfer import Recipe, with_correlation

RECIPE = Recipe(epochs=20, batch_size=16, learning_rate=0.1, flip=True, pos_weight="balanced")


@pytest.fixture(scope="session")
def bias_finetuning_dataset():
    return labelled(1)


@pytest.fixture(scope="session")
def bias_dataset():
    return labelled(2)


@pytest.fixture(scope="session")
def source_model():
    return Net()


@pytest.mark.bias_intervention("grayscale", max_asr=1.0, positive="red")
def test_red(bias, transferred_model):
    assert bias.accuracy > 0.9
    assert (transferred_model.outputs, transferred_model.classes) == ("sigmoid", ("red", "green"))


@pytest.mark.bias_gap("side", "accuracy", positive="green", max_gap=1.0, min_group_size=5)
def test_green():
    pass


def test_fault(bias_attribution, source_model, bias_finetuning_dataset, bias_dataset):
    data = with_correlation(bias_finetuning_dataset, "green", "red", 0.9)
    found = bias_attribution(source_model, source_model, data, bias_dataset, Square(), positive="red", recipe=RECIPE,
                             recipes={"scratch": Recipe(epochs=1)}, seeds=2)
    assert found.from_source == 0
    assert found.arms["source"].accuracy > 0.8


def test_curve(bias_dose_response, source_model, bias_finetuning_dataset, bias_dataset):
    def correlated(data, level):
        return with_correlation(data, "green", "red", level)

    gap = Gap("side", "accuracy", positive="red", min_group_size=5)
    bias_dose_response(source_model, bias_finetuning_dataset, bias_dataset, gap, change=correlated, levels=[0.5, 0.9],
                       recipe=RECIPE, seeds=2)
"""
LABELLED = """

def labelled(seed):
    found = []
    generator = torch.Generator().manual_seed(seed)
    for place in range(120):
        red, green = place % 2, int(torch.randint(0, 2, (), generator=generator))
        image = torch.rand(3, 10, 10, generator=generator) * 0.4
        image[0] += 0.5 * red
        image[1] += 0.5 * green
        found.append((image, {"red": red if place % 10 else -1, "green": green}, {"side": "ab"[place % 4 < 2]}))
    return found
"""


@pytest.mark.parametrize("way", list(MODES))
def test_several_labels_are_learnt_and_judged_in_a_session(
    inner: pytest.Pytester, run_elsewhere: Run, way: str
) -> None:
    inner.makeconftest("")
    inner.makepyfile(net=NET + LABELLED)
    line = "fixed-feature?epochs=30&learning_rate=0.2&batch_size=16&pos_weight=balanced"
    inner.makeini(f"[pytest]\nbias_transfer = {line}\n")
    inner.makepyfile(test_it=LABELS)
    result = run_elsewhere(*MODES[way])
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["*test_fault: asr of Square(*), red or not, by where the model comes from"])
    again = run_elsewhere(*MODES[way])
    again.assert_outcomes(passed=4)
    again.stdout.fnmatch_lines(["2 bias tests: 2 passed; 0 images evaluated, * predictions reused"])
