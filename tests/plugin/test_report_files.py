"""Reports of sessions: what they hold, in every way of running, and what becomes of those that cannot be written."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
import textwrap
import xml.etree.ElementTree as ET
from pathlib import Path

import jsonschema
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from docs import report_schema
from pytest_biastransfer.reporting.report import Picture, Report, Result, Shown, read_report, to_json
from tests.conftest import ALWAYS_BLUE, MODES, WEIGHING_BLUE, Run
from tests.support.warm_python import WarmPython

DOCS = Path(__file__).parents[2] / "docs"
SUITE = f"""
import pytest
from conftest import brightest


@pytest.fixture(scope="session")
def control_model():
    {textwrap.indent(textwrap.dedent(ALWAYS_BLUE), "    ")}


@pytest.fixture(scope="session")
def source_model():
    return brightest("source")


@pytest.fixture(scope="session")
def transferred_model(source_model):
    return brightest("transferred")


@pytest.mark.bias_intervention("yellow-square", max_asr=0.05, max_asr_excess=0.1)
def test_square():
    pass


@pytest.mark.bias_intervention("grayscale", max_asr=1)
def test_gray():
    pass


@pytest.mark.bias_intervention("yellow-square", max_skew=0.1)
def test_body(bias):
    assert bias.n == 21


@pytest.mark.xfail(strict=True, reason="it is known")
@pytest.mark.bias_intervention("yellow-square", max_skew=0.1)
def test_known():
    pass


@pytest.mark.skip(reason="not today")
@pytest.mark.bias_intervention("yellow-square", max_asr=0.1)
def test_skipped():
    pass


def test_other():
    pass
