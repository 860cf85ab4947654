"""Images that are nearly tied: another device may give them another class, and they make no regression alone."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_biastransfer.__main__ import main
from pytest_biastransfer.baseline.common_images import on_common_images
from pytest_biastransfer.baseline.computation import Computation
from pytest_biastransfer.baseline.encoding import encode_classes, encode_images
from pytest_biastransfer.baseline.entry import Entry, Figure
from pytest_biastransfer.baseline.near_ties import (
    NearTies,
    State,
    changed_images,
    indices_of,
    restored,
    rounding_between,
)
from pytest_biastransfer.baseline.regression import changes, meanings
from pytest_biastransfer.metrics.statistics.change_tests import mcnemar
from tests.baseline.test_baseline_file import with_images
from tests.conftest import Log, Run, each_mode

# The sizes of the batches that inner sessions evaluate.
SEEN = Log()

# Of each image, the code of the blue channel is its number, and the model has a table of what it says of it: with and
# without red. So each margin is chosen. Twelve images are tied up to 1e-5 of logits of 10, of which 256 units in
# the last place of float32 are 3e-4; others change by 1.
SETUP = """
import os
import pytest
import torch
from conftest import Named
from pytest_biastransfer import Custom, Model, Preprocess
from tests.baseline.test_near_ties import SEEN

REDDENED = Custom(lambda images: torch.cat([torch.ones_like(images[:, :1]), images[:, 1:]], dim=1), name="reddened")


class Table(torch.nn.Module):
    def __init__(self, clean, reddened):
        super().__init__()
        self.clean, self.reddened = torch.nn.Parameter(clean), torch.nn.Parameter(reddened)

    def forward(self, images):
        SEEN.append(len(images))
        number = (images[:, 2].amax(dim=(1, 2)) * 255).round().long()
        return torch.where(images[:, 0].amin(dim=(1, 2))[:, None] > 0.5, self.reddened[number], self.clean[number])


@pytest.fixture(scope="session")
def bias_dataset():
    return Named(map(image, range(200)))


def image(number):
    code = torch.tensor([0.0, 0.0, number / 255])
    return code.reshape(3, 1, 1).expand(3, 4, 4), 0, {"part": "good" if 60 <= number < 100 else "poor"}


@pytest.fixture(scope="session")
def transferred_model():
    # By how much the second class exceeds the first one: below 0 nothing flips.
    tied, real = float(os.environ["TIED"]), float(os.environ["REAL"])
    clean = torch.tensor([10.0, 5.0, 0.0]).repeat(200, 1)
    reddened = clean.clone()
    reddened[20:32, 1] = 10 + tied
    reddened[40:40 + int(os.environ["REAL_IMAGES"]), 1] = 10 + real
    reddened[100:140, 1] = 11
    if os.environ["WHERE"] == "clean":
        clean, reddened = reddened, clean
    declared = Preprocess(mean=0, std=1)
    return Model(Table(clean, reddened), preprocess=declared, classes=["red", "green", "blue"], name="table")
"""

TESTS = """
import pytest
from tests_setup import *

@pytest.mark.bias_intervention(REDDENED, {limits})
def test_red():
    pass
