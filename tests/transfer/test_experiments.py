"""Is it the source's fault, and how much curation is enough: figures over seeds, tables, JSON, plots, mistakes."""

from __future__ import annotations

import importlib
import json
import math
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from pytest_biastransfer import Gap, Model, Square, measure
from pytest_biastransfer.errors import BiasTransferError, SpecError, TransferError
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.metrics.statistics.intervals import proportion
from pytest_biastransfer.metrics.statistics.seed_intervals import difference_over_seeds, mean_over_seeds
from pytest_biastransfer.names import Bound
from pytest_biastransfer.transfer import (
    Attribution,
    DoseResponse,
    Recipe,
    attribute_bias,
    dose_response,
    plant,
    transfer,
)
from pytest_biastransfer.transfer.seed_repeats import OverSeeds, Repeated
from tests.transfer.exact_figures import exactly


def test_public_names_are_no_modules_once_all_modules_are_imported() -> None:
    """Importing a submodule sets an attribute of its package, which would hide a public name that is the same."""
    package = importlib.import_module("pytest_biastransfer.transfer")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
    assert [name for name in package.__all__ if not callable(getattr(package, name))] == []


def shares(most_seeds: int = 8) -> st.SearchStrategy[list[Estimate]]:
    """Return the shares of several seeds on one number of images."""
    return st.integers(1, 400).flatmap(
        lambda n: st.lists(st.integers(0, n).map(lambda count: proportion(count, n)), min_size=2, max_size=most_seeds)
    )


def error_of_images(figures: list[Estimate]) -> tuple[float, float]:
    """Return how far Clopper and Pearson's intervals, found by another library, reach below and above on average."""
    ends = [stats.binomtest(round(figure * figure.n), figure.n).proportion_ci() for figure in figures]
    below = np.mean([figure - end.low for figure, end in zip(figures, ends, strict=True)])
    above = np.mean([end.high - figure for figure, end in zip(figures, ends, strict=True)])
    return float(below), float(above)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.sampled_from([0.9, 0.95, 0.99]))
def test_means_over_seeds_have_students_interval(values: list[float], confidence: float) -> None:
    found = mean_over_seeds(exactly(*values), confidence)
    assert float(found) == pytest.approx(np.mean(values))
    error = np.std(values, ddof=1) / math.sqrt(len(values))
    reach = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * error
    ends = np.clip([np.mean(values) - reach, np.mean(values) + reach], 0, 1)
    assert [found.low, found.high] == pytest.approx(ends.tolist(), abs=1e-9)
    assert mean_over_seeds(exactly(*values), confidence, least=-1).low == pytest.approx(
        max(-1, np.mean(values) - reach), abs=1e-9
    )
    assert (found.n, found.confidence, found.method) == (len(values), confidence, "t over seeds")


@settings(deadline=None)
@given(shares())
def test_means_over_seeds_are_as_unsure_as_the_images_and_the_seeds(figures: list[Estimate]) -> None:
    found = mean_over_seeds(figures)
    seeds = stats.t.ppf(0.975, len(figures) - 1) * stats.sem(figures)
    below, above = error_of_images(figures)
    value = np.mean(figures)
    expected = np.clip([value - math.hypot(seeds, below), value + math.hypot(seeds, above)], 0, 1)
    assert [found.low, found.high] == pytest.approx(expected.tolist(), abs=1e-9)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_differences_over_seeds_have_welchs_interval(first: list[float], second: list[float]) -> None:
    found = difference_over_seeds(exactly(*first), exactly(*second))
    if min(np.ptp(first), np.ptp(second)) > 1e-6:
        expected = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
        assert [found.low, found.high] == pytest.approx(
            np.clip([expected.low, expected.high], -1, 1).tolist(), abs=1e-9
        )


@settings(deadline=None)
@given(shares(), shares())
def test_differences_over_seeds_have_the_errors_of_the_images_of_both(
    first: list[Estimate], second: list[Estimate]
) -> None:
    found = difference_over_seeds(first, second)
    assert found.low <= found <= found.high
    opposite = difference_over_seeds(second, first)
    assert (opposite.low, opposite.high) == pytest.approx((-found.high, -found.low), abs=1e-9)
    if min(np.ptp(first), np.ptp(second)) > 1e-6:
        welch = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
        seeds = (welch.high - welch.low) / 2
        below, above = (
            math.hypot(error_of_images(first)[0], error_of_images(second)[1]),
            math.hypot(error_of_images(first)[1], error_of_images(second)[0]),
        )
        value = np.mean(first) - np.mean(second)
        expected = np.clip([value - math.hypot(seeds, below), value + math.hypot(seeds, above)], -1, 1)
        assert [found.low, found.high] == pytest.approx(expected.tolist(), abs=1e-9)


