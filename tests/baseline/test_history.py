"""The history of an entry: nightly runs on new images, judged together at one level."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_biastransfer.baseline.encoding import encode_images
from pytest_biastransfer.baseline.entry import Entry, EntryKey, Figure
from pytest_biastransfer.baseline.file import read_baseline, write_baseline
from pytest_biastransfer.baseline.history import Night, OverTime, nights_of, short_hash
from pytest_biastransfer.baseline.metric_change import MetricChange
from pytest_biastransfer.baseline.over_time import has_new_images, night_of, over_time, spending_weight, with_night
from pytest_biastransfer.baseline.regression import changes, meanings, settled_meanings
from pytest_biastransfer.errors import BaselineError
from pytest_biastransfer.metrics.statistics.e_process import p_over_time
from pytest_biastransfer.metrics.statistics.tally import Tally
from tests.baseline.test_baseline_file import SETUP, TESTS, baseline_of, entry, with_images
from tests.conftest import Run, each_mode

INI = "[pytest]\npythonpath = .\nbias_alpha_over_time = 0.05\n"
TEST, CASE = "test_pets.py::test_square", "yellow-square"

# Each night has images of its own, some of which flip; blue ones do not.
DATASET = """
    night, fragile = int(os.environ.get("NIGHT", "0")), int(os.environ.get("FRAGILE", "60"))
    shade = 0.004 * night
    colors = [(0.30 - shade, 0.29 - shade, 0.31) if i < fragile else (0.0, 0.0, 1.0 - shade) for i in range(200)]
    return conftest.Named((conftest.torch.tensor(color).reshape(3, 1, 1).expand(3, 16, 16), 2) for color in colors)
"""


@pytest.fixture
def project(colors: pytest.Pytester) -> pytest.Pytester:
    """A project with two bias tests: of 200 images FRAGILE flip under the square, and each NIGHT has other images."""
    colors.makeini(INI)
    setup = SETUP.replace("    return conftest.images(fragile=60, n=200)\n", DATASET)
    colors.makepyfile(tests_setup=setup, test_pets=TESTS)
    return colors


@pytest.fixture
def night(run: Run, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the tests on the images of a night."""

    def run_night(number: int, fragile: int, *options: str) -> pytest.RunResult:
        monkeypatch.setenv("NIGHT", str(number))
        monkeypatch.setenv("FRAGILE", str(fragile))
        return run(*options)

    return run_night


def history_of(project: pytest.Pytester) -> list[str]:
    lines: list[str] = baseline_of(project)["tests"][TEST][CASE].get("history", [])
    return lines


@each_mode
def test_each_night_adds_a_line_once(night: Any, project: pytest.Pytester) -> None:
    night(0, 60, "--bias-update=new")
    assert history_of(project) == []
    result = night(1, 62, "--bias-update=history")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        ["bias-baseline.json: 0 added, 2 changed, 0 removed, 2 in all; this run is counted for 2 tests"]
    )
    night(2, 58, "--bias-update=history")
    lines = history_of(project)
    assert [line.split()[1:] for line in lines] == [
        ["accuracy=200/200", "asr=62/200"],
        ["accuracy=200/200", "asr=58/200"],
    ]
    before = (project.path / "bias-baseline.json").read_bytes()
    again = night(2, 58, "--bias-update=history")
    again.stdout.fnmatch_lines(["*; this run is counted for 0 tests, not for 2 (*)"])
    night(3, 60)
    assert (project.path / "bias-baseline.json").read_bytes() == before


