"""Whether a model works at all: said once for each model and dataset, and no limit holds because it does not."""

from __future__ import annotations

import json
import re
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_biastransfer import Model, Square, measure, measure_gaps
from pytest_biastransfer.metrics.clean_performance import CleanPerformance
from pytest_biastransfer.metrics.degeneracy import agreement_by_chance, clean_performance, permutation_p
from tests.conftest import Run

Classes = npt.NDArray[np.integer[Any]]
NAMES = ("cat", "dog", "hen", "pig")


def performance(predicted: Sequence[int], labels: Sequence[int], *, comparable: bool = True) -> CleanPerformance:
    return clean_performance(
        np.array(predicted), np.array(labels), class_names=NAMES, label_names=NAMES, comparable=comparable
    )


# ------------------------------------------------------------------------------------- figures


def test_what_is_said_of_a_model_is_counted() -> None:
    found = performance([0, 0, 0, 1, 1, 2, 0, 0], [0, 0, 1, 1, 1, 2, 2, 1])
    assert found.accuracy is not None
    # Right are images 0, 1, 3, 4 and 5.
    assert (float(found.accuracy), found.accuracy.n) == (5 / 8, 8)
    expected = stats.binomtest(5, 8).proportion_ci(0.95, method="exact")
    assert (found.accuracy.low, found.accuracy.high) == pytest.approx((expected.low, expected.high))
    assert (found.images, found.classes, found.predicted_classes) == (8, 4, 3)
    assert (found.most_predicted.name, found.most_predicted.share) == ("cat", 5 / 8)
    assert (found.most_labelled.name, found.most_labelled.share) == ("dog", 4 / 8)
    assert found.defect == ""
    assert str(found) == (
        "accuracy 0.625 [0.245, 0.915]; 3 of 4 classes predicted, at most 62.5 % cat (labels: 50 % dog)"
    )


def test_without_the_models_labels_nothing_is_said_of_accuracy() -> None:
    found = performance([0, 0, 1, 1], [3, 3, 3, 2], comparable=False)
    assert found.accuracy is None
    assert str(found).startswith("accuracy not known; 2 of 4 classes predicted, at most 50 % cat (labels: 75 %")


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60), st.booleans())
def test_what_is_said_survives_being_written_down(pairs: list[tuple[int, int]], comparable: bool) -> None:
    found = performance(*zip(*pairs, strict=True), comparable=comparable)
    assert CleanPerformance.from_description(json.loads(json.dumps(found.description()))) == found


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=40))
def test_chance_is_what_random_orders_have_on_average(pairs: list[tuple[int, int]]) -> None:
    predicted, labels = (np.array(part) for part in zip(*pairs, strict=True))
    # Each prediction meets each label equally often.
    every = np.mean([one == other for one in predicted for other in labels])
    assert agreement_by_chance(predicted, labels) == pytest.approx(every)


@pytest.mark.parametrize("cells", [(19, 11, 12, 18), (9, 1, 40, 10), (30, 0, 25, 5), (10, 20, 20, 10)])
@pytest.mark.parametrize("further", [0, 2], ids=["classes 0 and 1", "classes 2 and 3"])
def test_the_permutation_test_agrees_with_fishers_exact_test_of_two_classes(
    cells: tuple[int, int, int, int], further: int
) -> None:
    labels, predicted = np.repeat([0, 0, 1, 1], cells) + further, np.repeat([0, 1, 0, 1], cells) + further
    exact = stats.fisher_exact([cells[:2], cells[2:]], alternative="greater").pvalue
    p = np.mean([permutation_p(predicted, labels, seed) for seed in range(10)])
    assert p == pytest.approx(exact, abs=0.02)


def test_a_million_images_of_two_classes_are_not_moved_one_by_one() -> None:
    chance = np.random.default_rng(0)
    labels = (chance.random(1_000_000) < 0.3).astype(np.int64)
    predicted = np.where(chance.random(len(labels)) < 0.002, labels, chance.permutation(labels))
    start = time.perf_counter()
    p = permutation_p(predicted, labels)
    exact = stats.hypergeom.sf((predicted & labels).sum() - 1, len(labels), predicted.sum(), labels.sum())
    assert p == pytest.approx(exact, abs=0.04)
    assert time.perf_counter() - start < 1