def test_seeds_that_agree_leave_the_images_to_chance() -> None:
    assert repr(mean_over_seeds([proportion(25, 100)] * 2)) == repr(proportion(25, 100))
    one, none = [proportion(1, 100)] * 3, [proportion(0, 100)] * 3
    assert mean_over_seeds(none).high == proportion(0, 100).high
    # One image of 100 by all seeds, and none by those of the control: that may be this image.
    found = difference_over_seeds(one, none)
    assert found.low < 0 < found < found.high


class Net(nn.Module):
    """Sees how bright each channel is anywhere."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.fc(torch.relu(self.norm(self.conv(images))).amax(dim=(2, 3)))
        return found


def pictures(count: int, seed: int, kinds: int = 4, first: int = 0) -> list[tuple[torch.Tensor, int, dict[str, str]]]:
    """Return noise with a stripe: across for label 0, down for label 1, in one of several places."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for place in range(count):
        image = torch.rand(3, 12, 12, generator=generator) * 0.3
        where = 4 + 2 * int(torch.randint(0, 4, (), generator=generator))
        label = place % 2
        (image[2] if label == 0 else image[2].T)[where] = 0.9
        found.append((image, label, {"side": "even" if place % 4 < 2 else "odd"}))
    return found


SQUARE = Square(size=0.25, anchor="top-left")
RECIPE = Recipe(epochs=12, batch_size=16, learning_rate=0.1)


@pytest.fixture(scope="module")
def sources() -> tuple[Model, Model]:
    """A source that learnt that a square means label 1, and one that learnt the stripes."""
    # Before the fixture that does so for each test.
    torch.set_num_threads(1)
    data = pictures(96, seed=1)
    biased = transfer(Net(), plant(data, SQUARE, 1.0, classes=1), "full-network", recipe=RECIPE)
    clean = transfer(Net(), data, "full-network", recipe=RECIPE)
    return biased, clean


def test_each_start_has_its_recipe(tmp_path: Path) -> None:
    data, recipe = pictures(24, seed=1), Recipe(epochs=1, batch_size=12, freeze=1)
    own = {"scratch": Recipe(epochs=2, batch_size=12, weight_decay=0.1), "control source": Recipe(batch_size=24)}
    model, control = Model(Net(), name="source"), Model(Net(1), name="control")
    options: Any = {"mode": "full-network", "seeds": 2, "store": tmp_path}
    attribute_bias(model, control, data, data, SQUARE, recipe=recipe, recipes=own, **options)

    def trained() -> set[str]:
        return {file.name for file in (tmp_path / "trained").rglob("*.chunk")} | {
            directory.name for directory in (tmp_path / "trained").iterdir()
        }

    before = trained()
    for seed in range(2):
        transfer(model, data, "full-network", recipe=recipe.with_seed(seed), store=tmp_path)
        transfer(control, data, "full-network", recipe=own["control source"].with_seed(seed), store=tmp_path)
        transfer(model, data, "scratch", recipe=own["scratch"].with_seed(seed), store=tmp_path)
    # All of them were trained, and nothing else was.
    assert trained() == before
    assert len(list((tmp_path / "trained").rglob("*.chunk"))) == 6
    # From scratch, no block is frozen.
    attribute_bias(model, control, data, data, SQUARE, recipe=recipe, **options)
    before = trained()
    transfer(model, data, "scratch", recipe=Recipe(epochs=1, batch_size=12, seed=1), store=tmp_path)
    assert trained() == before
    with pytest.raises(TransferError, match="there is no start 'control'; did you mean control source"):
        attribute_bias(model, control, data, data, SQUARE, recipes={"control": recipe})
    with pytest.raises(TransferError, match=r"recipes=.*, expected recipes by start, such as \{'scratch'"):
        attribute_bias(model, control, data, data, SQUARE, recipes={"scratch": 3})  # type: ignore[dict-item]


