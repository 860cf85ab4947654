"""Several accepted seeds of one training: how they are added, what a change beside them means, what is said."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_biastransfer.baseline.encoding import encode_classes, encode_groups, encode_images, encode_numbers
from pytest_biastransfer.baseline.entry import Entry, EntryKey, Figure
from pytest_biastransfer.baseline.file import read_baseline, write_baseline
from pytest_biastransfer.baseline.over_time import night_of, over_time
from pytest_biastransfer.baseline.regression import changes, comparable, comparisons_of, meanings, newly_flipped
from pytest_biastransfer.baseline.seeds import accepted_seeds, obstacle, updated, with_seed
from pytest_biastransfer.errors import BaselineError
from pytest_biastransfer.metrics.statistics.change_tests import mcnemar
from pytest_biastransfer.metrics.statistics.e_process import p_over_time
from pytest_biastransfer.metrics.statistics.seed_change_test import beside_most, beyond_seeds, root_scale
from pytest_biastransfer.metrics.statistics.tally import Tally
from tests.baseline.test_baseline_file import baseline_of, entry, with_images
from tests.conftest import Run, each_mode

# The square flips the first FLIPS images, as a checkpoint of another seed would have another number of them.
SETUP = """
import os
import pytest
import conftest
import torch

N, STEP = int(os.environ.get("IMAGES", "200")), 0.0002

@pytest.fixture(scope="session")
def bias_dataset():
    colors = [(0.30, 0.29, 0.31 + i * STEP) for i in range(N)]
    return conftest.Named((torch.tensor(color).reshape(3, 1, 1).expand(3, 16, 16), 2) for color in colors)

@pytest.fixture(scope="session")
def transferred_model():
    from pytest_biastransfer import Model

    class Fragile(conftest.BrightestChannel):
        def forward(self, images):
            return super().forward(images) + self.extra * torch.tensor([0.0, 0.0, 1.0])

    model, flips = Fragile(), int(os.environ["FLIPS"])
    # A sixteenth of each image becomes yellow.
    extra = 0.30 * 15 / 16 + 1 / 16 - (0.31 + (flips - 0.5) * STEP) * 15 / 16
    model.register_buffer("extra", torch.tensor(extra))
    return Model(model, classes=["red", "green", "blue"], name=f"pets {flips}")
"""

TESTS = """
import pytest
from tests_setup import *

@pytest.mark.bias_intervention("yellow-square", max_asr=1)
def test_square():
    pass
