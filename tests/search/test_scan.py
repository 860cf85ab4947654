"""The scan of the named interventions: how much it evaluates, what it ranks, and the tests that it writes."""

from __future__ import annotations

import ast
import datetime
import io
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_biastransfer import Custom, Grayscale, Model, Occlude, Square
from pytest_biastransfer.__main__ import main
from pytest_biastransfer.cli.generated_tests import ScanInfo, first_tests_text, limit_to_come, todays_limit
from pytest_biastransfer.data import as_images
from pytest_biastransfer.errors import ModelError, SpecError
from pytest_biastransfer.evaluation.evaluator import Evaluator
from pytest_biastransfer.interventions import BUILT_IN, Intervention
from pytest_biastransfer.metrics.statistics.estimate import Estimate
from pytest_biastransfer.progress.record import Progress
from pytest_biastransfer.progress.stream_line import StreamLine
from pytest_biastransfer.reporting.ranking import ranking_lines, require_plot
from pytest_biastransfer.search.ranking import Ranked, worst_first
from pytest_biastransfer.search.scan import ScanResults, Subject, scan_loaded
from pytest_biastransfer.store import Store
from tests.conftest import Log, predicted_twice
from tests.plugin.xdist.test_worker_progress import Terminal
from tests.support.warm_python import PYTHON

pytestmark = pytest.mark.usefixtures("warm_executable")

N = 20


class Brightest(torch.nn.Module):
    """Answers with the brightest channel, and counts images."""

    def __init__(self, bias: float = 0.0) -> None:
        super().__init__()
        self.bias = torch.nn.Parameter(torch.tensor([0.0, 0.0, bias]))
        self.seen = Log()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(images))
        return images.mean(dim=(2, 3)) + self.bias


def brightest(bias: float = 0.0, classes: int = 3) -> Model:
    return Model(Brightest(bias), classes=["red", "green", "blue", "grey"][:classes], name=f"brightest{bias}")


class Named(list[Any]):
    """Images with the names of their labels."""

    classes = ("red", "green", "blue")


def images(fragile: int = 5) -> list[Any]:
    """Return images of which a yellow square flips the fragile ones, to red."""
    colors = [(0.30, 0.29, 0.31) if i < fragile else (0.0, 0.0, 1.0) for i in range(N)]
    return Named((torch.tensor(color).reshape(3, 1, 1).expand(3, 32, 32), 2) for color in colors)


def scanned(
    interventions: dict[str, Intervention], model: Model, control: Model | None = None, store: Path | None = None
) -> ScanResults:
    results = ScanResults(len(interventions))
    evaluator = Evaluator("cpu", Store(store))
    subject = Subject(model, as_images(images(), "images"), control)
    steps = list(scan_loaded(evaluator, subject, interventions, results))
    assert len(steps) == len(interventions) + 1
    return results


def seen(model: Model) -> int:
    assert isinstance(model.module, Brightest)
    return sum(model.module.seen)


@pytest.mark.parametrize("stored", [False, True])
def test_as_many_forward_passes_as_interventions_and_one(stored: bool, tmp_path: Path) -> None:
    store = tmp_path / "store" if stored else None
    interventions = {name: BUILT_IN.named(name) for name in BUILT_IN.names}
    model, control = brightest(), brightest(bias=0.5)
    results = scanned(interventions, model, control, store)
    assert [ranked.name for ranked in results.measured] == BUILT_IN.names
    measured = N * (len(interventions) + 1)
    assert seen(model) == seen(control) == measured + predicted_twice(N)
    assert (results.computed, results.reused) == (2 * measured, 0)
    again, same_control = brightest(), brightest(bias=0.5)
    results = scanned(interventions, again, same_control, store)
    assert (seen(again) == seen(same_control) == 0) == stored
    assert results.reused == (2 * measured if stored else 0)
    assert len(results.measured) == len(interventions)