def test_a_planted_bias_is_attributed_to_its_source(sources: tuple[Model, Model], tmp_path: Path) -> None:
    biased, clean = sources
    test = pictures(80, seed=3)
    found = attribute_bias(
        biased,
        clean,
        pictures(64, seed=2),
        test,
        SQUARE,
        metric="targeted_asr",
        target=1,
        mode="fixed-feature",
        recipe=RECIPE,
        seeds=3,
        store=tmp_path,
    )
    assert list(found.arms) == ["source", "control source", "scratch"]
    for name, arm in found.arms.items():
        assert arm.figure == pytest.approx(np.mean(arm.values))
        assert len(set(arm.values)) == 1 or arm.figure.low < arm.figure < arm.figure.high
        assert len(arm.values) == len(arm.performances["accuracy"].values) == 3, name
    assert found.from_source == pytest.approx(
        np.mean(found.arms["source"].values) - np.mean(found.arms["control source"].values)
    )
    text = str(found)
    assert text.startswith("targeted_asr of Square(size=0.25, anchor='top-left', color=(255, 255, 0)), by where")
    assert found.sentence in text
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["arms"]["source"]["figure"]["values"] == list(found.arms["source"].values)
    assert plain["differences"]["scratch"]["value"] == float(found.differences["scratch"])
    assert plain["sentence"] == found.sentence


def arm(*values: float, least: float = 0.0) -> Repeated:
    accuracies = OverSeeds.of(exactly(*map(abs, values)))
    return Repeated(OverSeeds.of(exactly(*values), least=least), {"accuracy": accuracies})


def attribution(source: Sequence[float], control: Sequence[float], bound: Bound = "at most") -> Attribution:
    """Return the attribution of sources of which each seed of the finetuning has the same figure."""
    sources = {
        name: [arm(own, own, own, least=-1) for own in figures]
        for name, figures in (("source", source), ("control source", control))
    }
    return Attribution.of("asr", sources, arm(0.1, 0.2, 0.3), bound=bound, least=-1)


def attribution_of_two(source: Sequence[float], control: Sequence[float], bound: Bound = "at most") -> Attribution:
    """Return the attribution of one source and one control source, by the figures of their seeds."""
    sources = {"source": [arm(*source, least=-1)], "control source": [arm(*control, least=-1)]}
    return Attribution.of("asr", sources, arm(0.1, 0.2, 0.3), bound=bound, least=-1)


@pytest.mark.parametrize(
    ("source", "control", "conclusion", "of_two"),
    [
        (
            (0.8, 0.82, 0.81),
            (0.1, 0.12, 0.1),
            "The sources pass it on",
            "These two sources differ: the bias is larger from this one (+0.703, 95 % interval +0.6",
        ),
        (
            (0.1, 0.12, 0.1),
            (0.8, 0.82, 0.81),
            "The bias is less than from the control sources",
            "These two sources differ: the bias is smaller from this one (-0.703, 95 % interval -0.7",
        ),
        (
            (0.1, 0.5, 0.9),
            (0.2, 0.4, 0.8),
            "It is not clear that it comes from the sources",
            "It is not clear that these two sources differ (+0.033, 95 % interval -0.",
        ),
    ],
)
def test_the_sentence_says_what_the_interval_says(
    source: tuple[float, ...], control: tuple[float, ...], conclusion: str, of_two: str
) -> None:
    found = attribution(source, control)
    assert found.sentence.startswith(f"{conclusion} (")
    assert found.sentence.endswith("over 3 sources and 3 control sources, 3 seeds each).")
    alone = attribution_of_two(source, control)
    assert alone.sentence.startswith(of_two)
    # The same numbers, but of seeds of one source: nothing is known of other sources.
    one, several = alone.from_source, found.from_source
    assert (one, one.low, one.high) == pytest.approx((several, several.low, several.high))
    ends = ("over 3 seeds each).", "over 3 seeds each). Two sources of one kind may differ as much.")
    assert alone.sentence.endswith(ends["differ:" in of_two])


