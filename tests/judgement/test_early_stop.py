"""Stopping once the verdict is known: what is said, what it rests on, and where it does not apply."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from pytest_biastransfer import Estimate, Grayscale, Model, Square
from pytest_biastransfer.data import as_images
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.evaluation.visiting_order import chunks, dataset_seed, visiting_order
from pytest_biastransfer.judgement.early_stop import EarlyStop
from pytest_biastransfer.judgement.expectation import Expectation
from pytest_biastransfer.judgement.verdict import judge
from pytest_biastransfer.measurement.measure import measure_loaded
from pytest_biastransfer.metrics.measurement import Measurement
from pytest_biastransfer.names import Rule
from pytest_biastransfer.store import Store
from tests.conftest import Log, Run, each_mode, predicted_twice

TESTS = """
import conftest
import pytest

@pytest.fixture(scope="session")
def bias_dataset():
    return conftest.images(fragile={fragile}, n=2000)

@pytest.mark.bias_intervention("yellow-square", max_asr=0.1{more})
def test_it(bias):
    print("seen", bias.n, "of", bias.total)
"""


SEEN = Log()


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    SEEN.clear()


class Fragile(torch.nn.Module):
    """Answers with the brightest channel."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.eye(3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        SEEN.append(len(images))
        logits: torch.Tensor = images.mean(dim=(2, 3)) @ self.weight
        return logits


class Named(list[tuple[torch.Tensor, int]]):
    """Images with the names of their labels."""

    classes = ("red", "green", "blue")


def pictures(flips: Sequence[int], n: int) -> list[tuple[torch.Tensor, int]]:
    """Images of blue, of which those at `flips` turn red under a yellow square."""
    fragile, sturdy = torch.tensor([0.30, 0.29, 0.31]), torch.tensor([0.0, 0.0, 1.0])
    chosen = set(flips)
    return Named(((fragile if i in chosen else sturdy).reshape(3, 1, 1).expand(3, 4, 4), 2) for i in range(n))