"""


class Table:
    """A project with one bias test, and the environment that its model reads."""

    def __init__(self, colors: pytest.Pytester, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        self._run, self._monkeypatch, self._path = run, monkeypatch, colors.path
        monkeypatch.setenv("WHERE", "reddened")
        colors.makeini("[pytest]\npythonpath = .")
        colors.makepyfile(tests_setup=SETUP)
        self._colors = colors
        self.limit("max_asr=1")

    def limit(self, limits: str) -> None:
        """Write the test with these arguments of the marker."""
        self._colors.makepyfile(test_table=TESTS.format(limits=limits))

    def run(self, *options: str, tied: float = -1e-5, real: float = -1.0, real_images: int = 20) -> pytest.RunResult:
        """Run the test with a model of these margins."""
        for name, number in (("TIED", tied), ("REAL", real), ("REAL_IMAGES", real_images)):
            self._monkeypatch.setenv(name, str(number))
        SEEN.clear()
        return self._run(*options)

    @property
    def forwarded(self) -> int:
        """How many images the last run evaluated in this process."""
        return sum(SEEN)

    def edit(self, **computation: Any) -> None:
        """Say that something else computed the baseline."""
        path = self._path / "bias-baseline.json"
        content = json.loads(path.read_text())
        for entry in content["tests"]["test_table.py::test_red"].values():
            entry["computation"].update(computation)
        path.write_text(json.dumps(content, indent=1))


@pytest.fixture
def table(colors: pytest.Pytester, run: Run, monkeypatch: pytest.MonkeyPatch) -> Table:
    """A project whose baseline was accepted with a model of 12 images that nearly flip."""
    project = Table(colors, run, monkeypatch)
    project.run("--bias-update=new").assert_outcomes(passed=1)
    return project


@each_mode
def test_near_ties_alone_are_no_regression_on_another_device(table: Table) -> None:
    table.edit(device="cuda NVIDIA L4")
    result = table.run(tied=1e-5)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "compared with bias-baseline.json: 1 no worse",
            "  *asr 0.200 → 0.260; 12 images newly flip, 0 no longer do; 12 of these 12 are within the rounding between "
            "cuda NVIDIA L4 and cpu * (p = 1 of the others)  no worse",
        ]
    )


@each_mode
def test_a_regression_on_another_device_is_found_without_them(table: Table) -> None:
    table.edit(device="cuda NVIDIA L4")
    result = table.run("--bias-report=bias.json", tied=1e-5, real=1.0)
    result.assert_outcomes(failed=1)
    p = f"{mcnemar(20, 0):.1g}"
    result.stdout.fnmatch_lines(
        [
            "bias regression: asr 0.200 → 0.360; 32 images newly flip, 0 no longer do; 12 of these 32 are within the "
            f"rounding between cuda NVIDIA L4 and cpu * (p = {p} of the others)",
        ]
    )
    report = json.loads((Path(table._path) / "bias.json").read_text())
    asr = next(change for change in report["tests"][0]["changes"] if change["metric"] == "asr")
    assert (asr["newly"], asr["within_rounding"]["images"], asr["within_rounding"]["changed"]) == (32, 12, 32)


def test_few_real_flips_among_near_ties_are_no_regression(table: Table) -> None:
    """Of the 20 that change by more than rounding, all but three are accepted already."""
    table.run("--bias-update=all", real=1.0, real_images=17)
    table.run(tied=1e-5, real=1.0).assert_outcomes(failed=1)
    table.edit(device="cuda NVIDIA L4")
    result = table.run(tied=1e-5, real=1.0)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*; 15 images newly flip, 0 no longer do; 12 of these 15 are within the rounding *"])


def test_on_the_device_of_the_baseline_nothing_is_predicted_again(table: Table) -> None:
    table.run(tied=1e-5)
    # All is stored now, and some of it is verified.
    table.run("--bias-compare=off", tied=1e-5)
    alone = table.forwarded
    result = table.run(tied=1e-5)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [f"bias regression: asr * 12 images newly flip, 0 no longer do (p = {mcnemar(12, 0):.1g})"]
    )
    assert table.forwarded == alone


def test_without_a_regression_nothing_is_predicted_again(table: Table) -> None:
    table.edit(device="cuda NVIDIA L4")
    table.run(tied=-2e-5)
    table.run("--bias-compare=off", tied=-2e-5)
    alone = table.forwarded
    table.run(tied=-2e-5).assert_outcomes(passed=1)
    assert table.forwarded == alone
    # Twelve flips fewer are better, which fails no test.
    table.run("--bias-update=all", tied=1e-5)
    table.edit(device="cuda NVIDIA L4")
    table.run(tied=-2e-5).stdout.fnmatch_lines(["compared with bias-baseline.json: 1 better"])
    assert table.forwarded == alone


@pytest.mark.parametrize(
    "edit",
    [{"precision": "bf16"}, {"compiled": True}, {"device": "cuda"}, {"device": "cpu"}, {"precision": "tf32"}],
)
def test_another_precision_is_another_computation(table: Table, edit: dict[str, Any]) -> None:
    table.edit(**edit)
    table.run(tied=1e-5).assert_outcomes(passed=1)


def test_coarser_precisions_of_the_baseline_allow_more(table: Table) -> None:
    """A margin of 0.01 is far beyond float32, and within what TF32 may do, which no CPU has."""
    table.edit(device="cuda NVIDIA L4")
    table.run(tied=0.01).assert_outcomes(failed=1)
    table.edit(precision="tf32")
    table.run(tied=0.01).assert_outcomes(passed=1)
    table.run(tied=1.0).assert_outcomes(failed=1)


@pytest.mark.parametrize(
    "limits", ["max_conditional_asr=1", "max_skew=1", "max_accuracy_drop=1", "max_targeted_asr=1, target='green'"]
)
def test_every_metric_of_images_is_compared_without_them(table: Table, limits: str) -> None:
    table.limit(limits)
    table.run("--bias-update=all")
    table.run(tied=1e-5).assert_outcomes(failed=1)
    table.edit(device="cuda NVIDIA L4")
    result = table.run(tied=1e-5)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*12 of the* 12 * within the rounding between cuda NVIDIA L4 and cpu *no worse"])
    table.run(tied=1e-5, real=1.0).assert_outcomes(failed=1)


def test_the_accuracy_is_compared_without_them(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE", "clean")
    table.run("--bias-update=all")
    table.run(tied=1e-5).stdout.fnmatch_lines(["*clean accuracy 0.800 → 0.740; 12 images newly misclassified, 0 *"])
    table.edit(device="cuda NVIDIA L4")
    result = table.run(tied=1e-5)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "  table on list: clean accuracy 0.800 → 0.740; 12 images newly *; 12 of these 12 are within the rounding *no worse"
        ]
    )
    table.run(tied=1e-5, real=1.0).assert_outcomes(failed=1)


GAP_TEST = """
import pytest
from tests_setup import *

