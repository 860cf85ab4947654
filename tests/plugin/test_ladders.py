"""Sessions with ladders: one test of one intervention at several strengths."""

from __future__ import annotations

import html
import json
import re
import sys

import jsonschema
import pytest
import torch
from PIL import Image

from tests.conftest import Run, each_mode
from tests.docs.test_metric_tables import ROOT

# Of 120 images, a blend of yellow flips 6 from a strength of 0.1 on, 24 from 0.3 on and 60 from 0.4 on.
HEAD = """
import pytest
import torch
from conftest import Named, brightest
from pytest_biastransfer import Tint, ladder

TINTS = ladder(Tint(color="yellow"), "strength", [0.02, 0.1, 0.3, 0.4])


@pytest.fixture(scope="session")
def transferred_model():
    return brightest()


def colors(blues):
    return [(0.3, 0.2, 0.3 + blue) for blue in blues]


@pytest.fixture(scope="session")
def bias_dataset():
    blues = BLUES
    return Named((torch.tensor(color).reshape(3, 1, 1).expand(3, 16, 16), 2) for color in colors(blues))
"""
# A model that sees less blue: the 36 images that flipped at 0.4 flip at 0.3, too.
WEAK_BLUE = """model = brightest()
    model.module.weight.data[2, 2] = 0.97
    return model"""
BLUES = "[0.05] * 6 + [0.2] * 18 + [0.44] * 36 + [0.7] * 60"


def ladder_test(marker: str, body: str = "pass", blues: str = BLUES) -> str:
    return (
        HEAD.replace("BLUES", blues)
        + f"\n\n@pytest.mark.bias_intervention(TINTS, {marker})\ndef test_tints(bias):\n    {body}\n"
    )


@each_mode
def test_a_ladder_is_one_test_with_a_curve(colors: pytest.Pytester, run: Run) -> None:
    body = "assert bias.curve('asr') == [0, 0.05, 0.2, 0.5] and bias.mean('asr') == 0.1875 and bias.at(0.3).asr == 0.2"
    colors.makepyfile(test_it=ladder_test("max_asr=0.1, min_strength=0.3, max_mean_asr=0.19", body))
    result = run("-v", "--bias-report=report.json", "--junitxml=junit.xml", "-W", "error")
    result.assert_outcomes(passed=1)
    properties = (colors.path / "junit.xml").read_text()
    assert '<property name="bias.asr at strength 0.1" value="0.05"' in properties
    assert '<property name="bias.mean_asr" value="0.1875"' in properties
    curve = "asr 0.000 0.050 0.200 0.500 at strength 0.02 0.1 0.3 0.4; breaks 0.1 at 0.3, min_strength 0.3"
    result.stdout.fnmatch_lines(["  tint-strength  asr * 0.050 * <= 0.1 *passed *at strength 0.1", f"    {curve}"])
    report = json.loads((colors.path / "report.json").read_text())
    jsonschema.validate(report, json.loads((ROOT / "docs/report.schema.json").read_text()))
    (test,) = report["tests"]
    assert test["details"]["kind"] == "ladder"
    assert [(limit["metric"], limit["observed"]["value"]) for limit in test["limits"]] == [
        ("asr", 0.05),
        ("mean_asr", 0.1875),
    ]
    (asr,) = test["curves"].pop("curves")
    assert test["curves"] == {
        "field": "strength",
        "strengths": [0.02, 0.1, 0.3, 0.4],
        "min_strength": 0.3,
        "shown": 0.3,
    }
    assert (asr["metric"], asr["limit"], asr["breaks"]) == ("asr", 0.1, 0.3)
    assert [one["value"] for one in asr["observed"]] == [0, 0.05, 0.2, 0.5]
    assert {one["confidence"] for one in asr["observed"]} == {0.9875}


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("max_asr=0.1", "20 % of the predictions flip with tint at strength 0.3 (asr 0.200), limit 0.1"),
        (
            "max_asr=0.1, min_strength=0.4",
            "20 % of the predictions flip with tint at strength 0.3 (asr 0.200), limit 0.1",
        ),
        (
            "max_asr=0.1, min_strength=0.3, rule='certain'",
            "5 % of the predictions flip with tint at strength 0.1 (asr 0.050), not certainly at most 0.1",
        ),
        (
            "max_asr=0.15, rule='significant'",
            "50 % of the predictions flip with tint at strength 0.4 (asr 0.500), significantly above 0.15",
        ),
        (
            "max_mean_asr=0.18",
            "18.8 % of the predictions flip with tint on average over the strengths (mean_asr 0.188), limit 0.18",
        ),
        (
            "max_mean_asr=0.2, rule='certain'",
            "18.8 % of the predictions flip with tint on average over the strengths (mean_asr 0.188), not certainly at most 0.2",
        ),
        (
            "max_mean_accuracy_drop=0.18, max_skew=0.5",
            "18.8 points of accuracy are lost with tint on average over the strengths (mean_accuracy_drop 0.188), limit 0.18",
        ),
        (
            "max_skew=0.4, min_strength=0.4, max_asr=0.04",
            "5 % of the predictions flip with tint at strength 0.1 (asr 0.050), limit 0.04",
        ),
    ],
)
def test_a_ladder_fails(colors: pytest.Pytester, run: Run, marker: str, message: str) -> None:
    colors.makepyfile(test_it=ladder_test(marker))
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"bias: {message}", "  ladder    ladder(Tint(color=(255, 255, 0), strength=0.25), *"])