def test_an_intervention_that_cannot_be_applied_is_named_and_stops_nothing() -> None:
    interventions = {
        # In this order: what the first one meets could be the fault of the model or of the images.
        "a-hidden-object": Occlude("object", fill="black"),
        "b-tiny": Square(size=0.001),
        "gray": Grayscale(),
        "not-images": Custom(lambda images: images[:, :1], name="channel"),
        "yellow-square": Square(),
    }
    results = scanned(interventions, brightest())
    assert [ranked.name for ranked in results.measured] == ["gray", "yellow-square"]
    reasons = {skipped.name: skipped.reason for skipped in results.skipped}
    assert list(reasons) == ["a-hidden-object", "b-tiny", "not-images"]
    assert "mask" in reasons["a-hidden-object"]
    assert "0.001" in reasons["b-tiny"]


def test_what_is_wrong_with_the_model_stops_the_scan_at_the_first_intervention() -> None:
    model = brightest(classes=4)
    with pytest.raises(ModelError, match="3 outputs, but 4 class names"):
        scanned({"gray": Grayscale(), "yellow-square": Square(), "other": Square(size=0.5)}, model)
    assert seen(model) == N + predicted_twice(N)


class NotANumberOnBlack(Brightest):
    """A model that one intervention breaks."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images).where(images.mean() > 0, torch.nan)


def test_what_one_intervention_does_to_the_model_is_its_own_matter() -> None:
    black = Custom(torch.zeros_like, name="black")
    results = scanned({"a": Grayscale(), "black": black, "c": Square()}, Model(NotANumberOnBlack()))
    assert [ranked.name for ranked in results.measured] == ["a", "c"]
    assert [skipped.name for skipped in results.skipped] == ["black"]
    assert "finite" in results.skipped[0].reason


def test_the_ranking_is_that_of_the_figures() -> None:
    interventions = {"gray": Grayscale(), "yellow-square": Square()}
    alone = worst_first(scanned(interventions, brightest()).measured)
    # All channels of a gray image are as bright as one another, and red comes first.
    assert [(one.name, float(one.asr), float(one.skew)) for one in alone] == [
        ("gray", 1.0, 1.0),
        ("yellow-square", 0.25, 0.25),
    ]
    assert [one.gained for one in alone] == ["red +1.000", "red +0.250"]
    assert {one.metric for one in alone} == {"asr"}
    # The control says blue, whatever comes.
    beside = worst_first(scanned(interventions, brightest(), brightest(bias=2.0)).measured)
    assert [one.name for one in beside] == ["gray", "yellow-square"]
    assert {one.metric for one in beside} == {"asr_excess"}
    assert [(one.control_asr, one.excess) for one in beside] == [(0.0, 1.0), (0.0, 0.25)]


def estimate(value: float, margin: float = 0.01) -> Estimate:
    return Estimate(value, low=value - margin, high=value + margin, confidence=0.95, n=100, method="made up")


def ranked(name: str, asr: float, excess: float | None = None) -> Ranked:
    control = None if excess is None else estimate(asr - excess)
    return Ranked(
        name, estimate(asr), estimate(asr / 2), "cat +0.1", control, None if excess is None else estimate(excess)
    )


def test_the_table_is_by_excess_where_there_is_one() -> None:
    ranking = worst_first([ranked("noise", 0.8, -0.1), ranked("blur", 0.5, 0.2), ranked("dark", 0.6, 0.1)])
    assert [line.rstrip() for line in ranking_lines(ranking, width=106)] == [
        "rank  intervention  asr                   skew   gained most  control  excess",
        "   1  blur          0.500 [0.490, 0.510]  0.250  cat +0.1     0.300    0.200 [0.190, 0.210]     ##########",
        "   2  dark          0.600 [0.590, 0.610]  0.300  cat +0.1     0.500    0.100 [0.090, 0.110]     #####",
        "   3  noise         0.800 [0.790, 0.810]  0.400  cat +0.1     0.900    -0.100 [-0.110, -0.090]",
    ]


@given(
    st.floats(0, 1)
    .flatmap(lambda low: st.tuples(st.just(low), st.floats(low, 1)))
    .flatmap(lambda ends: st.tuples(st.just(ends), st.floats(*ends)))
)
def test_todays_level_passes_today_and_is_the_upper_end_in_three_decimals(
    given: tuple[tuple[float, float], float],
) -> None:
    (low, high), value = given
    limit = todays_limit(Estimate(value, low=low, high=high))
    assert limit == round(limit, 3)
    assert value <= limit + 1e-9
    assert high - 1e-9 <= limit < high + 0.001


SCANNED = ScanInfo("pets", "val", None, 500, 5000, datetime.date(2025, 1, 31))


def markers(text: str, function: str = "test_nothing_inherited") -> list[str]:
    functions = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    if function not in functions:
        return []
    # Without the plugin there is no such fixture, and nothing passes by its empty body.
    assert [argument.arg for argument in functions[function].args.args] == ["bias"]
    return [ast.unparse(decorator).partition("pytest.mark.")[2] for decorator in functions[function].decorator_list]


def test_the_file_has_a_marker_an_intervention_the_worst_first() -> None:
    text = first_tests_text([ranked("noise", 0.8), ranked("blur", 0.1999)], SCANNED)
    assert markers(text) == [
        "bias_intervention('noise', max_asr=0.81)",
        "bias_intervention('blur', max_asr=0.21)",
    ]
    assert "  # 0.800\n" in text
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring is not None
    assert "pets" in docstring
    assert "2025-01-31 on 500 of 5,000 images of val" in docstring


def test_beside_a_control_the_limits_are_on_the_excess_and_not_below_zero() -> None:
    scanned = ScanInfo("pets", "val", "scratch", 5000, 5000, datetime.date(2025, 1, 31))
    text = first_tests_text([ranked("blur", 0.5, 0.2), ranked("noise", 0.8, -0.1)], scanned)
    assert markers(text) == [
        "bias_intervention('blur', max_asr_excess=0.21)",
        "bias_intervention('noise', max_asr_excess=0)",
    ]
    assert "on 5,000 images of val, beside the control scratch" in text


def test_what_no_limit_can_hold_is_expected_to_fail() -> None:
    ranking = [ranked("chain-link", 1.0), ranked("noise", 0.995), ranked("blur", 0.5)]
    text = first_tests_text(ranking, SCANNED)
    assert markers(text) == ["bias_intervention('blur', max_asr=0.51)"]
    # The lower ends of the intervals: today's model exceeds them, a better one does not.
    assert markers(text, "test_worst_of_all") == [
        'xfail(strict=True, reason="no limit is above today\'s asr")',
        "bias_intervention('chain-link', max_asr=0.99)",
        "bias_intervention('noise', max_asr=0.985)",
    ]
    alone = first_tests_text(ranking[:1], SCANNED)
    assert markers(alone) == []
    assert len(markers(alone, "test_worst_of_all")) == 2
    assert markers(first_tests_text(ranking[2:], SCANNED), "test_worst_of_all") == []


@given(st.floats(0.001, 1).flatmap(lambda value: st.tuples(st.just(value), st.floats(0, value))))
def test_what_is_expected_to_fail_does_today(given: tuple[float, float]) -> None:
    value, low = given
    limit = limit_to_come(Estimate(value, low=low, high=1.0))
    assert 0 <= limit < value
    assert limit <= max(low, 1e-9) + 1e-9
    assert limit > min(low, value - 0.001) - 0.001 - 1e-9


def test_names_of_any_kind_stay_what_they_are() -> None:
    name, model = 'a"quote\\', 'C:\\new\\"""pets"""'
    text = first_tests_text([ranked(name, 0.5)], ScanInfo(model, "val", None, 5, 5, datetime.date(2025, 1, 31)))
    assert markers(text) == [f"bias_intervention({name!r}, max_asr=0.51)"]
    assert "C:\\new\\'''pets'''" in (ast.get_docstring(ast.parse(text)) or "")


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf", ".PNG"])
def test_the_plot_is_the_same_file_for_the_same_ranking(suffix: str, tmp_path: Path) -> None:
    ranking = scanned({"yellow": Square(), "gray": Grayscale()}, brightest(), brightest(0.5)).ranking
    content = []
    for name in ("one", "two"):
        path = tmp_path / f"{name}{suffix}"
        require_plot(path)
        ranking.save(path)
        content.append(path.read_bytes())
    assert len(content[0]) > 1000
    assert content[0] == content[1]


def test_a_plot_that_cannot_be_drawn_is_told_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for plot, message in [("a.gif", ".svg, .png, .pdf"), ("missing/a.svg", "no directory missing")]:
        assert main(["scan", "--model=nothing:a", "--data=nothing:b", "--plot", plot]) == 2
        assert message in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SpecError, match=r"pip install 'pytest-biastransfer\[report\]'"):
        require_plot(tmp_path / "a.svg")


def test_a_file_that_is_there_is_told_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("test_bias.py").write_text("mine")
    for arguments, message in [
        ([], "test_bias.py: exists already and is not overwritten; name another file, --out"),
        (["--out=tests"], "--out tests: expected a file of Python code"),
        (["--out=missing/test_it.py"], "the directory missing does not exist"),
    ]:
        assert main(["scan", "--model=nothing:a", "--data=nothing:b", *arguments]) == 2
        assert message in capsys.readouterr().err
    assert Path("test_bias.py").read_text() == "mine"
    with pytest.raises(SystemExit, match="2"):
        main(["scan", "--max-images=none"])
    assert "got 'none', expected a whole number above 0" in capsys.readouterr().err


def test_progress_says_which_intervention_it_is() -> None:
    terminal = Terminal()
    with StreamLine(terminal) as progress:
        progress.begin("2 of 12: chain-link")
        progress.show(Progress("a", 100, 5000, 100, seconds=0.5))
        progress.show(Progress("a", 1000, 5000, 1000, seconds=4))
    assert terminal.getvalue().split("\x1b[K") == [
        "\r2 of 12: chain-link",
        "\r2 of 12: chain-link  predicting 1,000 of 5,000 images, 250/s, 16 s left",
        "\r",
        "",
    ]
    silent = io.StringIO()
    with StreamLine(silent) as progress:
        progress.begin("2 of 12: chain-link")
    assert silent.getvalue() == ""


def test_the_list_is_there_at_once() -> None:
    code = (
        "import sys; from pytest_biastransfer.__main__ import main; main(['list']); "
        "print([name for name in ('torch', 'numpy', 'scipy', 'PIL', 'matplotlib', '_pytest') if name in sys.modules])"
    )
    # Not a fork, which has all of that.
    done = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# From here on commands are typed in a fresh directory.
NETS = """
import os
import signal
import sys