@each_mode
def test_a_regression_over_time_turns_red_and_says_so(night: Any, project: pytest.Pytester) -> None:
    night(0, 60, "--bias-update=new")
    for number in (1, 2, 3):
        # Worse, but not by enough for a few nights.
        night(number, 80, "--bias-update=history").assert_outcomes(passed=3)
    result = night(4, 130, "--bias-update=history", "--bias-report=bias.json", "--bias-report=bias.html")
    result.assert_outcomes(failed=1, passed=2)
    p = p_over_time(Tally(60, 200), [Tally(80, 200)] * 3 + [Tally(130, 200)])
    assert p <= 0.05
    result.stdout.fnmatch_lines(
        [f"bias regression: asr 0.300 → 0.463 over 4 runs of 800 images (p = {p:.1g}, at any time)*"]
    )
    # A run that fails counts, too: what is left out because of its result makes the others worthless.
    assert len(history_of(project)) == 4
    report = json.loads((project.path / "bias.json").read_text())
    [square] = [test for test in report["tests"] if "square" in test["name"]]
    asr = next(change for change in square["changes"] if change["metric"] == "asr")
    assert asr["over_time"] == {"runs": 4, "images": 800, "alpha": 0.05}
    assert "on new images, over all runs, at most 0.05" in (project.path / "bias.html").read_text()
    # It is not forgotten in the next night.
    night(5, 60).assert_outcomes(failed=1, passed=2)
    night(5, 60, "--bias-update=all", "-k", "square")
    assert history_of(project) == []


def test_without_the_setting_each_night_is_judged_alone(night: Any, project: pytest.Pytester) -> None:
    project.makeini("[pytest]\npythonpath = .\n")
    night(0, 60, "--bias-update=new")
    result = night(1, 130)
    result.stdout.fnmatch_lines(["bias regression: asr 0.300 → 0.650 (p = *, not the same images*"])


def test_the_same_images_are_compared_as_ever(
    night: Any, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUBBORN", "1")
    night(0, 60, "--bias-update=new")
    monkeypatch.setenv("STUBBORN", "0")
    result = night(0, 60, "--bias-update=history")
    result.stdout.fnmatch_lines(["bias regression: asr 0.000 → 0.300; 60 images newly flip, 0 no longer do (p = *)*"])
    assert history_of(project) == []


def test_a_missing_entry_is_not_added(night: Any, project: pytest.Pytester) -> None:
    night(0, 60, "--bias-update=new", "-k", "square")
    night(1, 60, "--bias-update=history").assert_outcomes(passed=3)
    assert list(baseline_of(project)["tests"]) == [TEST]
    assert len(history_of(project)) == 1


@pytest.mark.parametrize(
    ("ini", "options", "message"),
    [
        ("", ["--bias-update=history"], "*write, for example, bias_alpha_over_time = 0.05 into the ini file"),
        ("bias_alpha_over_time = 0.05", ["--bias-update=history", "--bias-compare=off"], "*is off; remove one of them"),
        ("bias_alpha_over_time = 5", [], "*bias_alpha_over_time in the ini file: got '5', expected a number above 0*"),
        ("bias_alpha_overtime = 0.05", [], "*unknown key bias_alpha_overtime; *bias_alpha_over_time*"),
    ],
)
def test_settings_that_say_nothing_are_usage_errors(
    run: Run, project: pytest.Pytester, ini: str, options: list[str], message: str
) -> None:
    project.makeini(f"[pytest]\npythonpath = .\n{ini}\n")
    result = run(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


# Without a session.


def named(dataset: str, **tallies: Tally) -> Night:
    return Night(short_hash(dataset), tallies)


tallies = st.integers(0, 1000).flatmap(
    lambda plus: st.builds(
        lambda minus, rest: Tally(plus, plus + (minus or 0) + rest, minus),
        st.one_of(st.none(), st.integers(0, 1000)),
        st.integers(0, 1000),
    )
)


@given(st.dictionaries(st.sampled_from(["asr", "accuracy", "accuracy_drop", "conditional_asr"]), tallies))
def test_lines_are_read_as_they_were_written(counts: dict[str, Tally]) -> None:
    line = Night("0123abcd", counts).to_line()
    assert nights_of([line]) == [Night("0123abcd", counts)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["2f9c01ab asr=5/100", "2f9c01a asr=5/100"], "history, run 2: expected a line such as '2f9c01ab accuracy="),
        (["2f9c01ab asr=5"], "history, run 1: expected a line"),
        (["2f9c01ab asr=-5/100"], "history, run 1: expected a line"),
        (["2f9c01ab asrr=5/100"], "history, run 1: there is no metric 'asrr'"),
        (["2f9c01ab asr=101/100"], "history, run 1: 'asr=101/100' counts more images than there are"),
        (["2f9c01ab accuracy_drop=60-41/100"], "counts more images than there are"),
        (["2f9c01ab asr=5/100", "2f9c01ab asr=6/100"], "history, run 2: 2f9c01ab is run 1 already"),
        ([5], "history: expected str, found int"),
        ("2f9c01ab asr=5/100", "history: expected list, found str"),
    ],
)
def test_a_damaged_history_is_an_error_that_names_the_place(tmp_path: Path, lines: Any, message: str) -> None:
    path = tmp_path / "bias-baseline.json"
    content = {"format": 1, "tests": {TEST: {CASE: {**entry([1, 2]).to_json(), "history": lines}}}}
    path.write_text(json.dumps(content, indent=1))
    with pytest.raises(BaselineError, match=r"line 5: test_pets\.py::test_square, yellow-square: ") as raised:
        read_baseline(path)
    assert message in str(raised.value)