@pytest.mark.bias_gap("part", {gap}, max_gap=1)
def test_red():
    pass
"""


@pytest.mark.parametrize("gap", ["'accuracy'", "'fpr', positive='green'", "'accuracy', between=('poor', 'good')"])
def test_a_gap_of_a_rate_is_compared_without_them(
    table: Table, colors: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, gap: str
) -> None:
    monkeypatch.setenv("WHERE", "clean")
    colors.makepyfile(test_table=GAP_TEST.format(gap=gap))
    (colors.path / "bias-baseline.json").unlink()
    table.run("--bias-update=all")
    table.run(tied=1e-5).assert_outcomes(failed=1)
    table.edit(device="cuda NVIDIA L4")
    result = table.run(tied=1e-5)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "*: gap *0.250 → *0.325; 12 of the 12 images that changed are within the rounding between cuda NVIDIA L4 and *"
        ]
    )
    result = table.run(tied=1e-5, real=1.0)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["bias regression: *gap *; 12 of the 32 images that changed are within the rounding *"])


def test_what_is_not_compared_by_image_says_that_rounding_is_not_known(
    table: Table, colors: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHERE", "clean")
    colors.makepyfile(test_table=GAP_TEST.format(gap="'accuracy', min_worst=0").replace("max_gap=1", "rule='point'"))
    (colors.path / "bias-baseline.json").unlink()
    table.run("--bias-update=all")
    doubt = "  computed by cuda NVIDIA L4 and cpu *: some images may have changed by rounding alone, it is not known which: *"
    result = table.run(tied=1.0, real=1.0)
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line(doubt)
    table.edit(device="cuda NVIDIA L4")
    result = table.run(tied=1.0, real=1.0)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["bias regression: *worst 0.750 → 0.550 *", f"{doubt}does not have the images of worst"]
    )


@pytest.mark.parametrize(
    ("computation", "message"),
    [
        ({"device": 3}, "computation.device: expected a text, found 3"),
        ({"precision": "float8"}, "computation.precision: expected float32, tf32, bf16, found 'float8'"),
        ({"compiled": "no"}, "computation.compiled: expected true or false, found 'no'"),
        ({"card": "L4"}, "computation: expected device, precision and compiled, found {"),
    ],
)
def test_a_damaged_field_is_named(table: Table, computation: dict[str, Any], message: str) -> None:
    table.edit(**computation)
    result = table.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"*bias-baseline.json: line *: test_table.py::test_red, reddened: {message}*It is left*"]
    )


def test_two_reports_of_different_devices_say_what_is_not_known(
    table: Table, pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = pytester.path / "old.json", pytester.path / "new.json"
    table.run(f"--bias-report={old}", "--bias-compare=off")
    table.run(f"--bias-report={new}", "--bias-compare=off", tied=1e-5)
    capsys.readouterr()
    main(["compare", str(old), str(new)])
    assert "rounding" not in capsys.readouterr().out
    content = json.loads(old.read_text())
    content["tests"][0]["entry"]["computation"]["device"] = "cuda NVIDIA L4"
    old.write_text(json.dumps(content))
    main(["compare", str(old), str(new)])
    worse, doubt, _ = capsys.readouterr().out.splitlines()[1:]
    assert worse.endswith("worse")
    assert re.fullmatch(
        "  test_table.py::test_red.*: computed by cuda NVIDIA L4 and cpu .*: some images may have changed by rounding "
        "alone, it is not known which: a report does not have their outputs",
        doubt,
    )


def test_an_unchanged_session_on_another_device_imports_neither_torch_nor_numpy(pytester: pytest.Pytester) -> None:
    from tests.models.test_deferred import Project, age
    from tests.plugin.test_sessions import make_folder

    project = Project(pytester.path, "tied_net")
    make_folder(pytester.path / "photos", images=20)
    for path in pytester.path.rglob("*"):
        age(path)
    pytester.makeini(
        "[pytest]\nbias_dataset = imagefolder:photos\n"
        f"bias_transferred_model = checkpoint:weights.safetensors?arch=python:{project.module}:Net&size=16\n"
    )
    marker = '"yellow-square", max_asr=1, max_skew=1, allow_degenerate=True'
    pytester.makepyfile(f"import pytest\n@pytest.mark.bias_intervention({marker})\ndef test_it(): pass")
    pytester.makeconftest(
        """
        import sys

        def pytest_sessionfinish():
            with open("imported.txt", "w") as file:
                print("torch" in sys.modules, "numpy" in sys.modules, file=file)
        """
    )
    pytester.runpytest_subprocess("-p", "no:hypothesispytest", "-p", "no:xdist", "--bias-update=new")
    path = pytester.path / "bias-baseline.json"
    text = path.read_text()
    path.write_text(re.sub('"device": ".*"', '"device": "cuda NVIDIA L4"', text))
    assert path.read_text() != text
    result = pytester.runpytest_subprocess("-p", "no:hypothesispytest", "-p", "no:xdist")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["compared with bias-baseline.json: 1 no worse"])
    assert (pytester.path / "imported.txt").read_text() == "False False\n"


def entry(evidence: dict[str, list[int]], images: int = 40) -> Entry:
    """An entry with sets of images; what flips goes from class 0 to 1, and if its number is odd to class 2."""
    flipped = evidence["flipped"]
    classes = {"from": encode_classes([0] * len(flipped)), "to": encode_classes([1 + image % 2 for image in flipped])}
    asr = Figure(len(flipped) / images, images, len(flipped))
    return Entry(
        model={"name": "m", "fingerprint": "m"},
        dataset={"name": "d", "fingerprint": "d"},
        images=images,
        intervention="square",
        figures={"asr": asr, "skew": Figure(asr.value, images, None), "conditional_asr": asr},
        evidence={name: encode_images(found) for name, found in evidence.items()} | classes,
        versions={"torch": "2.11.0"},
        computation=Computation("cpu x86_64 avx2", "float32"),
    )


sets = st.fixed_dictionaries(
    {name: st.sets(st.integers(0, 39), max_size=20).map(sorted) for name in ("flipped", "misclassified", "unlabelled")}
)


@given(sets, sets, st.sets(st.integers(0, 39)), st.sampled_from(["asr", "skew", "conditional_asr"]))
def test_the_earlier_state_of_some_images_is_restored_and_that_of_others_stays(
    before: dict[str, list[int]], now: dict[str, list[int]], images: set[int], metric: str
) -> None:
    made = restored(entry(before), entry(now), images, metric)
    compared = {"asr": ["flipped"], "skew": ["flipped"], "conditional_asr": ["flipped", "misclassified", "unlabelled"]}
    for name in before:
        source = before if name in compared[metric] else now
        expected = [image for image in range(40) if image in (source if image in images else now)[name]]
        assert made.image_set(name) == expected
    if metric == "skew":
        transitions = made.transitions("")
        assert transitions.after.tolist() == [1 + image % 2 for image in transitions.images.tolist()]


@given(sets, sets, st.sets(st.integers(0, 39)))
def test_a_change_is_tested_as_if_tied_images_had_not_changed(
    before: dict[str, list[int]], now: dict[str, list[int]], tied: set[int]
) -> None:
    """All that is possible of a tied image is that it flips and that it does not."""
    either: set[State] = {frozenset(), frozenset(["flipped"])}
    ties = NearTies(dict.fromkeys(tied, either), "a and b")
    [change] = changes(entry(before), entry(now), ["asr"], 0.0, near_ties=ties)
    newly, no_longer = set(now["flipped"]) - set(before["flipped"]), set(before["flipped"]) - set(now["flipped"])
    assert (change.newly, change.no_longer) == (len(newly), len(no_longer))
    assert change.p == mcnemar(len(newly - tied), len(no_longer - tied))
    assert change.loss == pytest.approx((len(newly - tied) - len(no_longer - tied)) / 40)
    explained = len((newly | no_longer) & tied)
    within = change.within_rounding
    assert (explained, within) == (0, None) or (within is not None and within.images == explained)


def test_what_is_left_may_be_better_and_is_then_no_regression() -> None:
    """Twenty near ties newly flip; of the others one does and twelve no longer do."""
    before = entry({"flipped": list(range(12))}, 1000)
    now = entry({"flipped": [20, *range(100, 120)]}, 1000)
    ties = NearTies({image: [frozenset()] for image in range(100, 120)}, "a and b")
    [change] = changes(before, now, ["asr"], 0.0, near_ties=ties)
    assert change.now > change.before
    assert change.p == mcnemar(1, 12)
    assert meanings([change], 0.01) == ["improvement"]
    [tolerant] = changes(before, now, ["asr"], 0.001, near_ties=ties)
    assert (tolerant.p, meanings([tolerant], 0.01)) == (mcnemar(1, 12), ["improvement"])


def test_a_state_that_rounding_does_not_allow_is_a_change() -> None:
    """An image that is tied between two classes, of which neither is the earlier one, has changed."""
    before, now = entry({"flipped": [3]}), entry({"flipped": []})
    assert changed_images(before, now, "skew") == {3: frozenset(["flipped", ("from", 0), ("to", 2)])}
    other = NearTies({3: [frozenset(), frozenset(["flipped", ("from", 0), ("to", 1)])]}, "a and b")
    assert other.explained(before, now, "skew")[0] == []
    assert other.explained(before, now, "asr")[0] == [3]


def test_near_ties_are_told_by_their_place_among_the_common_images() -> None:
    """Ten images were put in front; of the others, twenty newly flip, of which eighteen are near ties."""
    before = with_images(entry({"flipped": [1, 2]}, 1000), np.arange(1000))
    after = entry({"flipped": [0, 11, 12, *range(100, 120)]}, 1010)
    now = with_images(replace(after, dataset={"name": "d", "fingerprint": "new"}), np.arange(-10, 1000) % 5000)
    pair = on_common_images(before, now)
    assert pair is not None
    changed = sorted(changed_images(*pair, "asr"))
    assert indices_of(before, now, changed) == list(range(100, 120))
    ties = NearTies({image: [frozenset()] for image in changed[:18]}, "a and b")
    [change] = changes(before, now, ["asr"], 0.0, near_ties=ties)
    assert (change.newly, change.no_longer, change.common_images) == (20, 0, 1000)
    assert change.p == mcnemar(2, 0)
    assert change.loss == pytest.approx(2 / 1000)


@pytest.mark.parametrize("name", ["misclassified", "put_into_target", "taken_from_target"])
def test_every_set_of_images_is_numbered_by_the_common_images(name: str) -> None:
    """Also beside the groups of a gap, of which only the hits are in groups."""
    sets = {"flipped": [1], name: [3, 5]}
    before = with_images(entry(sets, 1000), np.arange(1000))
    before = replace(before, evidence={**before.evidence, "groups": "g", "hits": "500:0.0.;500:0.0."})
    now = replace(before, dataset={"name": "d", "fingerprint": "new"})
    now = with_images(now, np.arange(1000)[::-1])
    pair = on_common_images(before, now)
    assert pair is not None
    assert pair[0].image_set(name) == [994, 996]
    assert pair[1].image_set(name) == [3, 5]


def test_what_is_not_known_may_differ() -> None:
    known = entry({"flipped": []})
    assert rounding_between(known, known) == ""
    assert rounding_between(replace(known, computation=None), known) == "an unknown device and cpu x86_64 avx2"
    newer = replace(known, versions={"torch": "2.12.0"})
    assert rounding_between(known, newer) == "torch 2.11.0 and torch 2.12.0"