"""


class Project:
    """A project whose model flips as many images as it is told."""

    def __init__(self, pytester: pytest.Pytester, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pytester, self._run, self._monkeypatch = pytester, run, monkeypatch
        pytester.makeini("[pytest]\npythonpath = .")
        pytester.makepyfile(tests_setup=SETUP, test_pets=TESTS)

    def run(self, flips: int, *options: str, images: int = 200) -> pytest.RunResult:
        self._monkeypatch.setenv("FLIPS", str(flips))
        self._monkeypatch.setenv("IMAGES", str(images))
        return self._run(*options)

    def square(self) -> dict[str, Any]:
        content: dict[str, Any] = baseline_of(self.pytester)["tests"]["test_pets.py::test_square"]["yellow-square"]
        return content

    @property
    def file(self) -> Path:
        return self.pytester.path / "bias-baseline.json"


@pytest.fixture
def project(colors: pytest.Pytester, run: Run, monkeypatch: pytest.MonkeyPatch) -> Project:
    return Project(colors, run, monkeypatch)


@each_mode
def test_further_seeds_are_added_and_a_model_is_compared_with_all(project: Project) -> None:
    project.run(60, "--bias-update=new").assert_outcomes(passed=1)
    # Beside one checkpoint, ten images more are significant, and the message says what that is worth.
    alone = project.run(70)
    alone.assert_outcomes(failed=1)
    alone.stdout.fnmatch_lines(
        [
            "bias regression: asr 0.300 → 0.350; 10 images newly flip, 0 no longer do (p = 0.002)",
            "  compared with one accepted checkpoint: another seed of the same training can differ as much; accept several *",
            "  If this is meant, accept it: pytest --bias-update=all *",
        ]
    )
    added = project.run(64, "--bias-update=add")
    added.assert_outcomes(passed=1)
    added.stdout.fnmatch_lines(["bias-baseline.json: 0 added, 1 changed (1 by a further seed), 0 removed, 1 in all"])
    project.run(57, "--bias-update=add").assert_outcomes(passed=1)
    figures = [seed["figures"]["asr"]["count"] for seed in project.square()["seeds"]]
    assert (project.square()["figures"]["asr"]["count"], sorted(figures)) == (60, [57, 64])
    # The same ten images are within what seeds differ by, and 140 are not.
    innocent = project.run(70)
    innocent.assert_outcomes(passed=1)
    innocent.stdout.fnmatch_lines(["compared with bias-baseline.json: 1 no worse"])
    worse = project.run(199)
    worse.assert_outcomes(failed=1)
    worse.stdout.fnmatch_lines(
        [
            "bias regression: asr 0.302 → 0.995; 3 accepted seeds: 0.285 to 0.320 (p = *)",
            "  newly flipped, the first:",
            "    image 64 *",
            "  If this is meant, accept it in place of the 3 seeds: pytest --bias-update=all *",
        ]
    )
    worse.stdout.no_fnmatch_line("*one accepted checkpoint*")
    # What was accepted is compared with itself.
    for flips in (57, 60, 64):
        project.run(flips).stdout.fnmatch_lines(["compared with bias-baseline.json: 1 no worse"])


@each_mode
def test_a_worse_seed_is_added_and_shown_and_not_red(project: Project) -> None:
    project.run(60, "--bias-update=new")
    added = project.run(120, "--bias-update=add")
    assert added.ret == pytest.ExitCode.OK
    added.assert_outcomes(passed=1)
    added.stdout.fnmatch_lines(
        [
            "compared with bias-baseline.json: 1 worse",
            "  *test_square*: asr 0.300 → 0.600; 60 images newly flip, 0 no longer do (p = 2e-18)  worse",
            "bias-baseline.json: 0 added, 1 changed (1 by a further seed), *",
        ]
    )
    added.stdout.no_fnmatch_line("*to accept what changed*")


def test_a_limit_fails_while_a_seed_is_added(project: Project) -> None:
    project.pytester.makepyfile(test_pets=TESTS.replace("max_asr=1", "max_asr=0.4"))
    project.run(60, "--bias-update=new").assert_outcomes(passed=1)
    project.run(120, "--bias-update=add").assert_outcomes(failed=1)


def test_a_model_that_is_there_changes_nothing_and_a_test_without_an_entry_gets_one(project: Project) -> None:
    result = project.run(60, "--bias-update=add")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["bias-baseline.json: 1 added, 0 changed, 0 removed, 1 in all"])
    project.run(64, "--bias-update=add")
    before = project.file.read_bytes()
    for flips in (60, 64):
        result = project.run(flips, "--bias-update=add")
        result.stdout.fnmatch_lines(["bias-baseline.json: 0 added, 0 changed, 0 removed, 1 in all"])
    assert project.file.read_bytes() == before


@pytest.mark.parametrize("options", [[], ["--bias-compare=off"]])
def test_other_images_are_not_added_and_the_session_says_what_to_type(project: Project, options: list[str]) -> None:
    project.run(60, "--bias-update=new")
    before = project.file.read_bytes()
    result = project.run(150, "--bias-update=add", *options, images=210)
    # It is not accepted, so that it is judged as always.
    result.assert_outcomes(**({"passed": 1} if options else {"failed": 1}))
    result.stdout.fnmatch_lines(
        [
            "  test_pets.py::test_square[[]yellow-square]: not added as a further seed: the entry is of list (200 images), "
            "and this is of list (210 images); to accept it in place of the entry: pytest --bias-update=all *"
        ]
    )
    assert project.file.read_bytes() == before


def test_another_intervention_is_not_added(project: Project) -> None:
    project.run(60, "--bias-update=new")
    content = baseline_of(project.pytester)
    square = content["tests"]["test_pets.py::test_square"]["yellow-square"]
    square["intervention"] = square["intervention"].replace("0.25", "0.5")
    project.file.write_text(json.dumps(content))
    result = project.run(64, "--bias-update=add")
    result.stdout.fnmatch_lines(["*not added as a further seed: the entry is of yellow-square = Square(size=0.5*"])


def test_a_degenerate_model_is_no_seed(project: Project) -> None:
    """One that predicts blue for all images, half of which are red."""
    setup = SETUP.replace("expand(3, 16, 16), 2)", "expand(3, 16, 16), i % 2)").replace(
        "for color in colors", "for i, color in enumerate(colors)"
    )
    project.pytester.makepyfile(
        tests_setup=setup, test_pets=TESTS.replace("max_asr=1", "max_asr=1, allow_degenerate=True")
    )
    project.run(60, "--bias-update=new").assert_outcomes(passed=1)
    project.pytester.makepyfile(test_pets=TESTS)
    result = project.run(64, "--bias-update=add")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*: not added as a further seed: a degenerate model is not accepted"])
    result.stdout.no_fnmatch_line("*in place of the entry*")
    assert "seeds" not in project.square()


def test_all_accepts_one_seed_in_place_of_several(project: Project) -> None:
    project.run(60, "--bias-update=new")
    project.run(64, "--bias-update=add")
    project.run(70, "--bias-update=all")
    assert "seeds" not in project.square()
    assert project.square()["figures"]["asr"]["count"] == 70


def test_a_seed_gets_a_metric_that_the_marker_limits_by_now(project: Project) -> None:
    project.run(60, "--bias-update=new")
    project.run(64, "--bias-update=add")
    project.pytester.makepyfile(test_pets=TESTS.replace("max_asr=1", "max_asr=1, max_skew=1, max_conditional_asr=1"))
    project.run(64).stdout.fnmatch_lines(
        ["*the entry has no conditional_asr, skew; to write it: pytest --bias-update=add *"]
    )
    result = project.run(64, "--bias-update=add")
    result.stdout.fnmatch_lines(["bias-baseline.json: 0 added, 1 changed, 0 removed, 1 in all"])
    assert "unlabelled" in project.square()["seeds"][0]["evidence"]
    assert "unlabelled" not in project.square()["evidence"]
    result = project.run(64)
    result.stdout.no_fnmatch_line("*the entry has no*")


def test_a_report_has_the_figures_of_the_seeds(project: Project) -> None:
    project.run(60, "--bias-update=new")
    project.run(64, "--bias-update=add")
    project.run(62, "--bias-report=bias.json")
    report = json.loads((project.pytester.path / "bias.json").read_text())
    asr = next(change for change in report["tests"][0]["changes"] if change["metric"] == "asr")
    assert (asr["before"], asr["seeds"], asr["newly"]) == (pytest.approx(0.31), [0.3, 0.32], None)


# Without a session.


def seed(name: str, flipped: list[int], images: int = 1000, **figures: Figure) -> Entry:
    """The measurement of a model of this name, under which these images flip."""
    return replace(entry(flipped, images, "d", **figures), model={"name": name, "fingerprint": name})


def baseline(*seeds: Entry) -> Entry:
    first, *others = seeds
    for other in others:
        first = with_seed(first, other)
    return first


sets = st.sets(st.integers(0, 999), max_size=120).map(sorted)


@given(st.lists(sets, min_size=1, max_size=5), st.randoms())
def test_seeds_are_written_and_read_in_whatever_order_they_came(flips: list[list[int]], chance: Any) -> None:
    import tempfile

    first, *others = [seed(f"m{number}", images) for number, images in enumerate(flips)]
    key = EntryKey("a", "b")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "baseline.json"
        write_baseline(path, {key: baseline(first, *others)})
        text = path.read_bytes()
        assert read_baseline(path) == {key: baseline(first, *others)}
        chance.shuffle(others)
        write_baseline(path, {key: baseline(first, *others)})
        assert path.read_bytes() == text
    assert accepted_seeds(baseline(first, *others))[0].image_set("flipped") == flips[0]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda seeds: "x", "seeds: expected list, found str"),
        (lambda seeds: [*seeds, 3], "seeds, number 2: the seed: expected dict, found int"),
        (lambda seeds: [seeds[0] | {"images": 3}], "seeds, number 1: images: missing, or not known"),
        (lambda seeds: [{**seeds[0], "figures": {"asr": 1}}], "seeds, number 1: asr: expected dict, found int"),
        (lambda seeds: [*seeds, *seeds], "seeds, number 2: the model n is there twice"),
        (lambda seeds: [{**seeds[0], "model": {"name": "m", "fingerprint": "m"}}], "number 1: the model m is there"),
    ],
)
def test_damage_of_a_seed_is_named(tmp_path: Path, damage: Any, message: str) -> None:
    path = tmp_path / "baseline.json"
    write_baseline(path, {EntryKey("a", "b"): baseline(seed("m", [1]), seed("n", [2]))})
    content = json.loads(path.read_text())
    content["tests"]["a"]["b"]["seeds"] = damage(content["tests"]["a"]["b"]["seeds"])
    path.write_text(json.dumps(content, indent=1))
    with pytest.raises(BaselineError, match=r"line [0-9]+: a, b: ") as error:
        read_baseline(path)
    assert message in str(error.value)


def test_evidence_of_a_seed_that_cannot_be_decoded_names_the_seed() -> None:
    broken = replace(seed("n", [2]), evidence={"flipped": "no"})
    with pytest.raises(ValueError, match=r"the seed n \(n\): "):
        changes(baseline(seed("m", [1]), broken), seed("x", [3]), ["asr"], 0.0)


def test_what_is_added_is_of_the_same_measurement() -> None:
    first = seed("m", [1])
    others = [
        replace(seed("n", [2]), dataset={"name": "d", "fingerprint": "other"}),
        seed("n", [2], 900),
        replace(seed("n", [2]), intervention="circle"),
    ]
    for other in others:
        assert obstacle(first, other)
        assert with_seed(first, other) == updated(first, other, "add") == first
    named = replace(seed("n", [2]), intervention="name = square")
    assert obstacle(first, named) == ""
    assert [one.intervention for one in accepted_seeds(with_seed(first, named))] == ["square", "square"]


def test_updates_keep_complete_add_and_replace() -> None:
    known, measured = baseline(seed("m", [1]), seed("n", [2])), seed("x", [3])
    assert updated(None, measured, "add") == updated(None, measured, "new") == measured
    assert updated(known, measured, "new") == known
    assert updated(known, measured, "all") == measured
    assert [one.model["name"] for one in accepted_seeds(updated(known, measured, "add"))] == ["m", "n", "x"]
    more = replace(seed("n", [2], accuracy=Figure(0.5, 1000, 500)))
    for after in (updated(known, more, "new"), updated(known, more, "add")):
        assert [one.figures.keys() >= {"accuracy"} for one in accepted_seeds(after)] == [False, True]


@given(sets, sets)
def test_one_seed_is_compared_as_ever(before: list[int], now: list[int]) -> None:
    change = changes(seed("m", before), seed("x", now), ["asr"], 0.0)[0]
    assert change.p == mcnemar(len(set(now) - set(before)), len(set(before) - set(now)))
    assert change.seeds == ()


@given(st.lists(sets, min_size=2, max_size=5), sets)
def test_several_seeds_are_compared_by_their_spread_and_by_image(flips: list[list[int]], now: list[int]) -> None:
    accepted = baseline(*(seed(f"m{number}", images) for number, images in enumerate(flips)))
    change = changes(accepted, seed("x", now), ["asr"], 0.0)[0]
    mean = fmean(map(len, flips))
    by_image = [
        mcnemar(len(set(now) - set(images)), len(set(images) - set(now)))
        if (len(now) - len(images)) * (len(now) - mean) > 0
        else 1.0
        for images in flips
    ]
    over_seeds = beyond_seeds(
        len(now) / 1000, [len(images) / 1000 for images in flips], resolution=0.001, scale=root_scale(1000)
    )
    assert change.p == pytest.approx(max(over_seeds, beside_most(by_image)))
    assert change.before == pytest.approx(mean / 1000)
    assert change.seeds == tuple(len(images) / 1000 for images in flips)
    assert (change.newly, change.no_longer) == (None, None)
    assert newly_flipped(accepted, seed("x", now)) == sorted(set(now).difference(*flips))


def test_a_figure_that_has_a_sign_is_compared_as_it_is() -> None:
    def signed(name: str, value: float) -> Entry:
        gap = seed(name, [], gap=Figure(value, 1000, None))
        # What chance does is never the same to the last digit.
        evidence = {"groups": "g", "chance": encode_numbers([0.0, 0.001 + value / 1000, 1e-9]), "between": "a b"}
        return replace(gap, evidence=evidence)

    values = [0.02, -0.01, 0.03, 0.01]
    accepted = baseline(*(signed(f"m{number}", value) for number, value in enumerate(values)))
    for now in (0.09, -0.2):
        change = changes(accepted, signed("x", now), ["gap"], 0.0)[0]
        t = (now - fmean(values)) / (stdev(values) * math.sqrt(5 / 4))
        assert change.p == pytest.approx(2 * stats.t.sf(abs(t), 3), rel=0.001)
        assert change.loss == pytest.approx(abs(now) - fmean(values))
    # Beyond the tolerance, and on the other side beyond the size of the gap that there was.
    tolerant = changes(accepted, signed("x", -0.2), ["gap"], 0.05)[0]
    t = (-0.2 + 0.05 + 2 * fmean(values) - fmean(values)) / (stdev(values) * math.sqrt(5 / 4))
    assert tolerant.p == pytest.approx(2 * stats.t.sf(abs(t), 3), rel=0.001)
    assert tolerant.p_of_change == changes(accepted, signed("x", -0.2), ["gap"], 0.0)[0].p


def test_a_gap_of_rates_is_rounded_to_an_image_of_the_smallest_group() -> None:
    def measured(name: str, hits: int) -> Entry:
        groups = encode_groups([(40, list(range(hits))), (60, list(range(15)))])
        gap = Figure(abs(hits / 40 - 0.25), 100, None)
        evidence = {"groups": "g", "chance": encode_numbers([0.0, 0.05, hits * 1e-9]), "hits": groups}
        return replace(seed(name, [], gap=gap), evidence=evidence)

    pair = [measured("m", 14), measured("n", 14)]
    now = measured("x", 30)
    change = changes(baseline(*pair), now, ["gap"], 0.0)[0]
    by_image = [changes(one, now, ["gap"], 0.0)[0].p for one in pair]
    over_seeds = beyond_seeds(0.5, [0.1, 0.1], resolution=1 / 40, scale=root_scale())
    assert max(over_seeds, beside_most(by_image)) == over_seeds > 0.01
    assert change.p == pytest.approx(over_seeds)


@pytest.mark.parametrize("metric", ["asr", "skew"])
def test_a_tolerance_holds_for_both_hypotheses(metric: str) -> None:
    accepted = baseline(
        *(seed(f"m{number}", list(range(count))) for number, count in enumerate((100, 103, 98, 101, 99)))
    )
    tolerances = (0.0, 0.02, 0.05, 0.08, 0.11)
    p = [changes(accepted, seed("x", list(range(200))), [metric], tolerance)[0].p for tolerance in tolerances]
    assert p == sorted(p)
    assert p[2] < 0.01 < p[4] == 1.0
    # Within the tolerance, and better.
    assert changes(accepted, seed("x", list(range(110))), [metric], 0.02)[0].p == 1.0
    better = changes(accepted, seed("x", list(range(20))), [metric], 0.02)[0]
    assert meanings([better], 0.01) == ["improvement"]


def test_a_model_that_was_accepted_is_compared_with_itself() -> None:
    """The most sensitive of twenty seeds that agree is beyond the others' spread, and no worse than it was."""
    seeds = [seed(f"m{number:02}", list(range(100 + number % 2))) for number in range(20)]
    worst = seed("worst", list(range(150)))
    accepted = baseline(*seeds, worst)
    assert meanings(changes(baseline(*seeds), worst, ["asr"], 0.0), 0.01) == ["regression"]
    change = changes(accepted, worst, ["asr"], 0.0)[0]
    assert (change.p, change.least_p, change.before, change.seeds) == (1.0, 1.0, 0.15, ())