def test_one_source_is_compared_with_how_control_sources_vary() -> None:
    control = [0.1, 0.14, 0.12, 0.08]
    found = attribution([0.4], control)
    assert found.sentence.startswith("The source passes it on (+0.290, ")
    assert found.sentence.endswith("over 1 source and 4 control sources, 3 seeds each).")
    assert attribution([0.15], control).sentence.startswith("It is not clear that it comes from the source")
    assert attribution(control, [0.4]).sentence.startswith("The bias is less than from the control source (-0.290, ")
    # The t test of two samples, with the variance of both: a single figure adds nothing to it.
    expected = stats.ttest_ind([0.4], control).confidence_interval(0.95)
    assert (found.from_source.low, found.from_source.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_a_source_is_one_figure_however_many_seeds_it_has(tmp_path: Path) -> None:
    """The interval over sources is that of their means, and of the images; seeds of one source are no other sources."""
    generator = np.random.default_rng(0)

    def repeated(share: float) -> Repeated:
        values = [proportion(int(generator.binomial(400, share)), 400) for _ in range(3)]
        return Repeated(OverSeeds.of(values), {"accuracy": OverSeeds.of(values)})

    sources = {
        "source": [repeated(0.5), repeated(0.6), repeated(0.7)],
        "control source": [repeated(0.2), repeated(0.3)],
    }
    found = Attribution.of("asr", sources, repeated(0.1))
    means = {name: [np.mean(own.values) for own in each] for name, each in sources.items()}
    assert list(found.arms["source"].values) == pytest.approx(means["source"])
    welch = stats.ttest_ind(*means.values(), equal_var=False).confidence_interval(0.95)
    value, below, above = found.from_source, 0.0, 0.0
    for each, ends in ((sources["source"], (0, 1)), (sources["control source"], (1, 0))):
        errors = np.mean([error_of_images(list(own.values)) for own in each], axis=0)
        below, above = math.hypot(below, errors[ends[0]]), math.hypot(above, errors[ends[1]])
    seeds = (welch.high - welch.low) / 2
    assert (value.low, value.high) == pytest.approx(
        (value - math.hypot(seeds, below), value + math.hypot(seeds, above))
    )
    assert found.differences["scratch"] == pytest.approx(np.mean(means["source"]) - found.arms["scratch"].figure)
    lines = str(found).splitlines()
    assert [line[:16] for line in lines[1:9]] == [
        "  source        ",
        "    1           ",
        "    2           ",
        "    3           ",
        "  control source",
        "    1           ",
        "    2           ",
        "  scratch       ",
    ]
    plain = json.loads(json.dumps(found.to_dict()))
    assert [own["figure"]["value"] for own in plain["sources"]["source"]] == pytest.approx(means["source"])


@pytest.mark.parametrize(("sources", "control_sources"), [(1, 1), (2, 2), (3, 3), (1, 4), (5, 2)])
def test_sources_that_differ_by_their_training_alone_pass_nothing_on(sources: int, control_sources: int) -> None:
    """Innocent sources, seen many times: their figures differ by .1, those of the finetunings of one by .02."""
    generator = np.random.default_rng(sources)
    repeats, seeds, n = 400, 3, 2000

    def repeated(share: float) -> Repeated:
        counts = generator.binomial(n, np.clip(share + generator.normal(0, 0.02, seeds), 0, 1))
        figures = OverSeeds.of([proportion(count, n) for count in counts.tolist()])
        return Repeated(figures, {"accuracy": figures})

    def sentence(excess: float) -> str:
        arms = {
            "source": [repeated(0.3 + excess + generator.normal(0, 0.1)) for _ in range(sources)],
            "control source": [repeated(0.3 + generator.normal(0, 0.1)) for _ in range(control_sources)],
        }
        return Attribution.of("asr", arms, arms["source"][0]).sentence

    told = sum("on (" in sentence(0.0) for _ in range(repeats)) / repeats
    assert told <= (0.0 if sources == control_sources == 1 else 0.025 + 3 * math.sqrt(0.025 * 0.975 / repeats))
    if min(sources, control_sources) > 2:
        assert sum("on (" in sentence(0.5) for _ in range(100)) > 90


@pytest.mark.parametrize(
    ("source", "control", "sentence"),
    [
        ((0.3, 0.31, 0.32), (0.1, 0.11, 0.1), "The sources pass it on (+0.207,"),
        ((-0.3, -0.31, -0.32), (-0.1, -0.11, -0.1), "The sources pass it on (-0.207,"),
        ((-0.3, -0.31, -0.32), (0.1, 0.11, 0.1), "The sources pass it on (-0.413,"),
        ((0.1, 0.11, 0.1), (-0.3, -0.31, -0.32), "The bias is less than from the control sources (+0.413,"),
        (
            (0.3, 0.31, 0.32),
            (-0.3, -0.31, -0.32),
            "The sources shift it, but it is not clear which of the two is farther from 0",
        ),
        ((-0.1, 0.1, 0.0), (-0.1, 0.05, 0.1), "It is not clear that it comes from the sources (-0.017,"),
    ],
)
def test_of_signed_gaps_the_sizes_tell_which_is_worse(
    source: tuple[float, ...], control: tuple[float, ...], sentence: str
) -> None:
    found = attribution(source, control, "size at most")
    assert found.sentence.startswith(sentence)
    assert f"  source          {np.mean(source):+.3f} [" in str(found)


def test_two_signed_gaps_may_differ_without_one_being_larger() -> None:
    found = attribution_of_two((0.3, 0.31, 0.32), (-0.3, -0.31, -0.32), "size at most")
    assert found.sentence.startswith(
        "These two sources differ, but it is not clear which of the two is farther from 0 ("
    )


def test_of_a_ratio_the_lower_one_is_worse() -> None:
    found = attribution((0.5, 0.51, 0.52), (0.9, 0.91, 0.9), "at least")
    assert found.sentence.startswith("The sources pass it on (-0.393,")


def test_each_of_several_sources_is_transferred_with_each_seed(tmp_path: Path) -> None:
    data, recipe = pictures(24, seed=1), Recipe(epochs=1, batch_size=12)
    options: dict[str, Any] = {"mode": "full-network", "recipe": recipe, "seeds": 2, "store": tmp_path}
    sources: list[Any] = [Net(0), Model(Net(1), name="second")]
    controls = [Net(2), Net(3), Net(4)]
    found = attribute_bias(sources, controls, data, data, SQUARE, **options)
    assert len(list((tmp_path / "trained").iterdir())) == 2 * (2 + 3 + 1)
    model = transfer(controls[2], data, "full-network", recipe=recipe.with_seed(1), store=tmp_path)
    assert found.sources["control source"][2].values[1] == float(measure(model, data, SQUARE).asr)
    assert "over 2 sources and 3 control sources, 2 seeds each" in found.sentence
    alone = attribute_bias(sources[:1], Net(2), data, data, SQUARE, **options)
    assert alone.is_one_of_each
    for name in ("source", "control source"):
        assert alone.arms[name].to_json() == found.sources[name][0].to_json()


@pytest.mark.parametrize(
    ("source", "control", "message"),
    [
        ([], Net(), r"source=\[\], expected a model, or a list of models that were trained alike"),
        (Net(), [Net(1), Net(2), Net(1)], r"control\[0\] and control\[2\] are the same model; expected models that"),
        ([Net(), 3], Net(), r"source\[1\]: "),
    ],
)
def test_sources_that_repeat_nothing_are_refused(source: Any, control: Any, message: str) -> None:
    data = pictures(8, seed=0)
    with pytest.raises(BiasTransferError, match=message):
        attribute_bias(source, control, data, data, SQUARE, seeds=2)


def test_a_dose_response_has_the_figures_of_each_level(sources: tuple[Model, Model], tmp_path: Path) -> None:
    biased, _ = sources
    data, test = pictures(64, seed=2), pictures(80, seed=3)
    given: dict[str, Any] = {"mode": "full-network", "recipe": RECIPE, "seeds": 2, "store": tmp_path}
    found = dose_response(
        biased,
        data,
        test,
        SQUARE,
        change=lambda images, level: plant(images, SQUARE, level),
        levels=[0.5, 0],
        limit=0.3,
        **given,
    )
    assert list(found.levels) == [0, 0.5]
    model = transfer(biased, plant(data, SQUARE, 0.5), recipe=RECIPE.with_seed(1), mode="full-network", store=tmp_path)

    expected = measure(model, test, SQUARE)
    for measured, whole in (
        (found.levels[0.5].values[1], expected.asr),
        (found.levels[0.5].performances["accuracy"].values[1], expected.accuracy),
    ):
        assert measured.to_list() == whole.to_list()
    again = dose_response(
        biased,
        data,
        test,
        SQUARE,
        change=lambda images, level: plant(images, SQUARE, level),
        levels=[0, 0.5],
        limit=0.3,
        **given,
    )
    assert again.to_dict() == found.to_dict()


def test_gaps_can_be_asked_for(sources: tuple[Model, Model], tmp_path: Path) -> None:
    _, clean = sources
    found = dose_response(
        clean,
        pictures(64, seed=2),
        pictures(200, seed=3),
        Gap("side", "accuracy"),
        change=lambda images, level: plant(images, SQUARE, level),
        levels=[0],
        recipe=RECIPE,
        seeds=2,
        store=tmp_path,
    )
    assert found.question == "accuracy by side"
    assert 0 <= found.levels[0].figure <= 1
    assert "enough" not in str(found)


def test_a_signed_gap_keeps_its_sign_over_seeds_and_levels(sources: tuple[Model, Model], tmp_path: Path) -> None:
    _, clean = sources
    sides = ("even", "odd")
    responses = [
        dose_response(
            clean,
            pictures(64, seed=2),
            pictures(200, seed=3),
            Gap("side", "accuracy", between=between),
            change=lambda images, level: plant(images, SQUARE, level),
            levels=[0],
            recipe=RECIPE,
            seeds=2,
            limit=1.0,
            store=tmp_path,
        )
        for between in (sides, sides[::-1])
    ]
    first, second = (response.levels[0].figure for response in responses)
    assert float(first) == pytest.approx(-float(second))
    # Each has draws of its own for the error of the images.
    assert (first.low, first.high) == pytest.approx((-second.high, -second.low), abs=0.01)
    assert responses[0].bound == "size at most"
    assert responses[0].question == "accuracy by side, even minus odd"


def test_the_limit_of_a_signed_gap_is_on_its_size(tmp_path: Path) -> None:
    accuracy = {"accuracy": OverSeeds.of(exactly(0.9, 0.9))}
    intervals = [(-0.51, -0.6, -0.42), (-0.1, -0.3, 0.1), (0.1, 0.05, 0.15), (0.6, 0.55, 0.65)]
    levels: dict[float, Repeated] = {
        level: Repeated(OverSeeds(tuple(exactly(mean, mean)), Estimate(mean, low=low, high=high)), accuracy)
        for level, (mean, low, high) in enumerate(intervals)
    }
    response = DoseResponse("fpr", levels, limit=0.2, bound="size at most")
    # The largest level is not enough, so that none is known to be.
    assert (response.smallest_level, response.smallest_certain_level) == (1, math.inf)
    below = DoseResponse("fpr", {level: levels[level] for level in (0, 1, 2)}, limit=0.2, bound="size at most")
    assert (below.smallest_level, below.smallest_certain_level) == (1, 2)
    assert below.sentence == "2 is enough for 0.2: +0.100 [+0.050, +0.150]."
    response.save(tmp_path / "dose.svg")
    unsigned = DoseResponse("fpr", levels, limit=0.2)
    assert (unsigned.smallest_level, unsigned.smallest_certain_level) == (0, math.inf)


RESPONSE = DoseResponse("asr", {0: arm(0.8, 0.9), 0.05: arm(0.1, 0.3), 0.1: arm(0.05, 0.06)}, limit=0.25)


def test_a_level_is_enough_only_with_certainty() -> None:
    assert RESPONSE.smallest_level == 0.05
    assert RESPONSE.smallest_certain_level == 0.1
    assert str(RESPONSE).splitlines() == [
        "asr, by level",
        "  level  figure                accuracy",
        "  0      0.850 [0.215, 1.000]  0.850 [0.215, 1.000]",
        "  0.05   0.200 [0.000, 1.000]  0.200 [0.000, 1.000]",
        "  0.1    0.055 [0.000, 0.119]  0.055 [0.000, 0.119]",
        "  0.1 is enough for 0.25: 0.055 [0.000, 0.119].",
    ]
    none = DoseResponse("asr", RESPONSE.levels, limit=0.01)
    assert none.smallest_level == math.inf
    assert none.to_dict()["smallest_level"] is None
    assert none.sentence == "None of these levels is certainly enough for 0.01."
    doubtful = DoseResponse("asr", {0: RESPONSE.levels[0], 0.05: RESPONSE.levels[0.05]}, limit=0.25)
    assert (doubtful.smallest_level, doubtful.smallest_certain_level) == (0.05, math.inf)
    assert doubtful.sentence == "None of these levels is certainly enough for 0.25."
    plain = RESPONSE.to_dict()
    assert (plain["smallest_level"], plain["smallest_certain_level"]) == (0.05, 0.1)


@given(st.lists(st.booleans(), min_size=1, max_size=8))
def test_levels_are_judged_from_the_largest_one_down(are_certain: list[bool]) -> None:
    levels = {float(level): arm(0.1, 0.1) if certain else arm(0.1, 0.2) for level, certain in enumerate(are_certain)}
    response = DoseResponse("asr", levels, limit=0.2)
    assert response.smallest_level == 0
    above = [level for level in levels if all(are_certain[int(level) :])]
    assert response.smallest_certain_level == min(above, default=math.inf)
    assert (" is enough for " in response.sentence) == bool(above)


def simulated_levels(true_figures: Sequence[float], generator: np.random.Generator) -> dict[float, Repeated]:
    """Return what three seeds, which differ by .02, find on 1,000 images."""
    levels = {}
    for level, figure in enumerate(true_figures):
        counts = generator.binomial(1000, np.clip(figure + generator.normal(0, 0.02, 3), 0, 1))
        figures = OverSeeds.of([proportion(count, 1000) for count in counts.tolist()])
        levels[float(level)] = Repeated(figures, {"accuracy": figures})
    return levels


@pytest.mark.parametrize("enough", [0, 1, 4])
def test_of_many_levels_that_are_not_enough_none_is_called_so(enough: int) -> None:
    """Eight levels, of which the last ones are enough by far, and the others are just above the limit."""
    generator, repeats = np.random.default_rng(enough), 400
    truth = [0.201] * (8 - enough) + [0.02] * enough
    found = [DoseResponse("asr", simulated_levels(truth, generator), limit=0.2) for _ in range(repeats)]
    wrong = sum(response.smallest_certain_level < 8 - enough for response in found) / repeats
    assert wrong <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / repeats)
    # What is enough is found, and the means alone would have promised more.
    assert enough == 0 or sum(response.smallest_certain_level <= 8 - enough for response in found) > 0.95 * repeats
    assert sum(response.smallest_level < 8 - enough for response in found) > 0.8 * repeats


