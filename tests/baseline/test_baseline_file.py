"""The file of accepted measurements: what is written, what a change means, what is said."""

from __future__ import annotations

import base64
import json
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_biastransfer.baseline.common_images import on_common_images
from pytest_biastransfer.baseline.encoding import (
    decode_classes,
    decode_images,
    encode_classes,
    encode_images,
    encode_numbers,
)
from pytest_biastransfer.baseline.entry import Entry, EntryKey, Figure
from pytest_biastransfer.baseline.file import pruned, read_baseline, write_baseline
from pytest_biastransfer.baseline.metric_change import MetricChange
from pytest_biastransfer.baseline.regression import (
    beside_accuracy,
    changes,
    comparable,
    meanings,
    newly_flipped,
    settled_meanings,
)
from pytest_biastransfer.errors import BaselineError
from pytest_biastransfer.metrics.statistics.change_tests import mcnemar, two_proportions
from pytest_biastransfer.metrics.statistics.normal_tail import normal_p_value
from pytest_biastransfer.metrics.statistics.tolerance_tests import paired_share_beyond
from tests.conftest import Run, each_mode
from tests.support.warm_python import WarmPython

# The first images are fragile: 200 images decide more than 20.
TESTS = """
import pytest
from pytest_biastransfer import Custom
from tests_setup import *

@pytest.mark.bias_intervention("yellow-square", max_asr=0.9, max_skew=0.9)
def test_square():
    pass

@pytest.mark.bias_intervention(Custom(lambda images: images, name="nothing"), max_asr=1)
class TestGray:
    def test_gray(self):
        pass

def test_other():
    pass
"""

# How many of the 200 images flip is said from outside, as a new checkpoint would.
SETUP = """
import os
import pytest
import conftest

@pytest.fixture(scope="session")
def bias_dataset():
    return conftest.images(fragile=60, n=200)

@pytest.fixture(scope="session")
def transferred_model():
    from pytest_biastransfer import Model
    import torch

    class Stubborn(conftest.BrightestChannel):
        # Images without blue in them look alike but for their places: so a number of them is made stubborn.
        def forward(self, images):
            logits = super().forward(images)
            fragile = images[:, 2].amin(dim=(1, 2)) < 0.9
            return logits + self.stubborn * torch.tensor([0.0, 0.0, 1.0]) * fragile[:, None]

    model = Stubborn()
    model.register_buffer("stubborn", torch.tensor(float(os.environ.get("STUBBORN", "0"))))
    return Model(model, classes=["red", "green", "blue"], name="pets")
"""


@pytest.fixture
def project(colors: pytest.Pytester) -> pytest.Pytester:
    """A project with two bias tests: of 200 images 60 flip under the square, none of them with STUBBORN=1."""
    colors.makeini("[pytest]\npythonpath = .")
    colors.makepyfile(tests_setup=SETUP, test_pets=TESTS)
    return colors


def baseline_of(project: pytest.Pytester) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((project.path / "bias-baseline.json").read_text())
    return content


def after_it_got_worse(run: Run, monkeypatch: pytest.MonkeyPatch, *options: str) -> pytest.RunResult:
    """Write the baseline of a model that the square leaves alone, and run again with one that it does not."""
    monkeypatch.setenv("STUBBORN", "1")
    run("--bias-update=new")
    monkeypatch.setenv("STUBBORN", "0")
    return run(*options)


def test_without_a_baseline_tests_pass_and_are_counted(run: Run, project: pytest.Pytester) -> None:
    result = run()
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        ["2 bias tests without a baseline; to write bias-baseline.json: pytest -* --bias-update=new"]
    )
    assert not (project.path / "bias-baseline.json").exists()


def test_what_is_written_is_readable_and_complete(run: Run, project: pytest.Pytester) -> None:
    result = run("--bias-update=new")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["bias-baseline.json: 2 added, 0 changed, 0 removed, 2 in all"])
    content = baseline_of(project)
    assert content["format"] == 1
    assert list(content["tests"]) == ["test_pets.py::TestGray::test_gray", "test_pets.py::test_square"]
    entry = content["tests"]["test_pets.py::test_square"]["yellow-square"]
    assert entry["figures"]["asr"] == {"count": 60, "images": 200, "value": 0.3}
    assert entry["figures"]["skew"] == {"images": 200, "value": 0.3}
    assert decode_images(entry["evidence"]["flipped"]) == list(range(60))
    assert decode_classes(entry["evidence"]["from"], 60) == [2] * 60
    assert decode_classes(entry["evidence"]["to"], 60) == [0] * 60
    assert entry["intervention"].startswith("yellow-square = Square(size=0.25")
    assert entry["model"]["name"] == "pets"
    assert all(re.fullmatch("[0-9a-f]{32}", entry[name]["fingerprint"]) for name in ("model", "dataset"))
    assert entry["versions"].keys() == {"pytest-biastransfer", "torch", "torchvision"}
    text = (project.path / "bias-baseline.json").read_text()
    assert text == json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def test_every_mode_writes_the_same_bytes(project: pytest.Pytester, warm: WarmPython) -> None:
    written = []
    # The first workers have a seed of hashes each.
    for options, plugins in ((["-p", "no:xdist"], []), (["-n2"], []), (["-n2", "--dist=loadgroup"], [warm])):
        result = project.runpytest_inprocess(*options, "--bias-update=all", "--bias-store=store", plugins=plugins)
        result.assert_outcomes(passed=3)
        written.append((project.path / "bias-baseline.json").read_bytes())
        (project.path / "bias-baseline.json").unlink()
    assert written[0] == written[1] == written[2]