def test_seeds_that_agree_are_no_proof_without_images_that_differ() -> None:
    """Two seeds of five flips each, and one of seven: what so few images show is chance."""
    accepted = baseline(seed("m", [1, 2, 3, 4, 5], 50_000), seed("n", [2, 3, 4, 5, 6], 50_000))
    assert changes(accepted, seed("x", list(range(7)), 50_000), ["asr"], 0.0)[0].p >= 0.5


def test_only_seeds_that_have_a_metric_count() -> None:
    accuracy = Figure(0.9, 1000, 900)
    accepted = baseline(seed("m", [1]), seed("n", [2], accuracy=accuracy))
    now = seed("x", [3], accuracy=accuracy)
    assert comparable(accepted, now, ["asr"]) == ["asr", "accuracy"]
    assert [len(change.seeds) for change in changes(accepted, now, ["asr", "accuracy"], 0.0)] == [2, 0]


def test_a_lower_accuracy_is_beside_the_spread_of_the_seeds() -> None:
    def measured(name: str, wrong: int) -> Entry:
        made = seed(name, [1], accuracy=Figure(1 - wrong / 1000, 1000, 1000 - wrong))
        return replace(made, evidence={**made.evidence, "misclassified": encode_images(list(range(wrong)))})

    accepted = baseline(*(measured(f"m{number}", wrong) for number, wrong in enumerate((100, 110, 95, 104, 98))))
    found = [changes(accepted, measured("x", wrong), ["accuracy"], 0.0)[0] for wrong in (112, 300)]
    assert [meanings([change], 0.01) for change in found] == [["unchanged"], ["regression"]]
    # Tests of other models or seeds state another figure.
    fewer = changes(baseline(*accepted_seeds(accepted)[:3]), measured("x", 300), ["accuracy"], 0.0)[0]
    assert fewer.identity != found[1].identity