def measured(
    images: list[tuple[torch.Tensor, int]],
    limits: dict[str, float],
    *,
    alpha: float | None = 0.01,
    rule: Rule = "point",
    evaluator: Evaluator | None = None,
    model: Model | None = None,
    control: Model | None = None,
) -> tuple[Measurement, Expectation]:
    expectation = Expectation(tuple(limits.items()), target=(0,), rule=rule)
    found = measure_loaded(
        evaluator or Evaluator("cpu", batch_size=256),
        model or Model(Fragile(), classes=["red", "green", "blue"]),
        as_images(images, "images"),
        Square(size=0.5),
        control=control,
        target=expectation.target,
        stop=None if alpha is None else EarlyStop.of(expectation, alpha),
    )
    return found, expectation


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each sentence of the summary in one line."""
    monkeypatch.setenv("COLUMNS", "160")


@pytest.mark.parametrize(("fragile", "outcome"), [(0, "passed"), (600, "failed")])
def test_a_clear_verdict_takes_a_few_images(run: Run, colors: pytest.Pytester, fragile: int, outcome: str) -> None:
    colors.makepyfile(TESTS.format(fragile=fragile, more=""))
    result = run("--bias-early-stop", "-v")
    result.assert_outcomes(**{outcome: 1})
    result.stdout.fnmatch_lines(["  yellow-square  asr *; * of 2,000 images"])
    result.stdout.fnmatch_lines(
        ["1 bias test: 1 * images evaluated, 0 predictions reused; 1 stopped early, at * of 2,000 images"]
    )
    full = run()
    full.assert_outcomes(**{outcome: 1})
    full.stdout.no_fnmatch_line("*stopped early*")


def test_a_failure_says_on_how_many_images_it_rests(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(TESTS.format(fragile=600, more=""))
    result = run("--bias-early-stop=0.001")
    result.stdout.fnmatch_lines(
        [
            "bias: * % of the predictions flip with yellow-square (asr *), limit 0.1",
            "  dataset       list, the first 32 of 2,000 images",
            "  FAILED  asr  *  (99.8 % interval * to *, n = 32)  limit 0.1",
        ]
    )


def test_the_second_session_evaluates_nothing_and_stops_where_the_first_did(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(TESTS.format(fragile=0, more=""))
    first = run("--bias-early-stop")
    second = run("--bias-early-stop")
    second.stdout.fnmatch_lines(
        ["*; 0 images evaluated, 128 predictions reused; 1 stopped early, at 64 of 2,000 images"]
    )
    first.stdout.fnmatch_lines(
        ["*; 128 images evaluated, 0 predictions reused; 1 stopped early, at 64 of 2,000 images"]
    )


@pytest.mark.parametrize(
    ("more", "options", "early"),
    [
        (", early_stop=True", [], True),
        (", early_stop=0.05", [], True),
        (", early_stop=False", ["--bias-early-stop"], False),
        ("", ["--bias-early-stop"], True),
        (", max_accuracy_drop=1", ["--bias-early-stop"], False),
        (", early_stop=True", ["--bias-update=new"], False),
        (", early_stop=True", ["--bias-update=all"], False),
    ],
)
def test_the_marker_decides_then_the_option_and_a_baseline_rests_on_all(
    colors: pytest.Pytester, more: str, options: list[str], early: bool
) -> None:
    colors.makepyfile(TESTS.format(fragile=0, more=more))
    result = colors.runpytest_inprocess("-p", "no:xdist", *options)
    result.assert_outcomes(passed=1)
    assert ("stopped early" in result.stdout.str()) == early
    if options and "update" in options[0]:
        content = json.loads((colors.path / "bias-baseline.json").read_text())
        assert [case["images"] for cases in content["tests"].values() for case in cases.values()] == [2000]


@each_mode
def test_what_stopped_early_is_not_compared_and_never_becomes_a_baseline(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(TESTS.format(fragile=0, more=", early_stop=True"))
    run("--bias-early-stop").stdout.fnmatch_lines(["1 bias test without a baseline; *"])
    # Measured on all images, although it was stopped early before.
    updated = run("--bias-update=new")
    updated.stdout.no_fnmatch_line("*stopped early*")
    result = run("--cache-clear")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["compared with bias-baseline.json: 1 not compared (stopped early)"])


def test_ini_and_option() -> None:
    assert EarlyStop.of(Expectation((("accuracy_drop", 0.1), ("asr_excess", 0.1))), 0.01) is None
    asked = EarlyStop.of(Expectation((("skew", 0.1),), rule="certain", confidence=0.9), 0.05)
    assert asked == EarlyStop((("skew", 0.1),), "certain", 0.9, 0.05)


def test_the_ini_file_can_ask_for_it(colors: pytest.Pytester) -> None:
    colors.makeini("[pytest]\nbias_early_stop = 0.02")
    colors.makepyfile(TESTS.format(fragile=0, more=""))
    result = colors.runpytest_inprocess("-p", "no:xdist")
    result.stdout.fnmatch_lines(["*1 stopped early*"])


def test_an_early_verdict_is_the_one_on_all_images_wherever_the_flips_are() -> None:
    for flipped in (0, 40, 100, 101, 160, 500):
        images = pictures(range(flipped), 1000)
        full, expectation = measured(images, {"asr": 0.1}, alpha=None)
        early, _ = measured(images, {"asr": 0.1})
        assert judge(expectation, early).holds == judge(expectation, full).holds == (flipped <= 100)
        assert early.n in [chunk.stop for chunk in chunks(1000)]
        assert early.total == full.n == 1000
        assert (early.early is None) == (early.n == early.total)
    assert full.n == 1000


def test_nothing_is_computed_beyond_the_last_look() -> None:
    found, _ = measured(pictures([], 3000), {"asr": 0.1})
    assert sum(SEEN) - predicted_twice(3000) == found.computed == 2 * found.n < 3000


def test_the_images_are_the_first_of_the_visiting_order() -> None:
    images = pictures(range(0, 3000, 2), 3000)
    found, _ = measured(images, {"asr": 0.1})
    seed = dataset_seed(as_images(images, "images").fingerprint, 0)
    first = sorted(visiting_order(3000, seed)[: found.n].tolist())
    assert [flip.index for flip in found.flips] == [i for i in first if i % 2 == 0]


def test_a_skew_is_decided_by_the_asr_only_where_that_is_small_enough() -> None:
    none, expectation = measured(pictures([], 3000), {"skew": 0.1})
    assert none.early == {"skew": True}
    assert judge(expectation, none).holds
    # All of them flip, but whether the classes' shares move could not be told from that.
    moved, expectation = measured(pictures(range(3000), 3000), {"skew": 0.1})
    assert (moved.early, moved.n) == (None, 3000)
    assert not judge(expectation, moved).holds
    certain, _ = measured(pictures([], 3000), {"skew": 0.1}, rule="certain")
    assert certain.early is None


def test_shares_of_a_part_of_the_images_are_decided_too() -> None:
    found, expectation = measured(pictures([], 3000), {"conditional_asr": 0.1, "targeted_asr": 0.1})
    assert found.early == {"conditional_asr": True, "targeted_asr": True}
    assert judge(expectation, found).holds
    found, expectation = measured(pictures(range(3000), 3000), {"conditional_asr": 0.1})
    assert found.early == {"conditional_asr": False}
    assert not judge(expectation, found).holds


def test_one_exceeded_limit_decides_and_the_others_are_left_open() -> None:
    control = Model(Fragile(), classes=["red", "green", "blue"], name="control")
    found, expectation = measured(
        pictures(range(3000), 3000), {"asr": 0.1, "asr_excess": 0.1, "skew": 0.2}, control=control
    )
    assert found.early == {"asr": False}
    assert found.control is not None
    assert found.control.n == found.n < 3000
    verdicts = judge(expectation, found).limits
    assert [(limit.holds, limit.note) for limit in verdicts] == [
        (False, ""),
        (None, "not decided"),
        (None, "not decided"),
    ]


def test_limits_that_first_images_cannot_decide_are_measured_on_all() -> None:
    control = Model(Fragile(), classes=["red", "green", "blue"], name="control")
    found, _ = measured(pictures([], 1000), {"asr": 0.1, "asr_excess": 0.1}, control=control)
    assert (found.early, found.n) == (None, 1000)


def test_the_probability_of_error_is_shared_by_the_limits() -> None:
    one, _ = measured(pictures([], 3000), {"asr": 0.1})
    three, _ = measured(pictures([], 3000), {"asr": 0.1, "conditional_asr": 0.1, "targeted_asr": 0.1})
    # For the verdict, and as much again for the interval.
    assert three.asr.confidence == pytest.approx(1 - 2 * 0.01 / 3)
    assert one.asr.confidence == pytest.approx(0.98)
    assert three.n >= one.n


def test_intervals_of_what_stopped_early_are_those_of_the_sequence() -> None:
    found, _ = measured(pictures([], 3000), {"asr": 0.1})
    assert isinstance(found.asr, Estimate)
    assert found.asr.method == "confidence sequence"
    assert found.asr.low == 0 < found.asr.high <= 0.1
    assert found.accuracy.method == "clopper-pearson"


@pytest.mark.parametrize("metric", ["asr", "conditional_asr", "targeted_asr"])
# An end of the interval of all images is judged by two rules, so that the share itself changes sides elsewhere.
@pytest.mark.parametrize(
    ("rule", "least", "most"), [("point", 0.2, 0.2), ("certain", 0.18, 0.2), ("significant", 0.2, 0.22)]
)
@pytest.mark.parametrize("flipped", [0, 150, 1500, 2900])
def test_the_interval_of_what_stopped_early_is_on_the_side_that_the_verdict_says(
    metric: str, rule: Rule, least: float, most: float, flipped: int
) -> None:
    images = pictures(range(flipped), 3000)
    found, _ = measured(images, {metric: 0.2}, rule=rule)
    full, _ = measured(images, {metric: 0.2}, rule=rule, alpha=None)
    estimate, truth = found.estimates[metric], full.estimates[metric]
    assert found.n < 3000
    assert estimate.low <= truth <= estimate.high
    assert estimate.confidence == pytest.approx(0.98)
    assert found.early == {metric: flipped < 600}
    assert estimate.high <= most if flipped < 600 else estimate.low > least


@pytest.mark.parametrize("rule", ["point", "certain", "significant"])
@pytest.mark.parametrize("flipped", [0, 85, 100, 115, 400])
def test_every_rule_gets_the_verdict_of_all_images(rule: Rule, flipped: int) -> None:
    images = pictures(range(flipped), 1000)
    full, expectation = measured(images, {"asr": 0.1}, alpha=None, rule=rule)
    early, _ = measured(images, {"asr": 0.1}, rule=rule)
    assert judge(expectation, early).holds == judge(expectation, full).holds


def test_a_limit_that_nothing_is_certain_of_is_measured_on_all() -> None:
    found, _ = measured(pictures([], 300), {"asr": 0.0}, rule="certain")
    assert (found.early, found.n) == (None, 300)


def test_what_was_measured_on_all_images_is_used_and_what_was_not_is_gone_on_with(tmp_path: Path) -> None:
    model = Model(Fragile(), classes=["red", "green", "blue"])
    images = pictures([], 1000)
    evaluator = Evaluator("cpu", Store(tmp_path), batch_size=256)
    early, _ = measured(images, {"asr": 0.1}, evaluator=evaluator, model=model)
    full, _ = measured(images, {"asr": 0.1}, evaluator=evaluator, model=model, alpha=None)
    assert full.computed == 2 * (1000 - early.n)
    assert sum(SEEN) == 2000 + predicted_twice(1000)
    again, _ = measured(images, {"asr": 0.1}, evaluator=Evaluator("cpu", Store(tmp_path)), model=model)
    assert (again.early, again.n, again.computed, len(again.flips)) == (None, 1000, 0, 0)
    assert again.class_shift.tolist() == full.class_shift.tolist()


def test_the_first_images_are_shared_without_a_store() -> None:
    model = Model(Fragile(), classes=["red", "green", "blue"])
    evaluator = Evaluator("cpu", batch_size=256)
    images = as_images(pictures([], 1000), "images")
    stop = EarlyStop.of(Expectation((("asr", 0.1),)), 0.01)
    first = measure_loaded(evaluator, model, images, Square(size=0.5), stop=stop)
    second = measure_loaded(evaluator, model, images, Grayscale(), stop=stop)
    assert (first.computed, second.computed) == (2 * first.n, second.n)


def test_a_model_is_left_as_it_was_found() -> None:
    module = Fragile().train()
    measured(pictures([], 1000), {"asr": 0.1}, model=Model(module, classes=["red", "green", "blue"]))
    assert module.training