def test_a_dose_response_is_saved_as_json_and_as_a_plot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RESPONSE.save(tmp_path / "dose.json")
    assert json.loads((tmp_path / "dose.json").read_text()) == RESPONSE.to_dict()
    RESPONSE.save(tmp_path / "dose.svg")
    plot = (tmp_path / "dose.svg").read_text()
    assert plot.count("<path") > 20

    def missing(name: str) -> None:
        raise ModuleNotFoundError(name=name.partition(".")[0])

    monkeypatch.setattr("pytest_biastransfer.optional_dependencies.importlib.import_module", missing)
    with pytest.raises(SpecError, match=r"dose\.png: needs matplotlib, which is not installed; type: pip install"):
        RESPONSE.save(tmp_path / "dose.png")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seeds": 1}, "seeds=1: expected at least two"),
        ({"seeds": "ab"}, "seeds='ab', expected a number of seeds, or a list of whole numbers"),
        ({"seeds": [1, 1]}, r"seeds=\[1, 1\]: expected at least two"),
        ({"levels": []}, r"levels=\[\], expected numbers"),
        ({"levels": [0, True]}, r"levels=\[0, True\], expected numbers"),
        ({"metric": "ars"}, "metric='ars'; did you mean asr"),
        ({"metric": "targeted_asr"}, "metric='targeted_asr' needs target="),
        ({"metric": "asr_excess"}, "metric='asr_excess'; .*Valid: accuracy_drop, asr"),
        ({"mode": "half"}, "mode='half'; Valid"),
        ({"confidence": 2}, "confidence=2, expected a number above 0 and below 1"),
        ({"change": lambda *_: 5}, "change: got 5, expected a map-style dataset"),
    ],
)
def test_what_cannot_be_asked_says_why(changed: dict[str, Any], message: str) -> None:
    data = pictures(8, seed=0)
    given: dict[str, Any] = {"change": lambda images, _: images, "levels": [0], "recipe": Recipe(epochs=1), "seeds": 2}
    with pytest.raises(BiasTransferError, match=message):
        dose_response(Net(), data, data, SQUARE, **{**given, **changed})