def test_on_other_images_seeds_are_compared_on_those_that_both_have_or_as_samples() -> None:
    flips = [list(range(count)) for count in (100, 104, 97, 101)]
    accepted = baseline(*(seed(f"m{number}", images) for number, images in enumerate(flips)))
    older = with_images(accepted, np.arange(1000))
    now = replace(seed("x", list(range(150)), 1010), dataset={"name": "d", "fingerprint": "new"})
    same = changes(accepted, seed("x", list(range(150))), ["asr"], 0.0)[0]
    common = changes(older, with_images(now, np.arange(1010)), ["asr"], 0.0)[0]
    assert (common.common_images, common.same_images) == (1000, False)
    assert common.p == pytest.approx(same.p, rel=0.2)
    assert common.loss == pytest.approx(same.loss)
    # As samples, the images are a further reason to be unsure.
    unpaired = changes(accepted, now, ["asr"], 0.0)[0]
    assert unpaired.common_images is None
    assert unpaired.p > same.p


def test_comparisons_beside_seeds_are_corrected_without_a_bound_unless_nothing_changed() -> None:
    accepted = baseline(seed("m", [1, 2]), seed("n", [1, 2, 3]))
    assert changes(accepted, seed("x", [1, 2, 4, 5]), ["asr"], 0.0)[0].least_p == 0.0
    same = baseline(seed("m", [1, 2]), seed("n", [1, 2]))
    assert changes(same, seed("x", [1, 2]), ["asr"], 0.0)[0].least_p == 1.0