import torch

# Not in the module: what changes in it would make the model another one.
sys.seen_images = 0


class Brightest(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.eye(3))
        self.bias = torch.nn.Parameter(torch.zeros(3))

    def forward(self, images):
        sys.seen_images += len(images)
        if sys.seen_images > getattr(sys, "interrupted_at", 1000000):
            os.kill(os.getpid(), signal.SIGINT)
        return images.mean(dim=(2, 3)) @ self.weight + self.bias
"""
COUNTED = (
    "import os, runpy, sys; sys.argv = ['pytest_biastransfer', *sys.argv[1:]]; code = 0\n"
    # Not read by the model: what a model reads is part of what its predictions are known by.
    "sys.interrupted_at = int(os.environ.get('INTERRUPTED_AT', '1000000'))\n"
    "try: runpy.run_module('pytest_biastransfer', run_name='__main__', alter_sys=True)\n"
    "except SystemExit as end: code = end.code\n"
    "sys.stderr.write(f'forward passes: {getattr(sys, \"seen_images\", 0)}\\n'); sys.exit(code)"
)
CONFTEST = """
from pytest_biastransfer import Square


def pytest_bias_interventions():
    return {"company-logo": Square(size=0.3, color="red")}
"""
PYPROJECT = """
[tool.pytest_biastransfer.interventions.small-square]
type = "Square"
size = 0.2
"""
MODEL = "checkpoint:brightest.pt?arch=python:nets:Brightest&name=brightest"
CONTROL = "checkpoint:steady.pt?arch=python:nets:Brightest&name=steady"
DATA = "imagefolder:photos"
NAMES = len(BUILT_IN.names)


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A directory with two checkpoints and twenty pictures."""
    monkeypatch.setenv("COLUMNS", "120")
    pytester.makepyfile(nets=NETS)
    for name, blue in (("brightest", 0.0), ("steady", 0.2)):
        state = {"weight": torch.eye(3), "bias": torch.tensor([0.0, 0.0, blue])}
        torch.save(state, pytester.path / f"{name}.pt")
    write_photos(pytester.path / "photos")
    return pytester