def test_a_history_survives_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bias-baseline.json"
    first = with_night(entry([1, 2]), named("a", asr=Tally(5, 100)))
    both = with_night(first, named("b", asr=Tally(6, 100)))
    assert with_night(both, named("a", asr=Tally(7, 100))) is both
    write_baseline(path, {EntryKey("test", "case"): both})
    assert read_baseline(path) == {EntryKey("test", "case"): both}
    # One line of the file for each run, in the order of the runs.
    assert [line.strip(' ",') for line in path.read_text().splitlines() if "asr=" in line] == list(both.history)
    assert "history" not in entry([1, 2]).to_json()


def test_accepting_starts_the_history_anew_and_completing_does_not() -> None:
    accepted = with_night(entry([1, 2]), named("a", asr=Tally(5, 100)))
    assert accepted.joined(entry([1, 2])).history == accepted.history
    assert entry([1, 2]).joined(accepted).history == ()


def flips(count: int, dataset: str, images: int = 1000) -> Entry:
    return entry(list(range(count)), images=images, dataset=dataset)


def judged(before: Entry, now: Entry, metric: str = "asr", tolerance: float = 0.0) -> MetricChange:
    [change] = over_time(changes(before, now, [metric], tolerance), before, now, night_of(now, [metric]), 0.05)
    return change


def test_a_share_is_judged_with_all_nights() -> None:
    before = with_night(flips(100, "d"), named("a", asr=Tally(150, 1000)))
    change = judged(before, flips(130, "b"))
    assert (change.before, change.now, change.over_time) == (0.1, 0.14, OverTime(2, 2000, 0.05))
    assert change.p == p_over_time(Tally(100, 1000), [Tally(150, 1000), Tally(130, 1000)])
    # A dataset that is counted already is the same night, whatever a rerun measured.
    counted = judged(with_night(before, named("b", asr=Tally(130, 1000))), flips(900, "b"))
    assert (counted.now, counted.p) == (change.now, change.p)
    assert judged(before, flips(20, "b")).p == 1.0


def test_a_metric_that_was_not_counted_in_some_nights_has_the_others() -> None:
    before = with_night(flips(100, "d"), named("a", accuracy=Tally(90, 100)))
    assert judged(before, flips(130, "b")).over_time == OverTime(1, 1000, 0.05)


def test_a_tolerance_is_tested_over_time() -> None:
    before = with_night(flips(100, "d"), named("a", asr=Tally(250, 1000)))
    change = judged(before, flips(250, "b"), tolerance=0.05)
    accepted, nights = Tally(100, 1000), [Tally(250, 1000)] * 2
    assert (change.p, change.p_of_change) == (p_over_time(accepted, nights, 0.05), p_over_time(accepted, nights))
    assert judged(before, flips(250, "b"), tolerance=0.2).p == 1.0


def test_an_accuracy_is_worse_if_it_is_lower() -> None:
    before = replace(flips(0, "d"), figures={"accuracy": Figure(0.9, 1000, 900)})
    lower = replace(flips(0, "b"), figures={"accuracy": Figure(0.7, 1000, 700)})
    assert judged(before, lower, "accuracy").p == p_over_time(Tally(100, 1000), [Tally(300, 1000)])
    higher = replace(lower, figures={"accuracy": Figure(0.99, 1000, 990)})
    assert judged(before, higher, "accuracy").p == 1.0