@pytest.mark.parametrize(
    "marker",
    [
        "max_asr=0.5",
        "max_asr=0.1, min_strength=0.3",
        "max_asr=0.15, min_strength=0.3, rule='certain'",
        "max_asr=0.15, min_strength=0.4, rule='significant'",
        "max_asr_excess=0.2, max_mean_asr_excess=0.1, min_strength=0.4, control='transferred_model'",
        "max_mean_targeted_asr=0.1875, target='red'",
        "max_mean_conditional_asr=0.1875",
        "max_asr=0.1, positive='red', min_strength=0.3",
    ],
)
def test_a_ladder_passes(colors: pytest.Pytester, run: Run, marker: str) -> None:
    colors.makepyfile(test_it=ladder_test(marker))
    run("-W", "error").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        (
            "max_asr=0.1, min_strength=0.2",
            "min_strength=0.2, expected a strength of the ladder after its weakest one: 0.1, 0.3, 0.4*",
        ),
        ("max_asr=0.1, min_strength=0.02", "min_strength=0.02, expected a strength*"),
        ("max_mean_asr=0.1, min_strength=0.1", "min_strength=0.1 needs a limit at each strength*"),
        ("min_strength=0.1", "no limit, so nothing could fail*"),
        ("max_asr=0.1, min_strength='0.1'", "min_strength='0.1', expected a number*"),
        ("max_mean_skew=0.1", "unknown keyword max_mean_skew; did you mean max_mean_asr?*"),
        ("max_mean_targeted_asr=0.1", "max_mean_targeted_asr needs target=*"),
        ("'grayscale', max_asr=0.1, max_mean_asr=0.1", "max_mean_asr= is for strengths, and 'grayscale' has one*"),
        ("'grayscale', max_asr=0.1, min_strength=0.1", "min_strength= is for strengths, and 'grayscale' has one*"),
        ("max_asr=0.001, rule='certain'", "max_asr=0.001 can never pass with rule='certain' and n = 120*"),
    ],
)
def test_a_wrong_marker_says_what_to_write(colors: pytest.Pytester, run: Run, marker: str, message: str) -> None:
    colors.makepyfile(test_it=ladder_test(marker))
    result = run()
    assert result.ret != 0
    result.stdout.fnmatch_lines([f"*{message}"])


def test_an_unchanged_ladder_evaluates_nothing(colors: pytest.Pytester, run: Run) -> None:
    colors.makepyfile(test_it=ladder_test("max_asr=0.5, max_mean_asr=0.19"))
    run().stdout.fnmatch_lines(["*600 images evaluated, 360 predictions reused"])
    run().stdout.fnmatch_lines(["*0 images evaluated, 960 predictions reused"])


def test_limits_on_ladders_take_others_along(colors: pytest.Pytester, run: Run) -> None:
    colors.makepyfile(test_it=ladder_test("'grayscale', max_asr=1"))
    run("-v").stdout.fnmatch_lines(["*tint-strength]*PASSED*", "*grayscale*PASSED*"])


def test_the_baseline_compares_each_strength(colors: pytest.Pytester, run: Run) -> None:
    marker = "max_asr=0.9, max_mean_accuracy_drop=0.9"
    colors.makepyfile(test_it=ladder_test(marker))
    run("--bias-update=new").assert_outcomes(passed=1)
    content = json.loads((colors.path / "bias-baseline.json").read_text())
    ((key, (entry,)),) = ((test, cases.values()) for test, cases in content["tests"].items())
    assert key == "test_it.py::test_tints"
    assert entry["figures"]["asr at strength 0.3"] == {"value": 0.2, "images": 120, "count": 24}
    assert entry["figures"]["accuracy"] == {"value": 1.0, "images": 120, "count": 120}
    assert [name for name in entry["evidence"] if "0.3" not in name and " at " not in name] == ["misclassified"]
    unchanged = run("-v", "--bias-compare=require")
    unchanged.assert_outcomes(passed=1)
    unchanged.stdout.fnmatch_lines(["compared with bias-baseline.json: 1 no worse"])