def write_photos(place: Path) -> None:
    from PIL import Image

    for name in ("a", "b", "c"):
        (place / name).mkdir(parents=True)
    for number in range(N):
        color = (80, 79, 81) if number < 5 else (0, 0, 255)
        Image.new("RGB", (32, 32), color).save(place / "c" / f"{number:02}.png")
    # Folders without a picture would be an error, and these two are not blue.
    Image.new("RGB", (32, 32), (255, 0, 0)).save(place / "a" / "0.png")
    Image.new("RGB", (32, 32), (0, 255, 0)).save(place / "b" / "0.png")


ALL = N + 2


def typed(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Type a command; its last line on stderr says how many images were passed through a model."""
    return project.run(sys.executable, "-c", COUNTED, *arguments)


def passes(result: pytest.RunResult) -> int:
    return int(result.errlines[-1].removeprefix("forward passes: "))


@pytest.mark.parametrize("controlled", [False, True])
def test_init_scan_and_pytest_give_green_tests_that_evaluate_nothing(
    project: pytest.Pytester, controlled: bool
) -> None:
    project.makeconftest(CONFTEST)
    (project.path / "pyproject.toml").write_text(PYPROJECT)
    control = ["--control", CONTROL] if controlled else []
    assert typed(project, "init", "--model", MODEL, "--data", DATA, *control).ret == 0
    scan = typed(project, "scan", "--plot", "ranking.svg")
    assert scan.ret == 0
    total = ALL * (NAMES + 3) * (1 + controlled)
    beside = ", beside the control steady" if controlled else ""
    scan.stdout.fnmatch_lines(
        [
            "rank*intervention*asr*skew*gained most*" + "control*excess" * controlled,
            "*company-logo*",
            "brightest on photos: accuracy 1.000 [[]0.846, 1.000], n = 22; 3 of 3 classes predicted, at most 90.9 % c *",
            f"{NAMES + 2} interventions, brightest on 22 images of photos{beside}: {total} images evaluated, 0 *reused",
            "*pytest test_bias.py",
        ]
    )
    scan.stdout.no_fnmatch_line("*pytest does not know*")
    assert passes(scan) == total + predicted_twice(ALL) * (1 + controlled)
    assert (project.path / "ranking.svg").exists()
    result = project.run(sys.executable, "-m", "pytest", "--strict-markers", "-W", "error")
    text = (project.path / "test_bias.py").read_text()
    held, unheld = len(markers(text)), max(len(markers(text, "test_worst_of_all")) - 1, 0)
    assert held + unheld == NAMES + 2
    result.assert_outcomes(passed=held, xfailed=unheld)
    result.stdout.fnmatch_lines(["*; 0 images evaluated, *"])
    again = typed(project, "scan")
    assert again.ret == 2
    assert passes(again) == 0
    again.stderr.fnmatch_lines(["error: test_bias.py: exists already*--out*"])


@pytest.mark.parametrize("controlled", [False, True])
def test_severities_are_measured_and_tested(project: pytest.Pytester, controlled: bool) -> None:
    control = ["--control", CONTROL] if controlled else []
    assert typed(project, "init", "--model", MODEL, "--data", DATA, *control).ret == 0
    scan = typed(project, "scan", "--severities")
    assert scan.ret == 0
    total = ALL * (NAMES + 1 + 4 * 5) * (1 + controlled)
    scan.stdout.fnmatch_lines(
        [
            "severity          1      2      3      4      5      mean   asr above 0.1 from",
            "gaussian_noise    *severity * (scale 0.*)",
            "gaussian_blur     0.000  0.000  0.000  0.000  0.000  0.000  none",
            "pixelate          0.000  0.000  0.000  0.000  0.000  0.000  none",
            f"{NAMES} interventions and 4 ladders of severities, brightest on *: {total:,} images evaluated, 0 *reused",
        ]
    )
    metric = "max_mean_asr_excess" if controlled else "max_mean_asr"
    assert (project.path / "test_bias.py").read_text().count(f"{metric}=") == 4
    result = project.run(sys.executable, "-m", "pytest", "--strict-markers", "-W", "error", "-k", "degradations")
    result.assert_outcomes(passed=4, deselected=NAMES)
    result.stdout.fnmatch_lines(["*; 0 images evaluated, *"])


def test_a_limit_of_severities_is_a_share(project: pytest.Pytester) -> None:
    result = typed(project, "scan", "--severities=10", "--model", MODEL, "--data", DATA)
    assert result.ret == 2
    result.stderr.fnmatch_lines(["*--severities: got '10', expected a number between 0 and 1, such as 0.1"])


def test_a_model_that_does_not_tell_classes_apart_gets_no_tests(project: pytest.Pytester) -> None:
    from PIL import Image

    torch.save({"weight": torch.zeros(3, 3), "bias": torch.zeros(3)}, project.path / "brightest.pt")
    for name in ("a", "b"):
        for number in range(1, 12):
            Image.new("RGB", (32, 32), (255, 20 * number, 0)).save(project.path / "photos" / name / f"{number}.png")
    scan = typed(project, "scan", "--model", MODEL, "--data", DATA)
    assert scan.ret == 2
    scan.stdout.fnmatch_lines(
        ["  degenerate: a is predicted for 100 % of the 44 images, and no class has more than 45.5 % of the labels"]
    )
    scan.stderr.fnmatch_lines(
        ["error: no file of tests is written: limits on a model that does not distinguish its classes*"]
    )
    assert not (project.path / "test_bias.py").exists()


def test_what_no_limit_can_hold_is_said_and_turns_red_when_the_model_gets_better(project: pytest.Pytester) -> None:
    project.makeconftest(
        """
        from pytest_biastransfer import Custom

        def pytest_bias_interventions():
            return {"rolled": Custom(lambda images: images.roll(1, dims=1), name="rolled")}
        """
    )
    assert typed(project, "init", "--model", MODEL, "--data", DATA).ret == 0
    scan = typed(project, "scan")
    scan.stdout.fnmatch_lines(
        [
            "   1  rolled *1.000 *",
            "no limit can hold rolled (asr 1.000): expected to fail (xfail, strict), so that it turns red when the model*",
            "they pass now, or fail as expected, with stored predictions:",
        ]
    )
    result = project.run(sys.executable, "-m", "pytest")
    result.assert_outcomes(passed=NAMES, xfailed=1)
    shutil.copy(project.path / "steady.pt", project.path / "brightest.pt")
    result = project.run(sys.executable, "-m", "pytest")
    result.assert_outcomes(passed=NAMES, failed=1)
    result.stdout.fnmatch_lines(["FAILED test_bias.py::test_worst_of_all?rolled? - *XPASS(strict)*"])


def test_without_init_it_says_what_to_type_and_that_works(project: pytest.Pytester) -> None:
    scan = typed(project, "scan", "--model", MODEL, "--data", DATA, "--max-images=10", "--store=kept")
    assert scan.ret == 0
    assert passes(scan) == 10 * (NAMES + 1) + predicted_twice(10)
    lines = [line.strip() for line in scan.outlines]
    (init,) = [line for line in lines if line.startswith("biastransfer init")]
    tests = lines[-1]
    assert tests == "pytest --bias-store=kept --bias-max-images=10 test_bias.py"
    assert (
        project.run(
            "bash", "-c", init.replace("biastransfer", str(Path(sys.executable).with_name("biastransfer")), 1)
        ).ret
        == 0
    )
    result = project.run("bash", "-c", f"{sys.executable} -m {tests}")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*; 0 images evaluated, *"])
    assert not (project.path / ".pytest_cache" / "d" / "biastransfer").exists()


def test_a_decision_is_ranked_and_the_generated_tests_judge_it(project: pytest.Pytester) -> None:
    arguments = ("--model", MODEL, "--data", DATA, "--store=kept", "--positive=0")
    result = typed(project, "scan", *arguments)
    assert result.ret == 0, result.stderr.str()
    text = (project.path / "test_bias.py").read_text()
    assert text.count("positive=0, max_asr=") == NAMES
    # Of 22 images, a yellow square turns five into those of the first class.
    assert 'bias_intervention("yellow-square", positive=0, max_asr=' in text
    assert "  # 0.227" in text


def test_ctrl_c_prints_what_is_measured_and_loses_nothing(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["scan", "--model", MODEL, "--data", DATA]
    with monkeypatch.context() as patch:
        # In the midst of the fourth intervention.
        patch.setenv("INTERRUPTED_AT", str(predicted_twice(ALL) + ALL * 4))
        stopped = typed(project, *arguments)
    assert stopped.ret == 130
    stopped.stdout.fnmatch_lines(
        ["rank*", "   1  *", "   3  *", f"interrupted after 3 of {NAMES} interventions*their predictions are stored*"]
    )
    stopped.stdout.no_fnmatch_line("   4  *")
    assert "Traceback" not in stopped.stderr.str()
    assert not (project.path / "test_bias.py").exists()
    rest = typed(project, *arguments)
    assert rest.ret == 0
    assert passes(rest) == ALL * (NAMES + 1 - 4)
    rest.stdout.fnmatch_lines([f"*: {ALL * (NAMES - 3)} images evaluated, {ALL * 4} predictions reused"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model=checkpoint:missing.pt?arch=python:nets:Brightest", f"--data={DATA}"], "error: model: *missing.pt*"),
        ([f"--model={MODEL}", "--data=imagefoler:photos"], "error: data: *did you mean imagefolder*"),
        ([f"--model={MODEL}", f"--data={DATA}", "--control=nonsense"], "error: control: *scheme:rest*"),
        ([f"--model={MODEL}"], "error: scan: without --data*"),
        ([], "error: scan: which model*--model=SPEC*"),
        ([f"--model={MODEL}", f"--data={DATA}", "--device=abacus"], "error: device 'abacus'*"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(project: pytest.Pytester, arguments: list[str], message: str) -> None:
    result = typed(project, "scan", *arguments)
    assert result.ret == 2
    result.stderr.fnmatch_lines([message])
    assert "Traceback" not in result.stderr.str()
    assert not (project.path / "test_bias.py").exists()


def test_where_pytest_does_not_start_there_is_no_scan(project: pytest.Pytester) -> None:
    project.makeini("[pytest]\nbias_batch_size = many\n")
    result = typed(project, "scan", "--model", MODEL, "--data", DATA)
    assert result.ret == 2
    result.stderr.fnmatch_lines(["*bias_batch_size*many*", "error: pytest does not start in *--collect-only*"])
    project.makeini("[pytest]\naddopts = -p no:biastransfer\n")
    result = typed(project, "scan", "--model", MODEL, "--data", DATA)
    result.stderr.fnmatch_lines(["error: pytest does not load the plugin*"])