def dropping(lost: int, won: int, dataset: str) -> Entry:
    evidence = {"lost": encode_images(range(lost)), "won": encode_images(range(500, 500 + won))}
    figures = {"accuracy_drop": Figure((lost - won) / 1000, 1000, None)}
    return replace(entry(dataset=dataset), evidence=evidence, figures=figures)


def test_a_mean_is_judged_with_all_nights() -> None:
    before = with_night(dropping(60, 20, "d"), night_of(dropping(110, 10, "a"), ["accuracy_drop"]))
    assert before.history[0].endswith(" accuracy_drop=110-10/1000")
    change = judged(before, dropping(120, 10, "b"), "accuracy_drop")
    assert change.now == pytest.approx(0.105)
    assert change.p == p_over_time(Tally(60, 1000, 20), [Tally(110, 1000, 10), Tally(120, 1000, 10)])


def test_an_image_that_adds_and_subtracts_1_does_neither() -> None:
    both = {"flipped": encode_images([1, 2, 3]), "control_flipped": encode_images([3, 4])}
    now = replace(entry(), evidence=both, figures={"asr_excess": Figure(0.001, 1000, None)})
    assert night_of(now, ["asr_excess"]).tallies == {"asr_excess": Tally(2, 1000, 1)}


def test_counts_of_another_form_are_damage() -> None:
    before = with_night(flips(100, "d"), named("a", asr=Tally(150, 1000, 2)))
    with pytest.raises(ValueError, match="history: asr has counts of another form"):
        judged(before, flips(130, "b"))


def test_a_metric_without_counts_spends_a_share_of_the_level_in_each_night() -> None:
    before, now = flips(100, "d"), flips(160, "c")
    [alone] = changes(before, now, ["skew"], 0.0)
    for number in (1, 2, 3):
        change = judged(before, now, "skew")
        assert change.p == pytest.approx(min(1.0, alone.p * number * (number + 1)))
        assert (change.now, change.over_time) == (0.16, OverTime(number, None, 0.05))
        before = with_night(before, named(f"night {number}"))
    assert judged(before, flips(20, "c"), "skew").p == 1.0
    assert sum(map(spending_weight, range(1, 10_000))) == pytest.approx(1, abs=2e-4)


def test_several_seeds_spend_a_share_of_the_level_in_each_night() -> None:
    seed = replace(flips(110, "d"), model={"name": "m", "fingerprint": "another seed"})
    before, now = (
        replace(flips(100, "d"), seeds=(seed,)),
        replace(flips(160, "c"), model={"name": "m", "fingerprint": "c"}),
    )
    [alone] = changes(before, now, ["asr"], 0.0)
    change = judged(with_night(before, named("night 1")), now)
    assert alone.seeds == (0.1, 0.11)
    assert (change.now, change.over_time) == (0.16, OverTime(2, None, 0.05))
    assert change.p == pytest.approx(min(1.0, 6 * alone.p))


def test_what_is_judged_over_time_has_its_own_level_and_family() -> None:
    old = OverTime(5, 5000, 0.05)
    over, alone = (MetricChange("asr", 0.1, 0.2, 0.03, 0.0, None, None, False, over_time=kind) for kind in (old, None))
    assert meanings([over, alone], 0.01) == settled_meanings([over, alone], 0.01, 1) == ["regression", "unchanged"]
    assert meanings([over, replace(over, p=0.04)], 0.01) == ["unchanged", "unchanged"]
    assert meanings([over, *[replace(alone, p=0.009)] * 5], 0.01)[0] == "regression"
    assert settled_meanings([over], 0.01, 2) == [None]


def test_images_are_new_unless_the_keys_tell_otherwise() -> None:
    before, now = flips(1, "d", images=100), flips(1, "e", images=100)
    assert not has_new_images(before, before)
    assert has_new_images(before, now)
    before = with_images(before, np.arange(100))
    assert not has_new_images(before, with_images(now, np.arange(50, 150)))
    assert has_new_images(before, with_images(now, np.arange(51, 151)))