"""


@pytest.fixture
def suite(colors: pytest.Pytester) -> pytest.Pytester:
    colors.makepyfile(test_suite=SUITE)
    return colors


def report_of(pytester: pytest.Pytester, name: str = "bias.json") -> Report:
    return read_report(pytester.path / name)


def by_test(report: Report) -> dict[str, Result]:
    return {re.sub(r".*::|\[.*", "", test.name): test for test in report.tests}


def run_in(pytester: pytest.Pytester, mode: str, *arguments: str, warm: WarmPython | None = None) -> pytest.RunResult:
    return pytester.runpytest_inprocess(*MODES[mode], *arguments, plugins=[warm] if warm else [])


def test_a_report_holds_what_was_measured(suite: pytest.Pytester) -> None:
    result = run_in(suite, "no:xdist", "--bias-report=out/bias.json")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["  report: out/bias.json"])
    report = report_of(suite, "out/bias.json")
    # 20 images through two models with and without a square, and through one in grey; the source has its weights.
    assert (report.evaluated, report.reused) == (100, 180)
    jsonschema.validate(json.loads((suite.path / "out/bias.json").read_text()), json.loads(report_schema.text()))
    tests = by_test(report)
    assert {name: test.outcome for name, test in tests.items()} == {
        "test_square": "failed",
        "test_gray": "passed",
        "test_body": "failed",
        "test_known": "xfailed",
        "test_skipped": "skipped",
    }
    square = tests["test_square"]
    assert square.file == "test_suite.py"
    assert SUITE.strip().splitlines()[square.line - 1].startswith("@pytest.mark.bias_intervention")
    assert square.message.startswith(
        "bias: 25 % of the predictions flip with yellow-square (asr 0.250), limit 0.05\n      25 points more"
    )
    assert [(limit.metric, limit.holds, limit.observed.value) for limit in square.limits] == [
        ("asr", False, 0.25),
        ("asr_excess", False, 0.25),
    ]
    assert square.limits[1].control is not None
    assert square.limits[1].control.value == 0
    details = square.details
    assert details is not None
    assert (details.model, details.dataset, details.control, details.device) == (
        "transferred",
        "list",
        "always-blue",
        "cpu",
    )
    # The five fragile images turn red: known by heart, see conftest.
    assert [(move.before, move.after, move.images) for move in details.moves] == [("blue", "red", 5)]
    assert details.flips == 5
    assert [(shares.role, shares.model) for shares in details.shares] == [
        ("source", "source"),
        ("transferred", "transferred"),
        ("control", "always-blue"),
    ]
    for shares in details.shares[:2]:
        assert list(shares.classes) == ["red", "green", "blue"]
        assert list(shares.before) == [0, 0, 1]
        assert list(shares.after) == pytest.approx([0.25, 0, 0.75])
    assert list(details.shares[2].after) == [0, 0, 1]
    assert tests["test_body"].message.startswith("bias = ")
    assert tests["test_body"].details is not None
    assert tests["test_known"].message == "it is known"
    assert tests["test_skipped"].message == "not today"
    assert tests["test_skipped"].details is None


def test_a_source_that_cannot_be_measured_costs_no_verdict(colors: pytest.Pytester) -> None:
    colors.makeini("[pytest]\nbias_source_model = checkpoint:lost.pt?arch=torchvision:resnet18\n")
    colors.makepyfile(
        """
        import pytest

        @pytest.mark.bias_intervention("yellow-square", max_asr=0.05)
        def test_it():
            pass
        """
    )
    result = run_in(colors, "no:xdist", "--bias-report=bias.json", "-W", "default")
    result.assert_outcomes(failed=1, warnings=1)
    result.stdout.fnmatch_lines(
        [
            "bias: 25 % of the predictions flip with yellow-square (asr 0.250), limit 0.05*",
            "*is without the source model: *lost.pt*",
        ]
    )
    test = report_of(colors).tests[0]
    assert test.details is not None
    assert [shares.role for shares in test.details.shares] == ["transferred"]
    assert test.limits[0].holds is False


def pixels_of(picture: Picture | None) -> npt.NDArray[np.uint8]:
    """Return a picture as RGBA, uint8 [height, width, 4]."""
    assert picture is not None
    return np.array(Image.open(io.BytesIO(base64.b64decode(picture.data))).convert("RGBA"))


def images_of(test: Result) -> list[Shown]:
    if test.details is None:
        return []
    example = test.details.example
    return [*test.details.shown, *([] if example is None else [example])]


def test_pictures_show_the_flipped_images(suite: pytest.Pytester) -> None:
    run_in(suite, "no:xdist", "--bias-report=bias.json")
    tests = by_test(report_of(suite))
    details = tests["test_square"].details
    assert details is not None
    assert [shown.index for shown in details.shown] == [0, 1, 2, 3, 4]
    first = details.shown[0]
    clean, changed = pixels_of(first.clean), pixels_of(first.changed)
    assert clean.shape == changed.shape == (16, 16, 4)
    assert (abs(clean[..., :3].astype(int) - [77, 74, 79]) <= 1).all()
    # A yellow square in the first quarter, and nothing else.
    assert (changed[:4, :4] == [255, 255, 0, 255]).all()
    assert changed[..., 3].sum() == 16 * 255
    assert first.middle == 0.12
    for shown in details.shown:
        assert (shown.before, shown.after, shown.label) == ("blue", "red", "blue")
        # Softmax of channel means that are 0.30, 0.29 and 0.31.
        assert shown.confidence_before == pytest.approx(np.exp(0.31) / np.exp([0.30, 0.29, 0.31]).sum(), abs=1e-4)
        assert shown.confidence_after is not None
        assert 1 / 3 < shown.confidence_after < 0.5


@pytest.mark.parametrize(
    ("images", "square", "gray"), [("none", False, False), ("failed", True, False), ("all", True, True)]
)
def test_which_tests_have_pictures(suite: pytest.Pytester, images: str, square: bool, gray: bool) -> None:
    run_in(suite, "no:xdist", "--bias-report=bias.json", f"--bias-images={images}")
    tests = by_test(report_of(suite))
    found = {name: any(image.clean for image in images_of(test)) for name, test in tests.items()}
    assert found == dict.fromkeys(found, images != "none") | {"test_skipped": False, "test_body": False}
    for name, gallery in (("test_square", square), ("test_gray", gray)):
        details = tests[name].details
        assert details is not None
        assert details.flips > 0
        assert [shown.clean is not None for shown in details.shown] == [gallery] * len(details.shown)
        # What has no gallery shows by one image what the intervention does.
        assert (details.example is not None) == (images != "none" and not gallery)


def test_the_same_report_in_every_way_of_running(suite: pytest.Pytester, warm: WarmPython) -> None:
    found = {}
    for mode in MODES:
        # A failure names the page that the session writes, so that each way of running writes the same files.
        names = [f"bias.{suffix}" for suffix in ("json", "html", "md")]
        run_in(suite, mode, *(f"--bias-report={name}" for name in names), f"--bias-store=store-{mode}", warm=warm)
        report = read_report(suite.path / names[0])
        timeless = dataclasses.replace(
            report,
            sessions=[dataclasses.replace(session, started="", seconds=0) for session in report.sessions],
            tests=[dataclasses.replace(test, seconds=0) for test in report.tests],
        )
        # What the pages say follows from the report: they are written from it, and from nothing else.
        found[mode] = (to_json(timeless), (suite.path / names[2]).read_text())
    assert found["no:xdist"] == found["n0"] == found["n2"]


def test_a_second_run_needs_neither_models_nor_pictures(suite: pytest.Pytester) -> None:
    run_in(suite, "no:xdist", "--bias-report=bias.json")
    first = by_test(report_of(suite))
    suite.makepyfile(test_suite=SUITE + "\n\ndef test_loaded():\n    import sys\n    assert True\n")
    result = run_in(suite, "no:xdist", "--bias-report=bias.json")
    result.stdout.fnmatch_lines(["*; 0 images evaluated, *"])
    again = by_test(report_of(suite))
    assert again["test_square"].details == first["test_square"].details


def test_newly_flipped_images_come_first(colors: pytest.Pytester, warm: WarmPython) -> None:
    test = (
        WEIGHING_BLUE
        + """