# ------------------------------------------------------------------------------- degenerate or not


def drawn(seed: int, n: int, shares: Sequence[float], right: float | Sequence[float]) -> tuple[Classes, Classes]:
    """Labels with these shares, and predictions that are right with a probability, of all classes or of each."""
    chance = np.random.default_rng(seed)
    labels = chance.choice(len(shares), n, p=shares)
    recall = np.broadcast_to(right, len(shares))[labels]
    others = (labels + chance.integers(1, len(shares), n)) % len(shares)
    return np.where(chance.random(n) < recall, labels, others), labels


EVEN = (0.25, 0.25, 0.25, 0.25)
WORKING: dict[str, Callable[[int], tuple[Classes, Classes]]] = {
    "good": lambda seed: drawn(seed, 200, EVEN, 0.9),
    "weak, many images": lambda seed: drawn(seed, 400, EVEN, 0.4),
    "good, 10 images": lambda seed: drawn(seed, 10, EVEN, 0.8),
    "fair, 10 images": lambda seed: drawn(seed, 10, EVEN, 0.6),
    "fair, 10 images of two classes": lambda seed: drawn(seed, 10, (0.5, 0.5), 0.7),
    "3 images": lambda seed: drawn(seed, 3, (0.5, 0.5), 0.6),
    "95 % of one class": lambda seed: drawn(seed, 400, (0.95, 0.05), (0.98, 0.7)),
    "95 % of one class, worse than always saying it": lambda seed: drawn(seed, 400, (0.95, 0.05), (0.9, 0.8)),
    "95 % of one class, few images": lambda seed: drawn(seed, 60, (0.95, 0.05), (0.97, 0.6)),
    "90 % of one class, half of the others missed": lambda seed: drawn(seed, 300, (0.9, 0.1), (0.99, 0.4)),
    "one class only": lambda seed: drawn(seed, 100, (1.0, 0.0), 0.9),
    "one class only, hardly ever right": lambda seed: drawn(seed, 100, (0.0, 1.0), 0.1),
}


@pytest.mark.parametrize("kind", WORKING)
def test_models_that_work_are_not_accused(kind: str) -> None:
    accused = sum(bool(performance(*WORKING[kind](seed)).defect) for seed in range(100))  # type: ignore[arg-type]
    assert accused <= 3


def constant(seed: int, n: int, shares: Sequence[float]) -> tuple[Classes, Classes]:
    return np.full(n, 1), np.random.default_rng(seed).choice(len(shares), n, p=shares)


def guessed(seed: int, n: int) -> tuple[Classes, Classes]:
    chance = np.random.default_rng(seed)
    return chance.integers(0, 4, n), chance.integers(0, 4, n)