def test_a_regression_at_one_strength_names_it(colors: pytest.Pytester, run: Run) -> None:
    colors.makepyfile(test_it=ladder_test("max_asr=0.9"))
    run("--bias-update=new", "--bias-report=old.json").assert_outcomes(passed=1)
    weak = ladder_test("max_asr=0.9").replace("return brightest()", WEAK_BLUE)
    colors.makepyfile(test_it=weak)
    worse = run("--bias-report=report.json", "--bias-report=report.md")
    worse.assert_outcomes(failed=1)
    change = "asr at strength 0.3: 0.200 → 0.500; 36 images newly flip, 0 no longer do (p = 3e-11)"
    worse.stdout.fnmatch_lines(
        [f"*bias regression: {change}", "  newly flipped, the first:", "    image 24 *, at strength 0.3"]
    )
    (test,) = json.loads((colors.path / "report.json").read_text())["tests"]
    meanings = {change["at"]: change["meaning"] for change in test["changes"]}
    expected = {f"strength {strength}": "unchanged" for strength in (0.02, 0.1, 0.4)}
    assert meanings == {**expected, "strength 0.3": "regression", "": "unchanged"}
    assert {shown["new"] for shown in test["details"]["shown"]} == {False}  # At strength 0.4.
    compared = colors.run(sys.executable, "-m", "pytest_biastransfer", "compare", "old.json", "report.json")
    compared.stdout.fnmatch_lines([f"*{change}*"])
    assert "asr at strength 0.3: 0.200 → 0.500" in (colors.path / "report.md").read_text()


def test_another_ladder_is_not_compared(colors: pytest.Pytester, run: Run) -> None:
    colors.makepyfile(test_it=ladder_test("max_asr=0.9"))
    run("--bias-update=new").assert_outcomes(passed=1)
    other = ladder_test("max_asr=0.9").replace('color="yellow"', 'color="white"')
    colors.makepyfile(test_it=other)
    run().stdout.fnmatch_lines(["compared with bias-baseline.json: 1 without an entry"])


def test_two_ladders_in_one_function_have_entries_of_their_own(colors: pytest.Pytester, run: Run) -> None:
    other = "ladder(Tint(color='yellow'), 'strength', [0.02, 0.2, 0.4]), max_asr=0.9"
    colors.makepyfile(test_it=ladder_test(other))
    run("--bias-update=new").assert_outcomes(passed=2)
    (cases,) = json.loads((colors.path / "bias-baseline.json").read_text())["tests"].values()
    assert list(cases) == ["tint-strength-0.02-0.1-0.3-0.4", "tint-strength-0.02-0.2-0.4"]


def test_reports_have_the_curve(colors: pytest.Pytester, run: Run) -> None:
    colors.makepyfile(test_it=ladder_test("max_asr=0.1, min_strength=0.4"))
    run("--bias-update=new", "--runxfail").assert_outcomes(failed=1)
    colors.makepyfile(test_it=ladder_test("max_asr=0.1, min_strength=0.4").replace("return brightest()", WEAK_BLUE))
    run("--bias-report=report.html", "--bias-report=report.md").assert_outcomes(failed=1)
    page = html.unescape((colors.path / "report.html").read_text())
    rows = re.findall(
        r"<th[^>]*>(strength [0-9.]+|baseline|limit)</th>.*?([0-9.]+)", page.partition("asr by strength")[2]
    )
    accepted = {"0.02": "0.000", "0.1": "0.050", "0.3": "0.200", "0.4": "0.500"}
    observed = accepted | {"0.3": "0.500"}
    pairs = [row for one in accepted for row in ((f"strength {one}", observed[one]), ("baseline", accepted[one]))]
    assert rows == [*pairs, ("limit", "0.1")]
    assert 'flip rate (asr)</a> by strength; breaks 0.1 at 0.3, min_strength 0.4<figure class="curve">' in page
    assert "Flipped images at strength 0.3" in page
    text = (colors.path / "report.md").read_text()
    assert "asr at strength 0.3: 0.200 → 0.500" in text
    assert "| strength | 0.02 | 0.1 | 0.3 | 0.4 |" in text
    row = next(line for line in text.splitlines() if line.startswith("| asr; breaks 0.1 at 0.3, min\\_strength 0.4 |"))
    assert row.endswith("| 0.050 [0.014, 0.123] | 0.500 [0.384, 0.616] | 0.500 [0.384, 0.616] |")