@each_mode
def test_nothing_changes_where_nothing_changed(run: Run, project: pytest.Pytester) -> None:
    run("--bias-update=new")
    before = (project.path / "bias-baseline.json").read_bytes()
    result = run()
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["compared with bias-baseline.json: 2 no worse"])
    result.stdout.no_fnmatch_line("*--bias-update*")
    run("--bias-update=all")
    assert (project.path / "bias-baseline.json").read_bytes() == before


@each_mode
def test_a_regression_turns_a_green_test_red_and_says_what_to_type(
    run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = after_it_got_worse(run, monkeypatch, "--junitxml=junit.xml")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(
        [
            "bias regression: asr 0.000 → 0.300; 60 images newly flip, 0 no longer do (p = 2e-18); skew 0.000 → 0.300 (p = *)",
            "  test      test_pets.py::test_square[[]yellow-square]",
            "  baseline  bias-baseline.json: test_pets.py::test_square yellow-square",
            "  class shares changed: red +0.300, blue -0.300",
            "  newly flipped, the first:",
            "    image 0  label blue  blue -> red",
            "    image 4  label blue  blue -> red",
            '  Look at the images: pytest --bias-report=bias.html "test_pets.py::test_square[[]yellow-square]"',
            '  If this is meant, accept it: pytest --bias-update=all "test_pets.py::test_square[[]yellow-square]"',
            "test_pets.py::test_square",
            "  yellow-square  asr * FAILED *",
            "2 bias tests: 1 failed, 1 passed; *",
            "compared with bias-baseline.json: 1 worse, 1 no worse",
            "  test_pets.py::test_square[[]yellow-square]: asr 0.000 → 0.300; * worse",
            '  to accept what changed: pytest --bias-update=all "test_pets.py::test_square[[]yellow-square]"',
            "FAILED test_pets.py::test_square[[]yellow-square] - *bias regression*",
        ]
    )
    result.stdout.no_fnmatch_line("    image 5 *")
    assert 'message="bias regression: asr 0.000' in (project.path / "junit.xml").read_text(encoding="utf-8")
    # What was said to type accepts it.
    accepted = run("--bias-update=all", "test_pets.py::test_square[yellow-square]")
    accepted.assert_outcomes(passed=1)
    accepted.stdout.fnmatch_lines(["bias-baseline.json: 0 added, 1 changed, 0 removed, 2 in all"])
    run().assert_outcomes(passed=3)


def test_an_improvement_passes_and_is_told(run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    run("--bias-update=new")
    monkeypatch.setenv("STUBBORN", "1")
    result = run()
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        [
            "compared with bias-baseline.json: 1 better, 1 no worse",
            "  *test_square*: asr 0.300 → 0.000; 0 images newly flip, 60 no longer do (p = 2e-18)  better",
            "  to accept what changed: pytest --bias-update=all *",
        ]
    )


@pytest.mark.parametrize(
    ("options", "outcomes"),
    [
        (["--bias-compare=fail"], {"failed": 1, "passed": 2}),
        (["--bias-compare=warn"], {"passed": 3}),
        (["--bias-compare=off"], {"passed": 3}),
        (["--bias-update=new"], {"failed": 1, "passed": 2}),
        (["--bias-update=all"], {"passed": 3}),
    ],
)
def test_what_a_regression_does_is_chosen(
    run: Run,
    project: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    outcomes: dict[str, int],
) -> None:
    result = after_it_got_worse(run, monkeypatch, *options)
    result.assert_outcomes(**outcomes)
    said = "compared with bias-baseline.json" in result.stdout.str()
    assert said == (options not in (["--bias-compare=off"], ["--bias-update=all"]))


def test_what_exceeds_its_limit_or_is_expected_to_fails_once(
    run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makepyfile(
        test_pets="""
        import pytest
        from tests_setup import *

        @pytest.mark.bias_intervention("yellow-square", max_asr=0.1)
        def test_exceeded():
            pass

        @pytest.mark.xfail(reason="known")
        @pytest.mark.bias_intervention("yellow-square", max_asr=0.1)
        def test_known():
            pass
        """
    )
    result = after_it_got_worse(run, monkeypatch)
    result.assert_outcomes(failed=1, xfailed=1)
    result.stdout.fnmatch_lines(["compared with bias-baseline.json: 2 worse"])
    result.stdout.no_fnmatch_line("bias regression*")


def test_max_regression_tolerates(run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    project.makepyfile(
        test_pets="""
        import pytest
        from tests_setup import *

        @pytest.mark.bias_intervention("yellow-square", max_asr=0.9, max_regression=0.3)
        def test_tolerant():
            pass

        @pytest.mark.bias_intervention("yellow-square", max_asr=0.9, max_regression=0.2)
        def test_strict():
            pass
        """
    )
    result = after_it_got_worse(run, monkeypatch)
    result.assert_outcomes(failed=1, passed=1)
    p = f"{paired_share_beyond(60, 0, 200, 0.2):.1g}"
    result.stdout.fnmatch_lines(
        [
            f"bias regression: asr 0.000 → 0.300; 60 images newly flip, 0 no longer do (p = 2e-18; {p} of worse by more than 0.2)",
            "FAILED *test_strict*",
        ]
    )


def test_other_images_are_compared_unpaired_and_that_is_said(run: Run, project: pytest.Pytester) -> None:
    run("--bias-update=new")
    path = project.path / "bias-baseline.json"
    content = baseline_of(project)
    # As if the images of the baseline were not known.
    del content["image_keys"]
    path.write_text(json.dumps(content))
    project.makepyfile(tests_setup=SETUP.replace("fragile=60, n=200", "fragile=120, n=210"))
    result = run()
    result.assert_outcomes(failed=1, passed=2)
    p = two_proportions(120, 210, 60, 200)
    result.stdout.fnmatch_lines(
        [f"bias regression: asr 0.300 → 0.571 (p = {p:.1g}, not the same images: compared unpaired); skew *"]
    )


@each_mode
def test_images_that_both_have_are_compared_by_image(run: Run, project: pytest.Pytester) -> None:
    run("--bias-update=new")
    keys = baseline_of(project)["image_keys"]
    assert [len(base64.b64decode(text)) for text in keys.values()] == [3 * 200]
    before = (project.path / "bias-baseline.json").read_bytes()
    run("--bias-update=all", "-k", "square")
    assert (project.path / "bias-baseline.json").read_bytes() == before
    project.makepyfile(tests_setup=SETUP.replace("n=200", "n=220"))
    result = run("-v", "--bias-report=bias.json")
    result.assert_outcomes(passed=3)
    report = json.loads((project.path / "bias.json").read_text())
    [square] = [test for test in report["tests"] if "square" in test["name"]]
    asr = next(change for change in square["changes"] if change["metric"] == "asr")
    assert (asr["common_images"], asr["same_images"], asr["newly"], asr["no_longer"], asr["p"]) == (200, False, 0, 0, 1)
    assert "image_keys" not in square["entry"]


@each_mode
def test_partial_runs_are_merged(run: Run, project: pytest.Pytester) -> None:
    run("--bias-update=new", "-k", "square").assert_outcomes(passed=1)
    assert list(baseline_of(project)["tests"]) == ["test_pets.py::test_square"]
    result = run()
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        [
            "compared with bias-baseline.json: 1 no worse, 1 without an entry",
            "  to add what has no entry: pytest -* --bias-update=new",
        ]
    )
    run("--bias-update=all", "-k", "gray")
    assert list(baseline_of(project)["tests"]) == ["test_pets.py::TestGray::test_gray", "test_pets.py::test_square"]


@each_mode
def test_entries_of_tests_that_are_gone_are_pruned(run: Run, project: pytest.Pytester) -> None:
    run("--bias-update=new")
    project.makepyfile(test_pets=TESTS.replace("test_gray", "test_grey"))
    result = run("--bias-prune")
    result.stdout.fnmatch_lines(["bias-baseline.json: 0 added, 0 changed, 1 removed, 1 in all"])
    assert list(baseline_of(project)["tests"]) == ["test_pets.py::test_square"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["test_pets.py"], "paths or tests are named"),
        (["--lf"], "--lf is given"),
        (["--ignore=tests_setup.py"], "--ignore is given"),
    ],
)
def test_pruning_needs_a_full_run_alone(run: Run, project: pytest.Pytester, options: list[str], message: str) -> None:
    run("--bias-update=new")
    result = run("--bias-prune", *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--bias-prune removes *it needs a full run, but {message}. Run it without, *"])
    assert len(baseline_of(project)["tests"]) == 2


def test_a_subdirectory_is_no_full_run(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    project.mkdir("sub")
    monkeypatch.chdir(project.path / "sub")
    result = project.runpytest_inprocess("-p", "no:xdist", "--bias-prune")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*but *sub is not the root directory. Run it without, from *: pytest --bias-prune"])


@each_mode
def test_where_there_are_no_bias_tests_nothing_is_pruned(run: Run, project: pytest.Pytester) -> None:
    run("--bias-update=new")
    project.makepyfile(test_pets="def test_other(): pass")
    result = run("--bias-prune")
    result.stdout.fnmatch_lines(["*2 in all; nothing removed: not all tests were collected"])
    assert len(baseline_of(project)["tests"]) == 2


@each_mode
@pytest.mark.parametrize("how", ["deselected", "module skipped", "collection error"])
def test_nothing_is_pruned_where_tests_may_not_have_been_collected(
    run: Run, project: pytest.Pytester, how: str
) -> None:
    run("--bias-update=new")
    options = ["-k", "square"] if how == "deselected" else []
    if how == "module skipped":
        project.makepyfile(test_pets="import pytest\npytest.skip('no data', allow_module_level=True)")
        project.makepyfile(test_more=TESTS)
    if how == "collection error":
        project.makepyfile(test_pets="import no_such_module", test_more=TESTS)
        options = ["--continue-on-collection-errors"]
    result = run("--bias-prune", *options)
    result.stdout.fnmatch_lines(["*2 in all; nothing removed: not all tests were collected"])
    assert len(baseline_of(project)["tests"]) == 2


def test_a_marker_without_effect_is_no_obstacle_to_pruning(run: Run, project: pytest.Pytester) -> None:
    run("--bias-update=new")
    project.makepyfile(
        test_more="""
        import pytest
        import unittest

        class TestOld(unittest.TestCase):
            @pytest.mark.bias_intervention("yellow-square", max_asr=0.9)
            def test_it(self):
                pass
        """
    )
    result = run("--bias-prune")
    result.stdout.fnmatch_lines(["bias-baseline.json: 0 added, 0 changed, 0 removed, 2 in all"])


def test_collecting_only_changes_nothing(run: Run, project: pytest.Pytester) -> None:
    run("--bias-update=new")
    project.makepyfile(test_pets=TESTS.replace("test_gray", "test_grey"))
    run("--bias-prune", "--collect-only")
    assert len(baseline_of(project)["tests"]) == 2


DAMAGES = {
    "merge conflict": ('   "yellow-square": {\n', '<<<<<<< HEAD\n   "yellow-square": {\n', "Expecting property name"),
    "twice": ('"format": 1,', '"format": 1,\n "format": 1,', "format is there twice"),
    "no format": ('"format": 1,', "", 'expected {"format": 1, "tests": {...}}'),
    "no figures": ('"figures"', '"figured"', "figured, figures: missing, or not known"),
    "text": ('"count": 60', '"count": "60"', "asr: expected a value, images and perhaps a count"),
    "evidence": ('"flipped": "60.', '"flipped": "60 ', "has not the form of numbers and base64"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_an_error_with_its_line_and_stays(
    run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    run("--bias-update=new")
    path = project.path / "bias-baseline.json"
    old, new, message = DAMAGES[damage]
    text = path.read_text()
    assert old in text
    damaged = text.replace(old, new, 1)
    path.write_text(damaged)
    monkeypatch.setenv("STUBBORN", "1")
    result = run()
    output = result.stdout.str() + result.stderr.str()
    assert re.search(rf"bias-baseline.json: line \d+: .*{re.escape(message)}.*It is left as it is", output), output
    if damage == "evidence":
        result.assert_outcomes(failed=1, passed=2)
    else:
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        assert "Traceback" not in output
        assert run("--bias-update=all").ret == pytest.ExitCode.USAGE_ERROR
    assert path.read_text() == damaged


def test_the_line_of_a_merge_conflict_is_the_line_of_its_mark(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    write_baseline(path, {EntryKey("test_a.py::test", "square"): entry()})
    lines = path.read_text().splitlines()
    place = next(i for i, line in enumerate(lines) if "figures" in line)
    path.write_text("\n".join([*lines[:place], "=======", *lines[place:]]))
    with pytest.raises(BaselineError, match=f"line {place + 1}: .*======="):
        read_baseline(path)


def test_a_newer_format_is_not_understood_and_stays(run: Run, project: pytest.Pytester) -> None:
    path = project.path / "bias-baseline.json"
    path.write_text('{\n "format": 2,\n "tests": []\n}\n')
    for options in ([], ["--bias-update=all"], ["--bias-prune"]):
        result = run(*options)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(
            [
                "*bias-baseline.json: line 2: format 2 was written by a newer release; this one reads format 1. Upgrade: *"
            ]
        )
    assert '"format": 2' in path.read_text()


def test_a_session_without_bias_tests_minds_no_baseline(colors: pytest.Pytester) -> None:
    colors.makepyfile("def test_other(): pass")
    (colors.path / "bias-baseline.json").write_text("{")
    result = colors.runpytest_inprocess("-p", "no:xdist")
    result.assert_outcomes(passed=1)


def test_a_file_that_cannot_be_written_fails_the_session(run: Run, project: pytest.Pytester) -> None:
    (project.path / "place").write_text("a file")
    result = run("--bias-update=new", "--bias-baseline=place/baseline.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*baseline.json: cannot be written (*"])


def test_the_file_is_where_the_setting_says(run: Run, project: pytest.Pytester) -> None:
    project.makeini("[pytest]\npythonpath = .\nbias_baseline = accepted/pets.json")
    result = run("--bias-update=new")
    result.stdout.fnmatch_lines(["accepted/pets.json: 2 added*"])
    tests = json.loads((project.path / "accepted/pets.json").read_text())["tests"]
    assert "../test_pets.py::test_square" in tests


@pytest.mark.parametrize("option", ["--bias-update=some", "--bias-compare=loud"])
def test_unknown_words_are_usage_errors(run: Run, project: pytest.Pytester, option: str) -> None:
    result = run(option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    name, _, word = option.partition("=")
    result.stderr.fnmatch_lines([f"*{name}*got '{word}'; *Valid: *"])


def test_keys_know_the_test_and_the_case_and_no_number_that_pytest_made(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(
        test_keys="""
        import pytest
        from tests_setup import *

        @pytest.fixture
        def other(transferred_model):
            return transferred_model

        @pytest.mark.bias_intervention("yellow-square", max_asr=0.9)
        @pytest.mark.bias_intervention("yellow-square", max_skew=0.9)
        @pytest.mark.bias_intervention("yellow-square", max_targeted_asr=0.9, target=["red", "green"])
        @pytest.mark.bias_intervention("yellow-square", max_asr=0.9, model="other")
        class TestOuter:
            class TestInner:
                @pytest.mark.parametrize("size", ["small", "large"])
                def test_it(self, size):
                    pass
        """
    )
    run("--bias-update=new", "test_keys.py").assert_outcomes(passed=8)
    tests = baseline_of(project)["tests"]
    place = "test_keys.py::TestOuter::TestInner::test_it"
    assert list(tests) == [f"{place}[large]", f"{place}[small]"]
    cases = tests[f"{place}[small]"]
    assert list(cases) == ["yellow-square", "yellow-square model=other", "yellow-square target=red, green"]
    # Both markers of the first case: one asked for the asr, the other one for the skew.
    assert cases["yellow-square"]["evidence"].keys() == {"flipped", "from", "to", "misclassified"}
    assert cases["yellow-square target=red, green"]["evidence"].keys() == {"flipped", "hits", "misclassified"}
    result = run("test_keys.py")
    result.stdout.fnmatch_lines(["compared with bias-baseline.json: 8 no worse"])


def test_a_metric_that_the_entry_lacks_is_told_and_can_be_added(run: Run, project: pytest.Pytester) -> None:
    run("--bias-update=new")
    project.makepyfile(test_pets=TESTS.replace("max_asr=1", "max_asr=1, max_accuracy_drop=1"))
    result = run()
    result.stdout.fnmatch_lines(
        [
            "compared with bias-baseline.json: 2 no worse",
            "  *test_gray*: the entry has no accuracy_drop; to write it: pytest --bias-update=all *test_gray*",
        ]
    )
    run("--bias-update=new").stdout.fnmatch_lines(["*0 added, 1 changed, 0 removed, 2 in all"])
    run().stdout.no_fnmatch_line("*the entry has no*")


def test_an_intervention_that_changed_is_not_compared(run: Run, project: pytest.Pytester) -> None:
    tests = TESTS.replace('name="nothing"', 'name="nothing", seed=SEED')
    project.makepyfile(test_pets=tests.replace("SEED", "1"))
    run("--bias-update=new")
    project.makepyfile(test_pets=tests.replace("SEED", "2"))
    result = run()
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        ["compared with bias-baseline.json: 1 no worse, 1 not compared (the entry is of another intervention)"]
    )


@each_mode
def test_what_was_measured_before_a_crash_or_an_interrupt_is_written(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(
        test_zz="""
        import pytest
        from tests_setup import *

        @pytest.fixture
        def broken():
            raise RuntimeError("no such checkpoint")

        @pytest.mark.bias_intervention("yellow-square", max_asr=0.9, model="broken")
        def test_broken():
            pass
        """
    )
    result = run("--bias-update=new")
    result.assert_outcomes(passed=3, errors=1)
    assert len(baseline_of(project)["tests"]) == 2


# Without a session.


def entry(flipped: list[int] | None = None, images: int = 1000, dataset: str = "d", **figures: Figure) -> Entry:
    """An entry in which these images flip from class 0 to class 1."""
    flipped = flipped or []
    asr = Figure(len(flipped) / images, images, len(flipped))
    evidence = {
        "flipped": encode_images(flipped),
        "from": encode_classes([0] * len(flipped)),
        "to": encode_classes([1] * len(flipped)),
    }
    return Entry(
        model={"name": "m", "fingerprint": "m"},
        dataset={"name": "d", "fingerprint": dataset},
        images=images,
        intervention="square",
        figures={"asr": asr, "skew": Figure(asr.value, images, None), **figures},
        evidence=evidence,
        versions={"torch": "2.0"},
    )


sets = st.sets(st.integers(0, 3000), max_size=200).map(sorted)


@given(sets)
def test_sets_of_images_survive_their_encoding(images: list[int]) -> None:
    assert decode_images(encode_images(images)) == images


@given(st.lists(st.integers(0, 1000), max_size=100))
def test_classes_survive_their_encoding(classes: list[int]) -> None:
    assert decode_classes(encode_classes(classes), len(classes)) == classes


@pytest.mark.parametrize("share", [0.001, 0.05, 0.3, 0.9])
def test_sets_take_few_bits_more_than_they_must(share: float) -> None:
    from math import log2

    drawn = random.Random(0)
    images = [i for i in range(50_000) if drawn.random() < share]
    entropy = -50_000 * (share * log2(share) + (1 - share) * log2(1 - share)) / 8
    encoded = len(encode_images(images)) * 3 / 4
    # Less than a set of bits, and near the least: rare gaps take whole bits.
    assert encoded < min(50_000 / 8 * 1.01, entropy * 2.2 + 8)


@given(sets, st.data())
def test_text_that_was_cut_is_not_understood(images: list[int], data: st.DataObject) -> None:
    text = encode_images(images)
    if len(images) > 20:
        with pytest.raises(ValueError, match=r"base64|last bits|form"):
            decode_images(text[: data.draw(st.integers(0, len(text) - 8))])


@given(st.dictionaries(st.tuples(st.sampled_from("ab"), st.text(max_size=5)), sets, max_size=4), st.randoms())
def test_what_is_written_is_read_again_and_the_order_decides_nothing(
    found: dict[tuple[str, str], list[int]], chance: random.Random
) -> None:
    import tempfile

    entries = {EntryKey(*key): entry(images, images=4000) for key, images in found.items()}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "baseline.json"
        write_baseline(path, entries)
        text = path.read_bytes()
        assert read_baseline(path) == entries
        shuffled = list(entries.items())
        chance.shuffle(shuffled)
        write_baseline(path, dict(shuffled))
        assert path.read_bytes() == text


def test_pruning_keeps_what_exists() -> None:
    kept, gone = EntryKey("a", "x"), EntryKey("a", "y")
    assert pruned({kept: entry(), gone: entry()}, {kept, EntryKey("b", "x")}) == {kept: entry()}


def test_no_file_is_no_baseline(tmp_path: Path) -> None:
    assert read_baseline(tmp_path / "none.json") is None


@given(sets, sets)
def test_changes_count_who_flips_newly_and_who_no_longer_does(before: list[int], now: list[int]) -> None:
    change = changes(entry(before, 4000), entry(now, 4000), ["asr"], 0.0)[0]
    newly, no_longer = set(now) - set(before), set(before) - set(now)
    assert (change.newly, change.no_longer) == (len(newly), len(no_longer))
    assert change.p == mcnemar(len(newly), len(no_longer))
    assert (change.before, change.now) == (len(before) / 4000, len(now) / 4000)
    assert newly_flipped(entry(before, 4000), entry(now, 4000)) == sorted(newly)


@pytest.mark.parametrize("other", [{"dataset": "other"}, {"images": 900}])
def test_other_images_are_two_samples(other: dict[str, Any]) -> None:
    first, second = list(range(30)), list(range(60))
    arguments: dict[str, Any] = {"images": 1000} | other
    change = changes(entry(first), entry(second, **arguments), ["asr"], 0.0)[0]
    assert not change.same_images
    assert change.p == two_proportions(60, arguments["images"], 30, 1000)
    assert (change.newly, newly_flipped(entry(first), entry(second, **arguments))) == (None, [])


def with_images(one: Entry, images: npt.NDArray[np.int64]) -> Entry:
    """Give an entry the images of these numbers."""
    raw = b"".join(number.to_bytes(3) for number in images.tolist())
    return replace(one, image_keys=base64.b64encode(raw).decode())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), sets, sets)
def test_images_are_compared_in_whatever_order_they_come(seed: int, before: list[int], now: list[int]) -> None:
    """Whatever is compared of the common images is what would be if they were the whole dataset."""
    chance = random.Random(seed)
    numbers = list(range(4000))
    chance.shuffle(numbers)
    kept = sorted(numbers[:3500])
    # The later dataset has these in another order, behind 20 others.
    order = [*range(9000, 9020), *chance.sample(kept, len(kept))]
    place = {image: index for index, image in enumerate(order)}
    common_before, common_now = ([image for image in flips if image in place] for flips in (before, now))
    older = with_images(entry(before, 4000), np.arange(4000))
    newer = with_images(entry(sorted([0, 5, *(place[image] for image in common_now)]), 3520, "new"), np.array(order))
    expected = changes(entry(common_before, 3500), entry(common_now, 3500), ["asr"], 0.0)[0]
    found = changes(older, newer, ["asr"], 0.0)[0]
    assert (found.p, found.newly, found.no_longer) == (expected.p, expected.newly, expected.no_longer)
    assert (found.common_images, found.same_images) == (3500, False)
    assert found.loss == pytest.approx((len(common_now) - len(common_before)) / 3500)


def test_classes_stay_with_their_images() -> None:
    first = entry([1, 4, 6, 9], 10)
    first = replace(first, evidence={**first.evidence, "to": encode_classes([1, 2, 3, 4])})
    older, newer = with_images(first, np.arange(10)), with_images(entry([0], 10, "new"), np.arange(10)[::-1] + 2)
    pair = on_common_images(older, newer)
    assert pair is not None
    # Images 9 to 2 are common, in the order of the later dataset.
    assert [part.tolist() for part in pair[0].transitions("")] == [[0, 3, 5], [0, 0, 0], [4, 3, 2]]
    assert pair[1].image_set("flipped") == []


@pytest.mark.parametrize("n", [499, 500])
def test_where_less_than_half_is_common_all_is_compared(n: int) -> None:
    flips = list(range(300))
    older = with_images(entry(flips, 1000), np.arange(1000))
    newer = with_images(entry(flips, 1000, "new"), np.arange(1000) + 1000 - n)
    found = changes(older, newer, ["asr"], 0.0)[0]
    assert found.common_images == (500 if n == 500 else None)
    assert changes(older, replace(newer, image_keys=""), ["asr"], 0.0)[0].common_images is None


@pytest.mark.parametrize("tolerance", [0.0, 0.005])
@pytest.mark.parametrize("metric", ["conditional_asr", "skew", "asr_excess", "accuracy"])
def test_every_metric_of_images_is_compared_on_those_that_both_have(metric: str, tolerance: float) -> None:
    def measured(flipped: list[int], misclassified: list[int], extra: int = 0) -> Entry:
        more = list(range(1000, 1000 + extra))
        made = conditional([*flipped, *more], misclassified, [999], 1000 + extra)
        right = made.images - len(misclassified) - 1
        figures = {
            "accuracy": Figure(right / (made.images - 1), made.images - 1, right),
            "asr_excess": Figure((len(flipped) + extra - 5) / made.images, made.images, None),
        }
        made = replace(made, figures={**made.figures, **figures})
        return replace(made, evidence={**made.evidence, "control_flipped": encode_images([1, 2, 3, 4, 5])})

    before = measured(list(range(40)), list(range(35, 60)))
    expected = changes(before, measured(list(range(80)), list(range(35, 90))), [metric], tolerance, tolerance)[0]
    appended = replace(
        measured(list(range(80)), list(range(35, 90)), extra=12), dataset={"fingerprint": "new", "name": "d"}
    )
    older, newer = with_images(before, np.arange(1000)), with_images(appended, np.arange(1012))
    found = changes(older, newer, [metric], tolerance, tolerance)[0]
    assert found.common_images == 1000
    assert found.p == pytest.approx(expected.p, rel=1e-9)
    assert found.loss == pytest.approx(expected.loss, rel=0.002)


def test_copies_of_an_image_are_compared_with_each_other() -> None:
    numbers = np.repeat(np.arange(500), 2)
    older, newer = (
        with_images(entry([0, 2], 1000), numbers),
        with_images(entry([0, 2], 1001, "new"), np.append(numbers, 7)),
    )
    found = changes(older, newer, ["asr"], 0.0)[0]
    assert (found.common_images, found.newly, found.no_longer) == (1000, 0, 0)


def test_keys_that_do_not_fit_the_images_are_damage() -> None:
    older, newer = (with_images(entry([1], 1000, name), np.arange(1000)) for name in ("d", "new"))
    for text, message in (("AAAA", "are 3 bytes, expected 3000"), ("A", "not base64")):
        with pytest.raises(ValueError, match=message):
            changes(replace(older, image_keys=text), newer, ["asr"], 0.0)


@pytest.mark.parametrize("tolerance", [0.0, 0.004])
def test_ten_images_more_cost_no_power(tolerance: float) -> None:
    """Of 5,000 images 1.2 % newly flip and .4 % no longer do; ten were appended."""
    generator, found, unpaired = np.random.default_rng(0), [], []
    for _ in range(100):
        before = generator.random(5000) < 0.1
        now = np.where(before, generator.random(5000) >= 0.04, generator.random(5000) < 0.012 / 0.9)
        later = np.append(now, generator.random(10) < 0.1)
        older = with_images(entry(np.flatnonzero(before).tolist(), 5000), np.arange(5000))
        newer = with_images(entry(np.flatnonzero(later).tolist(), 5010, "new"), np.arange(5010))
        found += meanings(changes(older, newer, ["asr"], tolerance), 0.01)
        unpaired += meanings(changes(older, replace(newer, image_keys=""), ["asr"], tolerance), 0.01)
    assert unpaired.count("regression") < 5
    # Of 1,000 pairs .97, and with the tolerance .39 of 500; three standard errors of 100 below that.
    assert found.count("regression") >= (92 if tolerance == 0 else 25)


def test_other_images_do_not_turn_what_is_better_on_the_common_ones_into_worse() -> None:
    older = with_images(entry(list(range(60)), 1000), np.arange(1000))
    newer = with_images(entry([*range(20), *range(1000, 1100)], 1100, "new"), np.arange(1100))
    change = changes(older, newer, ["asr"], 0.0)[0]
    assert change.now > change.before
    assert meanings([change], 0.01) == ["improvement"]


def test_a_skew_that_moves_with_the_same_images_is_seen() -> None:
    found = changes(entry(list(range(10))), entry(list(range(60))), ["skew"], 0.0)[0]
    assert found.p < 1e-6
    assert changes(entry(list(range(10))), entry(list(range(10))), ["skew"], 0.0)[0].p == 1.0


def conditional(flipped: list[int], misclassified: list[int], unlabelled: list[int], images: int = 1000) -> Entry:
    base = images - len(misclassified) - len(unlabelled)
    count = len(set(flipped) - set(misclassified) - set(unlabelled))
    made = entry(flipped, images, conditional_asr=Figure(count / base, base, count))
    sets = {"misclassified": encode_images(misclassified), "unlabelled": encode_images(unlabelled)}
    return Entry(**{**vars(made), "evidence": {**made.evidence, **sets}})


def test_a_share_of_what_is_classified_correctly_is_compared_by_image() -> None:
    before = conditional([*range(40), 901], list(range(900, 950)), [999])
    now = conditional([*range(60), 901, 999], list(range(900, 950)), [999])
    assert changes(before, now, ["conditional_asr"], 0.0)[0].p == pytest.approx(mcnemar(20, 0))
    # On other images, the counts are compared.
    other = conditional(list(range(60)), list(range(900, 950)), [999], images=1001)
    assert changes(before, other, ["conditional_asr"], 0.0)[0].p == two_proportions(60, 950, 40, 949)
    assert changes(before, before, ["conditional_asr"], 0.0)[0].p == 1.0


def test_only_what_both_have_is_compared() -> None:
    bare = entry([1, 2])
    lacking = Entry(**{**vars(bare), "evidence": {"flipped": bare.evidence["flipped"]}})
    assert comparable(bare, lacking, ["skew", "asr", "accuracy_drop"]) == ["asr"]
    undefined = entry([1], asr=Figure(None, 0, 0))
    assert comparable(bare, undefined, ["asr"]) == []


def change(before: float, now: float, p: float, tolerance: float = 0.0) -> MetricChange:
    return MetricChange("asr", before, now, p, tolerance, 1, 1, True)


def test_what_changes_mean_depends_on_how_many_there_are() -> None:
    worse = change(0.1, 0.2, 0.008)
    assert meanings([worse], 0.01) == ["regression"]
    # By Holm, the smallest of two must be at most half of alpha.
    assert meanings([worse, change(0.1, 0.1, 1.0)], 0.01) == ["unchanged", "unchanged"]
    assert meanings([worse, change(0.1, 0.2, 0.004)], 0.01) == ["regression", "regression"]
    assert meanings([change(0.2, 0.1, 0.001)], 0.01) == ["improvement"]
    assert meanings([change(0.2, 0.3, 0.001, tolerance=0.1)], 0.01) == ["unchanged"]
    assert meanings([change(0.2, 0.31, 0.001, tolerance=0.1)], 0.01) == ["regression"]
    assert meanings([], 0.01) == []


def test_a_change_must_exceed_the_tolerance_by_more_than_chance_does() -> None:
    """Of 5,000 images 2 % flip newly: beyond a tolerance of .02 that is chance, and beyond one of .01 it is not."""
    before, now = entry(list(range(200)), 5000), entry(list(range(305)), 5000)
    worse = {tolerance: changes(before, now, ["asr"], tolerance)[0] for tolerance in (0.0, 0.01, 0.02, 0.03)}
    assert worse[0.0].p == mcnemar(105, 0)
    assert worse[0.0].p_of_change is None
    assert worse[0.01].p == paired_share_beyond(105, 0, 5000, 0.01) < 1e-6
    assert worse[0.02].p == paired_share_beyond(105, 0, 5000, 0.02) > 0.1
    assert worse[0.03].p == 1.0
    assert all(change.p_of_change == worse[0.0].p for tolerance, change in worse.items() if tolerance)
    found = {tolerance: meanings([change], 0.01) for tolerance, change in worse.items()}
    assert found == {0.0: ["regression"], 0.01: ["regression"], 0.02: ["unchanged"], 0.03: ["unchanged"]}
    # What became better is compared with no change.
    better = changes(now, before, ["asr"], 0.02)[0]
    assert (better.p, better.p_of_change, meanings([better], 0.01)) == (mcnemar(0, 105), None, ["improvement"])


@pytest.mark.parametrize("metric", ["asr", "skew"])
def test_a_tolerance_counts_on_other_images_too(metric: str) -> None:
    before, now = entry(list(range(200)), 5000), entry(list(range(400)), 5001)
    p = [changes(before, now, [metric], tolerance)[0].p for tolerance in (0.0, 0.01, 0.02, 0.035, 0.05)]
    assert p == sorted(p)
    assert p[0] < 1e-10
    assert p[2] < 0.01 < p[3] < p[4] == 1.0


def test_a_lower_accuracy_is_tolerated_where_it_may_be_chance_that_it_exceeds_the_tolerance() -> None:
    lower = MetricChange("accuracy", 0.9, 0.88, 0.3, 0.015, 80, 20, True, p_of_change=1e-9)
    assert meanings([lower], 0.01) == settled_meanings([lower], 0.01, 10) == ["tolerated"]
    better = change(0.3, 0.1, 1e-9)
    assert beside_accuracy([better, lower], meanings([better, lower], 0.01)) == ["not comparable", "tolerated"]
    # One that is shared counts once for each tolerance, and p against no change once.
    shared = [
        replace(lower, identity="pets", p=p, tolerance=tolerance) for p, tolerance in ((0.004, 0.01), (0.3, 0.015))
    ]
    assert meanings([*shared, shared[0]], 0.01) == ["regression", "tolerated", "regression"]


@pytest.mark.parametrize(("before", "now"), [(0.05, 0.2), (-0.05, 0.2), (0.05, -0.2), (-0.05, -0.2)])
def test_a_signed_gap_exceeds_the_tolerance_by_its_size(before: float, now: float) -> None:
    def signed(value: float, dataset: str = "d") -> Entry:
        chance = encode_numbers([0.0, 0.03, 1e-9])
        gap = entry(dataset=dataset, gap=Figure(value, 1000, None))
        return Entry(**{**vars(gap), "evidence": {"groups": "g", "chance": chance, "between": "a b"}})

    for tolerance in (0.0, 0.02, 0.1):
        found = changes(signed(before), signed(now, "other"), ["gap"], tolerance)[0]
        by_size = normal_p_value(0.15 if tolerance else now - before, 0.03 * 2**0.5, tolerance)
        assert found.p == pytest.approx(by_size)


def test_entries_of_the_same_measurement_complete_each_other() -> None:
    with_hits = Entry(**{**vars(entry([1])), "evidence": {"hits": "x"}})
    assert entry([1]).joined(with_hits).evidence.keys() == {"flipped", "from", "to", "hits"}
    assert entry([1]).joined(Entry(**{**vars(with_hits), "model": {"name": "m", "fingerprint": "n"}})) == entry([1])