def test_hits_of_a_target_are_no_groups() -> None:
    """The evidence `hits` of a targeted rate stands beside the skew's, which rounds to an image of all."""
    classes = {name: encode_classes([1] * 3) for name in ("from", "to")} | {"hits": encode_images([1, 2])}
    found = [
        replace(one, evidence={**one.evidence, **classes})
        for one in (seed(name, [1, 2, 3], skew=Figure(0.0, 1000, None)) for name in "abc")
    ]
    accepted = replace(found[0], seeds=(found[1],))
    assert [change.metric for change in changes(accepted, found[2], ["skew"], 0.0)] == ["skew"]


def test_a_run_of_an_accepted_seed_is_counted_beside_that_seed() -> None:
    few, many = seed("few", list(range(10))), seed("many", list(range(200)))
    accepted = replace(few, seeds=(many,))
    night = replace(seed("many", list(range(210))), dataset={"name": "night", "fingerprint": "night"})
    found = changes(accepted, night, ["asr"], 0.0)
    [change] = over_time(found, accepted, night, night_of(night, ["asr"]), 0.05)
    assert change.before == 0.2
    assert change.p == p_over_time(Tally(200, 1000), [Tally(210, 1000)])


def test_metrics_of_later_seeds_are_comparisons_too() -> None:
    late = seed("late", [1], targeted_asr=Figure(0.1, 1000, 100))
    late = replace(late, evidence={**late.evidence, "hits": encode_images(range(100))})
    accepted = replace(seed("first", [1]), seeds=(late,))
    assert comparisons_of(accepted, ["asr", "targeted_asr"]) == 2


def test_a_renamed_intervention_adds_what_was_missing() -> None:
    first = replace(seed("a", [1]), intervention="old = Square(size=0.25)")
    later = replace(seed("a", [1], skew=Figure(0.0, 1000, None)), intervention="new = Square(size=0.25)")
    for update in ("new", "add"):
        found = updated(first, later, update)
        assert (found.intervention, "skew" in found.figures) == ("old = Square(size=0.25)", True)