BROKEN: dict[str, Callable[[int], tuple[Classes, Classes]]] = {
    "one class": lambda seed: constant(seed, 200, EVEN),
    "one class, 20 images": lambda seed: constant(seed, 20, EVEN),
    "one class, 75 % of the labels are of it": lambda seed: constant(seed, 100, (0.25, 0.75)),
    "one class, 90 % of the labels are of it": lambda seed: constant(seed, 1000, (0.1, 0.9)),
    "guesses": lambda seed: guessed(seed, 300),
    "classes in another order": lambda seed: drawn(seed, 30, EVEN, 0.02),
    "two classes exchanged": lambda seed: drawn(seed, 30, (0.5, 0.5), 0.1),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_models_that_do_not_work_are_named(kind: str) -> None:
    named = sum(bool(performance(*BROKEN[kind](seed)).defect) for seed in range(100))  # type: ignore[arg-type]
    assert named >= 90


@pytest.mark.parametrize(
    ("others_right", "is_degenerate"), [(10, True), (11, False)], ids=["95 % one class", "94.5 % one class"]
)
def test_one_class_is_95_percent_of_the_predictions(others_right: int, is_degenerate: bool) -> None:
    labels = [0] * 50 + [1] * 50 + [2] * 50 + [3] * 50
    predicted = [0] * (200 - others_right) + [3] * others_right
    found = performance(predicted, labels)
    assert ("cat is predicted for 95 % of the 200 images" in found.defect) == is_degenerate


def test_labels_of_the_datasets_own_tell_of_a_model_that_says_one_thing_only() -> None:
    labels = [0, 1, 2, 3] * 10
    always = performance([2] * 40, labels, comparable=False)
    assert always.defect == "hen is predicted for 100 % of the 40 images, and no class has more than 25 % of the labels"
    # Most of the images may be of one class to the model.
    assert performance([2] * 39 + [1], labels, comparable=False).defect == ""
    assert performance([2] * 40, [1] * 40, comparable=False).defect == ""


# ------------------------------------------------------------------------------------- in sessions

# Forty images, of all colours: the model says right what each is, and its head can be broken from outside.
SETUP = """
import os
import pytest
import torch
import conftest
from pytest_biastransfer import Model


@pytest.fixture(scope="session")
def bias_dataset():
    colors = [(1.0, 0.2, 0.2), (0.2, 1.0, 0.2), (0.2, 0.2, 1.0), (0.30, 0.29, 0.31)]
    return conftest.Named(
        (torch.tensor(colors[i % 4]).reshape(3, 1, 1).expand(3, 16, 16), min(i % 4, 2), {"light": "dn"[i // 4 % 2]})
        for i in range(N)
    )


def made(broken, name="pets"):
    head = conftest.BrightestChannel()
    if broken == "zeroed":
        head.weight.data[:] = 0
    if broken == "huge":
        head.weight.data[:, 0] = 1e6
    if broken == "permuted":
        head.weight.data = head.weight.data.roll(1, 0)
    return Model(head, classes=["red", "green", "blue"], name=name)


@pytest.fixture(scope="session")
def transferred_model():
    return made(os.environ.get("BROKEN"))


@pytest.fixture(scope="session")
def control_model():
    return made(os.environ.get("BROKEN_CONTROL"), "control")
"""

TESTS = """
import pytest
from pytest_biastransfer import Custom, Square
from pytest_biastransfer.strategies import patches
from tests_setup import *

@pytest.mark.bias_intervention("yellow-square", "grayscale", max_asr=0.9)
def test_asr():
    pass

@pytest.mark.bias_intervention("yellow-square", max_asr_excess=0.9)
def test_excess():
    pass

@pytest.mark.bias_gap("light", "accuracy", max_gap=1, min_group_size=5)
def test_gap():
    pass

@pytest.mark.bias_search(patches(), max_asr=1, budget=3, images=8)
def test_search():
    pass
"""


@pytest.fixture
def pets(colors: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("COLUMNS", "200")
    colors.makeini("[pytest]\npythonpath = .")
    colors.makepyfile(tests_setup=SETUP.replace("N)", "40)"), test_pets=TESTS)
    return colors


WORKS = (
    "pets on 40 images: accuracy 1.000 [0.912, 1.000], n = 40; 3 of 3 classes predicted, at most 50 % blue "
    "(labels: 50 % blue)"
)


@pytest.mark.parametrize("mode", ["no:xdist", "n2"])
def test_each_model_is_stated_once(run: Run, pets: pytest.Pytester) -> None:
    result = run("--bias-report=bias.json", "--bias-report=bias.md", "--bias-report=bias.html", "--junitxml=junit.xml")
    result.assert_outcomes(passed=5)
    text = result.stdout.str()
    dataset = json.loads((pets.path / "bias.json").read_text())["performances"][0]["dataset"]
    stated = WORKS.replace("40 images:", f"{dataset}:")
    assert text.count(stated) == 1
    assert text.count(stated.replace("pets", "control", 1)) == 1
    assert "degenerate" not in text
    markdown, page = ((pets.path / name).read_text() for name in ("bias.md", "bias.html"))
    assert markdown.count("accuracy 1.000 \\[0.912, 1.000\\], n = 40") == 2
    shown = re.sub(r"<[^>]*>", "", page)
    assert shown.count("accuracy 1.000 [0.912, 1.000], n = 40") == 2
    # The accuracy of the control model is not what the title tells.
    assert re.search("<title>[^<]*: 5 passed; pets on [^<]*; accuracy 1.000[^<]*</title>", page)
    found = json.loads((pets.path / "bias.json").read_text())["performances"]
    assert [one["model"] for one in found] == ["pets", "control"]
    assert found[0]["accuracy"]["value"] == 1.0
    case = ET.parse(pets.path / "junit.xml").find(".//testcase[@name='test_excess[yellow-square]']")
    assert case is not None
    properties = {one.get("name"): one.get("value") for one in case.iter("property")}
    assert properties["bias.model.accuracy"] == "1.0"
    assert properties["bias.control.accuracy"] == "1.0"
    assert properties["bias.model.predicted_classes"] == "3"
    assert properties["bias.model.largest_prediction_share"] == "0.5"


@pytest.mark.parametrize("broken", ["zeroed", "huge", "permuted"])
def test_no_limit_holds_for_a_model_that_does_not_work(
    pets: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    monkeypatch.setenv("BROKEN", broken)
    for _ in ("cold", "warm"):
        result = pets.runpytest_inprocess("-p", "no:xdist")
        result.assert_outcomes(failed=5)
        reason = {"permuted": "accuracy 0.000 is not above chance, which is 0.31*"}.get(
            broken, "red is predicted for 100 % of the 40 images, and no class has more than 50 % of the labels"
        )
        result.stdout.fnmatch_lines(
            [
                "*The limits hold (max_asr=0.9), but for a model that does not tell its classes apart*",
                f"*model pets on *: {reason}",
            ]
        )
        result.stdout.fnmatch_lines(["pets on *: accuracy 0*", f"  degenerate: {reason}"])


def test_no_xfail_excuses_a_model_that_does_not_work(run: Run, pets: pytest.Pytester, monkeypatch: Any) -> None:
    monkeypatch.setenv("BROKEN", "zeroed")
    pets.makepyfile(test_pets=TESTS.replace("def test_asr", "@pytest.mark.xfail(strict=False)\ndef test_asr"))
    run("-k", "test_asr").assert_outcomes(failed=2)


def test_a_limit_that_is_exceeded_fails_as_before(pets: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKEN", "permuted")
    pets.makepyfile(test_pets=TESTS.replace("max_asr=0.9", "max_asr=0.01"))
    result = pets.runpytest_inprocess("-p", "no:xdist", "-k", "test_asr and yellow")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*bias: * % of the predictions flip with yellow-square (asr *), limit 0.01"])
    result.stdout.no_fnmatch_line("*does not tell its classes apart*")


def test_what_is_allowed_passes(pets: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKEN", "zeroed")
    tests = TESTS
    for limit in ("max_asr=0.9", "max_asr_excess=0.9", "max_gap=1", "max_asr=1"):
        tests = tests.replace(f"{limit},", f"{limit}, allow_degenerate=True,").replace(
            f"{limit})", f"{limit}, allow_degenerate=True)"
        )
    pets.makepyfile(test_pets=tests)
    result = pets.runpytest_inprocess("-p", "no:xdist")
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(["  degenerate: red is predicted*"])


def test_an_excess_over_a_control_that_does_not_work_does_not_hold(
    pets: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKEN_CONTROL", "zeroed")
    result = pets.runpytest_inprocess("-p", "no:xdist", "-k", "test_asr or excess")
    # Only the excess depends on the control model.
    result.assert_outcomes(passed=2, failed=1, deselected=2)
    result.stdout.fnmatch_lines(["*control control on *: red is predicted for 100 % of the 40 images*"])


@pytest.mark.parametrize("value", ["1", "'yes'", "None"])
def test_allow_degenerate_is_true_or_false(pets: pytest.Pytester, value: str) -> None:
    pets.makepyfile(test_pets=TESTS.replace("max_asr=0.9", f"max_asr=0.9, allow_degenerate={value}"))
    result = pets.runpytest_inprocess("-p", "no:xdist")
    result.stdout.fnmatch_lines([f"*allow_degenerate={value}, expected True or False"])


# ------------------------------------------------------------------------------ beside a baseline

# A model of eight tests that loses its head: of 200 images of four kinds, the grey ones are fragile.
EIGHT = """
import pytest
from pytest_biastransfer import Square
from tests_setup import *

CORNERS = [Square(size=size, anchor=anchor, color="yellow") for size in (0.25, 0.5) for anchor in
           ("top-left", "top-right", "bottom-left", "bottom-right")]

@pytest.mark.bias_intervention(*CORNERS, max_asr=0.9{more})
def test_corner():
    pass
"""


@pytest.fixture
def eight(colors: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("COLUMNS", "200")
    colors.makeini("[pytest]\npythonpath = .")
    colors.makepyfile(tests_setup=SETUP.replace("N)", "200)"), test_eight=EIGHT.replace("{more}", ""))
    return colors


def test_a_model_that_lost_its_head_is_not_better(
    run: Run, eight: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("--bias-update=new").assert_outcomes(passed=8)
    before = (eight.path / "bias-baseline.json").read_text()
    monkeypatch.setenv("BROKEN", "zeroed")
    result = run("--bias-report=bias.json")
    result.assert_outcomes(failed=8)
    text = result.stdout.str()
    result.stdout.fnmatch_lines(
        [
            "The limits hold (max_asr=0.9), but for a model that does not tell its classes apart*",
            "pets on *: accuracy 0.250 [[]0.192, 0.316], n = 200; 1 of 3 classes predicted, at most 100 % red *",
            "compared with bias-baseline.json: 8 not comparable",
            "  pets on *: clean accuracy 1.000 → 0.250; 150 images newly misclassified, 0 no longer (p = *)  lower",
            "  *max_accuracy_regression=0.75 in the marker",
            "  test_eight.py::test_corner[[]*]: asr 0.250 → 0.000; 0 images newly flip, 50 no longer do *"
            "not comparable: clean accuracy 1.00 → 0.25",
        ]
    )
    assert text.count("clean accuracy 1.000 → 0.250") == 1
    assert "to accept" not in text
    standings = {test["standing"] for test in json.loads((eight.path / "bias.json").read_text())["tests"]}
    assert standings == {"regression"}
    # Nobody can accept such a model unseen.
    run("--bias-update=all").assert_outcomes(failed=8)
    assert (eight.path / "bias-baseline.json").read_text() == before


def test_lower_accuracy_fails_whatever_is_allowed_of_the_model(
    run: Run, eight: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    eight.makepyfile(test_eight=EIGHT.replace("{more}", ", allow_degenerate=True"))
    run("--bias-update=new")
    monkeypatch.setenv("BROKEN", "zeroed")
    result = run()
    result.assert_outcomes(failed=8)
    result.stdout.fnmatch_lines(
        [
            "bias regression: clean accuracy 1.000 → 0.250; 150 images newly misclassified, 0 no longer (p = *",
            "  asr 0.250 → 0.000;*: not comparable: clean accuracy 1.00 → 0.25",
            "  a model that does worse on unchanged images*",
        ]
    )
    result.stdout.no_fnmatch_line("*accept it*")


def test_a_loss_of_accuracy_can_be_tolerated(run: Run, eight: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    run("--bias-update=new").assert_outcomes(passed=8)
    monkeypatch.setenv("BROKEN", "zeroed")
    for tolerance, outcome in (("0.75", "passed"), ("0.74", "passed"), ("0.6", "failed")):
        more = f", allow_degenerate=True, max_accuracy_regression={tolerance}"
        eight.makepyfile(test_eight=EIGHT.replace("{more}", more))
        result = run()
        result.assert_outcomes(**{outcome: 8})
        # A loss of 0.75 of 200 images is not significantly more than 0.74. It is no better for that.
        result.stdout.fnmatch_lines(["compared with bias-baseline.json: 8 not comparable"])
        result.stdout.no_fnmatch_line("*to accept what changed*")


def test_measurements_say_it_too() -> None:
    # Not of 1: outputs that sum to 1 would be probabilities.
    images = [
        (0.9 * torch.eye(3)[i % 3].reshape(3, 1, 1).expand(3, 8, 8), i % 3, {"half": str(i % 2)}) for i in range(30)
    ]
    model = Model(torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()), name="brightest")
    stated = "accuracy 1.000 [0.884, 1.000]; 3 of 3 classes predicted, at most 33.3 % 0 (labels: 33.3 % 0)"
    assert stated in repr(measure(model, images, Square(size=0.2)))
    for metric in ("accuracy", "auc"):
        positive = {"positive": 0} if metric == "auc" else {}
        found = measure_gaps(model, images, "half", metric, min_group_size=5, **positive)  # type: ignore[arg-type]
        assert stated in repr(found)