@pytest.mark.bias_intervention("yellow-square", max_asr=0.9)
def test_it():
    pass
"""
    )
    colors.makepyfile(test_it=test.format(blue=1))
    run_in(colors, "no:xdist", "--bias-update=new", "--bias-report=bias.json").assert_outcomes(passed=1)
    before = report_of(colors).tests[0]
    assert before.standing == "new"
    # Now the second kind of images flips too: 0.35 of blue is less than 0.325 of red where a square hides a part.
    colors.makepyfile(test_it=test.format(blue=0.97))
    run_in(colors, "n2", "--bias-report=bias.json", "--bias-compare=warn", warm=warm)
    now = report_of(colors).tests[0]
    assert now.details is not None
    assert before.details is not None
    assert (before.details.flips, now.details.flips) == (30, 60)
    assert now.standing == "regression"
    assert now.changes[0].meaning == "regression"
    # It passed, and has pictures all the same: it got worse.
    assert all(shown.clean for shown in now.details.shown)
    # Of thirty new ones sixteen, from the first to the last.
    indices = [shown.index for shown in now.details.shown]
    assert len(indices) == 16
    assert indices == sorted(set(indices))
    assert 30 <= indices[0] < 34
    assert 56 < indices[-1] < 60
    assert max(np.diff(indices)) <= 3
    assert all(shown.new for shown in now.details.shown)


def test_gaps_and_searches_are_in_it(colors: pytest.Pytester) -> None:
    colors.makepyfile(
        """
        import pytest
        from conftest import Named, images
        from pytest_biastransfer import strategies

        @pytest.fixture(scope="session")
        def bias_dataset():
            return Named((image, label, {"place": "left" if n % 3 else "right"}) for n, (image, label) in enumerate(images(60, 120)))

        @pytest.mark.bias_gap("place", "accuracy", max_gap=0.5)
        def test_gap():
            pass

        @pytest.mark.bias_search(strategies.patches(), max_asr=0.1, budget=10, images=20)
        def test_search():
            pass
        """
    )
    run_in(colors, "no:xdist", "--bias-report=bias.json", "--bias-report=bias.html", "--bias-report=bias.md")
    tests = by_test(report_of(colors))
    gap, search = tests["test_gap"].details, tests["test_search"].details
    assert gap is not None
    assert search is not None
    assert (gap.kind, search.kind) == ("gap", "search")
    assert [(group.group, group.size) for group in gap.groups] == [("left", 80), ("right", 40)]
    assert search.shown[0].changed is not None
    # The gap holds, so that no errors are shown.
    assert (gap.shown, gap.errors_of) == ([], "")
    assert "search" in (colors.path / "bias.html").read_text()


def test_where_the_model_looks_is_shown_on_request(colors: pytest.Pytester) -> None:
    colors.makepyfile(
        """
        import pytest

        @pytest.mark.bias_intervention("yellow-square", max_asr=0.05)
        def test_square():
            pass

        @pytest.mark.bias_intervention("yellow-square", max_asr=1)
        def test_fine():
            pass
        """
    )
    run_in(colors, "no:xdist", "--bias-report=bias.json", "--bias-images=all")
    assert [image.saliency for test in report_of(colors).tests for image in images_of(test)] == [None] * 10
    result = run_in(colors, "no:xdist", "--bias-report=bias.json", "--bias-images=all", "--bias-saliency")
    result.stdout.fnmatch_lines(["*; 0 images evaluated, *"])
    failed, fine = report_of(colors).tests
    assert not any(image.saliency for image in images_of(fine))
    maps = [image.saliency for image in images_of(failed)]
    assert [saliency is not None for saliency in maps] == [True] * 4 + [False]
    assert maps[0] is not None
    assert maps[0].passes == 100
    clean, intervened = np.array(maps[0].clean), np.array(maps[0].intervened)
    # The model sees mean colours. All parts of a clean image are alike; of the intervened one, the square decides.
    assert (clean == 0).all()
    assert intervened.shape == (8, 8)
    assert np.argmax(intervened) == 0
    assert (np.abs(intervened[4:, 4:]) < intervened[0, 0] / 4).all()
    colors.makeini("[pytest]\nbias_saliency = true\n")
    run_in(colors, "no:xdist", "--bias-report=again.json", "--bias-report=again.html", "--bias-images=all")
    assert read_report(colors.path / "again.json").tests[0].details == failed.details
    assert "Where the model looks" in (colors.path / "again.html").read_text()


def test_a_gap_that_is_too_large_shows_errors_of_the_worst_group(colors: pytest.Pytester) -> None:
    colors.makepyfile(
        """
        import numpy as np
        import pytest
        from PIL import Image
        from conftest import brightest

        @pytest.fixture(scope="session")
        def bias_dataset(tmp_path_factory):
            folder = tmp_path_factory.mktemp("data")
            lines = ["file,class,place"]
            for number in range(90):
                place, label = ("left", "right")[number % 2], ("red", "green", "blue")[number // 2 % 3]
                channel = ("red", "green", "blue").index(label)
                # One in five on the left is brightest in the channel of another class.
                shown = (channel + 1) % 3 if place == "left" and number % 5 == 0 else channel
                pixels = np.zeros((8, 8, 3), np.uint8)
                pixels[..., shown] = 200
                Image.fromarray(pixels).save(folder / f"{number}.png")
                lines.append(f"{number}.png,{label},{place}")
            (folder / "images.csv").write_text("\\n".join(lines))
            return f"csv:{folder / 'images.csv'}?image=file&label=class"

        @pytest.mark.bias_gap("place", "accuracy", max_gap=0.1)
        def test_accuracy():
            pass

        @pytest.mark.bias_gap("place", "fpr", positive="red", max_gap=0.05)
        def test_fpr():
            pass

        @pytest.mark.bias_gap("place", "accuracy", max_gap=0.9)
        def test_fine():
            pass
        """
    )
    run_in(colors, "no:xdist", "--bias-report=bias.json", "--bias-report=bias.html", "-W", "default")
    accuracy, fpr, fine = (test.details for test in report_of(colors).tests)
    assert accuracy is not None
    assert fpr is not None
    assert fine is not None
    assert (accuracy.errors_of, fpr.errors_of, fine.errors_of) == ("left", "left", "")
    names = ("red", "green", "blue")
    for details, wrong in (
        (accuracy, list(range(0, 90, 10))),
        # What is blue is taken for red.
        (fpr, [number for number in range(0, 90, 10) if names[number // 2 % 3] == "blue"]),
    ):
        assert [image.index for image in details.shown] == wrong
        for image in details.shown:
            assert image.file == f"{image.index}.png"
            label = names[image.index // 2 % 3]
            assert (image.label, image.after, image.changed) == (label, "", None)
            assert image.before == ("red" if details is fpr else names[(names.index(label) + 1) % 3])
            assert pixels_of(image.clean).shape == (8, 8, 4)
    page = (colors.path / "bias.html").read_text()
    assert "Errors in the group <bdi>left</bdi>" in page
    assert fine.shown == []


HOSTILE = '<script>alert("x")</script> | `a` \u202e\U0001f415 [x](y) & ' + "long " * 2000


def test_hostile_names_are_only_letters(colors: pytest.Pytester, warm: WarmPython) -> None:
    colors.makepyfile(
        f"""
        import pytest
        from conftest import BrightestChannel, images
        from pytest_biastransfer import Model

        NAME = {HOSTILE!r}

        @pytest.fixture(scope="session")
        def transferred_model():
            return Model(BrightestChannel(), classes=[NAME, "green", NAME + "2"], name=NAME)

        @pytest.mark.bias_intervention("yellow-square", max_asr=0.05)
        def test_it():
            pass
        """
    )
    reports = ("--bias-report=bias.json", "--bias-report=bias.html", "--bias-report=bias.md")
    result = run_in(colors, "n2", *reports, warm=warm)
    assert result.ret == 1
    details = report_of(colors).tests[0].details
    assert details is not None
    # What turns the direction is shown as what it is.
    shown = HOSTILE.replace("\u202e", r"\u202e")
    assert details.model == shown
    assert details.moves[0].after == shown
    page, summary = (colors.path / "bias.html").read_text(), (colors.path / "bias.md").read_text()
    assert "<script>alert" not in page
    assert "<script>alert" not in re.sub(r"```+text.*?```+\n", "", summary, flags=re.DOTALL)
    assert len(summary) < 100_000


def test_tests_of_a_crashed_worker_are_lost(colors: pytest.Pytester, warm: WarmPython) -> None:
    colors.makepyfile(
        """
        import os, pytest

        @pytest.mark.bias_intervention("yellow-square", "grayscale", max_asr=1)
        def test_it(bias, request):
            if "gray" in request.node.name:
                os._exit(1)
        """
    )
    result = run_in(colors, "n2", "--bias-report=bias.json", "--bias-report=bias.html", "--color=yes", warm=warm)
    assert result.ret == 1
    outcomes = {test.name: test.outcome for test in report_of(colors).tests}
    assert outcomes == {
        "test_tests_of_a_crashed_worker_are_lost.py::test_it[grayscale]": "lost",
        "test_tests_of_a_crashed_worker_are_lost.py::test_it[yellow-square]": "passed",
    }
    assert "\x1b[31mLOST" in result.stdout.str()
    assert "lost" in (colors.path / "bias.html").read_text()


@pytest.mark.parametrize("mode", ["no:xdist", "n2"])
def test_no_bias_tests_is_said(pytester: pytest.Pytester, warm: WarmPython, mode: str) -> None:
    pytester.makepyfile("def test_other(): pass")
    result = run_in(
        pytester, mode, "--bias-report=bias.md", "--bias-report=bias.json", "--bias-report=bias.html", warm=warm
    )
    result.assert_outcomes(passed=1)
    assert "No bias tests ran." in (pytester.path / "bias.md").read_text()
    assert report_of(pytester).tests == []


@pytest.mark.parametrize("mode", ["no:xdist", "n2"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "bias.txt",
            "*--bias-report (or bias_report in the ini file): got 'bias.txt', expected a file that ends in one of .html, .json, .md",
        ),
        (
            "file/bias.json",
            "*--bias-report=*file/bias.json: cannot be written (*); name another file, or make room for it",
        ),
        (
            "folder.json",
            "*--bias-report=*folder.json: cannot be written (Is a directory); name another file, or make room for it",
        ),
    ],
)
def test_a_place_that_cannot_be_written_is_an_error_before_the_tests(
    suite: pytest.Pytester, name: str, message: str, mode: str
) -> None:
    (suite.path / "file").write_text("")
    (suite.path / "folder.json").mkdir()
    result = run_in(suite, mode, f"--bias-report={name}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message.replace("[", "[[]")])
    assert "test_suite" not in result.stdout.str()


def test_a_place_that_is_lost_meanwhile_fails_the_session(colors: pytest.Pytester) -> None:
    colors.makepyfile(
        """
        import pathlib, pytest

        @pytest.mark.bias_intervention("yellow-square", max_asr=1)
        def test_it(bias):
            pathlib.Path("bias.json").mkdir()
        """
    )
    result = run_in(colors, "no:xdist", "--bias-report=bias.json")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*bias.json cannot be written: Is a directory"])


def test_the_ini_file_names_reports_too(suite: pytest.Pytester) -> None:
    suite.makeini("[pytest]\nbias_report =\n    a report.json\n    out/bias.md\nbias_images = all\n")
    run_in(suite, "no:xdist")
    assert report_of(suite, "a report.json").tests
    assert (suite.path / "out/bias.md").exists()


@pytest.mark.parametrize("mode", ["no:xdist", "n2"])
def test_github_gets_a_summary_and_annotations(
    run: Run, colors: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    colors.makepyfile(test_suite=SUITE)
    place = colors.path / "summary.md"
    place.write_text("what was there\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(place))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(colors.path.parent))
    result = run()
    summary = place.read_text()
    headline = "## ❌ Bias transfer: 2 of 5 tests fail, 1 fails as expected\n"
    assert summary.startswith(f"what was there\n<!-- pytest-biastransfer -->\n{headline}")
    assert "5 bias tests: **failed** 2, passed 1, xfailed 1, skipped 1." in summary
    assert "asr 0.250 [0.087, 0.491] **>** 0.05" in summary
    commands = [line for line in result.outlines if line.startswith("::error ")]
    line = next(place for place, text in enumerate(SUITE.strip().splitlines(), 1) if "max_asr_excess" in text)
    file = f"{colors.path.name}/test_suite.py"
    assert commands[0].startswith(
        f"::error file={file},line={line},title=test_suite.py%3A%3Atest_square[yellow-square]::bias: 25 %25 of the predictions flip"
    )
    assert len(commands) == 2


@pytest.mark.parametrize("mode", ["no:xdist", "n2"])
def test_junit_has_the_figures(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(test_suite=SUITE)
    run("--junitxml=junit.xml")
    cases = {case.get("name"): case for case in ET.parse(colors.path / "junit.xml").iter("testcase")}
    found = {one.get("name"): one.get("value") for one in cases["test_square[yellow-square]"].iter("property")}
    assert float(found["bias.asr"] or "nan") == 0.25
    assert float(found["bias.asr.limit"] or "nan") == 0.05
    assert found["bias.asr.holds"] == "false"
    assert float(found["bias.asr_excess.control"] or "nan") == 0
    assert found["bias.images"] == "20"
    assert not list(cases["test_other"].iter("property"))


@pytest.mark.parametrize("mode", ["no:xdist", "n2"])
def test_pytest_html_shows_the_pictures(suite: pytest.Pytester, warm: WarmPython, mode: str) -> None:
    pytest.importorskip("pytest_html")
    # pytest-html itself warns about its own hooks.
    options = ("-p", "metadata", "-p", "html", "--html=page.html", "--self-contained-html", "-W", "default")
    run_in(suite, mode, *options, warm=warm)
    page = (suite.path / "page.html").read_text()
    assert "image/png" in page


def test_without_a_report_nothing_is_imported_for_one(colors: pytest.Pytester, run_elsewhere: Run) -> None:
    colors.makepyfile(
        # The process has imported everything. This plugin is loaded before the package's, which then imports what it
        # needs itself.
        forgetful="""
        import sys

        for name in list(sys.modules):
            if name.split(".")[0] in ("jinja2", "pytest_biastransfer"):
                del sys.modules[name]
        """,
        test_it="""
        import sys
        import pytest

        @pytest.mark.bias_intervention("yellow-square", max_asr=1)
        def test_it():
            pass

        def test_modules():
            unwanted = ["jinja2", "pytest_biastransfer.reporting.report", "pytest_biastransfer.reporting.html",
                        "pytest_biastransfer.reporting.markdown"]
            assert "pytest_biastransfer.reporting" in sys.modules
            assert set(unwanted) & set(sys.modules) == set()
        """,
    )
    result = run_elsewhere("-p", "forgetful", "-p", "no:xdist")
    result.assert_outcomes(passed=2)


def test_the_schema_is_that_of_the_code() -> None:
    assert (DOCS / "report.schema.json").read_text(encoding="utf-8") == report_schema.text(), (
        "run python -m docs.report_schema"
    )
    jsonschema.Draft202012Validator.check_schema(json.loads(report_schema.text()))


def test_a_report_is_read_as_it_was_written(suite: pytest.Pytester) -> None:
    run_in(suite, "no:xdist", "--bias-report=bias.json")
    assert to_json(report_of(suite)) == (suite.path / "bias.json").read_text()