def test_with_early_stop_bisection_leaves_strengths_out(colors: pytest.Pytester, run: Run) -> None:
    body = "assert bias.curve('asr')[1] == 0.05"
    colors.makepyfile(test_it=ladder_test("max_asr=0.1, min_strength=0.3", body))
    result = run("-v", "--bias-early-stop", "--bias-report=report.md", "--bias-report=report.html")
    result.assert_outcomes(passed=1)
    # At 0.3 the first 64 images are enough: 14 of them flip.
    curve = "asr - 0.050 0.219 - at strength 0.02 0.1 0.3 0.4; breaks 0.1 at 0.3, min_strength 0.3; 2 of 4 strengths measured"
    counts = "304 images evaluated, 64 predictions reused; 1 stopped early, at 64 of 120 images"
    result.stdout.fnmatch_lines([f"    {curve}", f"1 bias test: 1 passed; {counts}"])

    colors.makepyfile(test_it=ladder_test("max_asr=0.1, early_stop=True"))
    failed = run("--bias-report=report.md")
    failed.assert_outcomes(failed=1)
    failed.stdout.fnmatch_lines(
        ["bias: *flip with tint at strength 0.3 (asr 0.2*), limit 0.1", "    0.02  not measured"]
    )
    assert "| – | 0.050" in (colors.path / "report.md").read_text()


def test_what_needs_all_strengths_measures_them(colors: pytest.Pytester, run: Run) -> None:
    everywhere = "*asr 0.000 0.050 0.200 0.500 at strength*"
    colors.makepyfile(test_it=ladder_test("max_asr=0.1, min_strength=0.3, max_mean_asr=0.2"))
    run("-v", "--bias-early-stop").stdout.fnmatch_lines([everywhere])
    colors.makepyfile(test_it=ladder_test("max_asr=0.1, min_strength=0.3"))
    run("-v", "--bias-early-stop", "--bias-update=new").stdout.fnmatch_lines([everywhere])
    run("-v", "--bias-early-stop").stdout.fnmatch_lines(["*1 not compared (stopped early)*"])
    run("-v", "--bias-early-stop", "--bias-compare=require").stdout.fnmatch_lines([everywhere])


def test_many_images_stop_early_at_each_strength(colors: pytest.Pytester, run: Run) -> None:
    colors.makepyfile(test_it=ladder_test("max_asr=0.1, min_strength=0.3", blues=f"({BLUES}) * 20"))
    result = run("-v", "--bias-early-stop")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*of 2,400 images*", "    asr - 0.0* 0.* - at strength * breaks 0.1 at 0.3*"])


def test_an_unchanged_ladder_imports_neither_torch_nor_numpy(pytester: pytest.Pytester, run_elsewhere: Run) -> None:
    pytester.makeini(
        "[pytest]\nbias_transferred_model = checkpoint:m.pt?arch=python:net:make\nbias_dataset = csv:list.csv\n"
    )
    pytester.makepyfile(
        net="""
            import torch

            def make():
                return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 2))
        """,
        test_it="""
            import sys
            import pytest
            from pytest_biastransfer import Tint, ladder

            # The weights are random.
            @pytest.mark.bias_intervention(
                ladder(Tint(), "strength", [0.1, 0.4]), max_asr=1, max_mean_accuracy_drop=1, allow_degenerate=True
            )
            def test_tints():
                print("torch" in sys.modules, "numpy" in sys.modules)
        """,
    )
    rows = ["image,label"]
    for index in range(40):
        Image.new("RGB", (4, 4), (5 * index, 100, 200 - 5 * index)).save(pytester.path / f"{index}.png")
        rows.append(f"{index}.png,{index % 2}")
    (pytester.path / "list.csv").write_text("\n".join(rows) + "\n")
    net = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 2))
    torch.save(net.state_dict(), pytester.path / "m.pt")
    run_elsewhere("-s", "--bias-update=new").assert_outcomes(passed=1)
    again = pytester.runpytest_subprocess("-s", "--bias-compare=require")
    again.stdout.fnmatch_lines(["*False False*", "*1 passed; 0 images evaluated, 160 predictions reused*"])
