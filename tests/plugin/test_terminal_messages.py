"""What a user sees: green, red, the reasons, the summary."""

from __future__ import annotations

import pytest

from tests.conftest import ALWAYS_BLUE, Run, each_mode

MIXED = """
import pytest
from pytest_biastransfer import Square

@pytest.mark.bias_intervention("yellow-square", max_asr=0.05, max_skew=0.3)
def test_red():
    pass

@pytest.mark.bias_intervention("yellow-square", max_asr=0.25)
def test_limit_is_met_exactly(bias):
    assert bias.most_gained.name == "red"
    assert bias.asr == bias.skew == 0.25
    assert bias.n == 20

@pytest.mark.xfail(strict=True, reason="known")
@pytest.mark.bias_intervention("yellow-square", max_accuracy_drop=0.1)
def test_known():
    pass

@pytest.mark.xfail(strict=True, reason="expected red")
@pytest.mark.bias_intervention(Square(color="blue"), max_asr=0)
def test_unexpectedly_green():
    pass

def test_other():
    pass
"""


@each_mode
def test_outcomes_and_summary(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(test_mixed=MIXED)
    result = run("-v")
    result.assert_outcomes(failed=2, passed=2, xfailed=1)
    result.stdout.fnmatch_lines(
        [
            "*= bias transfer =*",
            "  case  * metric * value *limit * outcome  verdict",
            "test_mixed.py::test_red",
            "  yellow-square  asr *0.250 *<= 0.05  FAILED   above limit",
            "                 skew *0.250 *<= 0.3            holds (within noise)",
            "test_mixed.py::test_limit_is_met_exactly",
            "  yellow-square  asr *0.250 *<= 0.25  passed   holds (within noise)",
            "test_mixed.py::test_known",
            "  yellow-square  accuracy_drop *0.250 *<= 0.1   xfailed  above limit (not significant)",
            "test_mixed.py::test_unexpectedly_green",
            "  square-blue    asr *0.000 *<= 0     FAILED   holds (within noise)",
            "4 bias tests: 2 failed, 1 passed, 1 xfailed; 60 images evaluated, 100 predictions reused",
        ],
        consecutive=False,
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@each_mode
def test_failing_expectation_explains_itself(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(
        test_red="""
        import pytest

        @pytest.mark.bias_intervention("yellow-square", max_asr=0.05, max_skew=0.3, control="control", max_asr_excess=0.5)
        def test_red():
            pass

        @pytest.fixture
        def control():
        """
        + ALWAYS_BLUE
    )
    result = run()
    result.stdout.fnmatch_lines(
        [
            "bias: 25 % of the predictions flip with yellow-square (asr 0.250), limit 0.05",
            "",
            "  test          test_red.py::test_red[[]yellow-square]",
            "  intervention  yellow-square = Square(size=0.25, anchor='top-left', color=(255, 255, 0))",
            "  model         brightest",
            "  dataset       list, 20 images",
            "  control       always-blue",
            "  fixtures      transferred_model, bias_dataset, control",
            "",
            "  FAILED  asr         0.250  (95 % interval 0.087 to 0.491, n = 20)  limit 0.05",
            "                      control 0.000 [[]0.000, 0.168]",
            "  ok      skew        0.250  (95 % interval * to *, n = 20)  limit 0.3, within noise",
            "                      control 0.000 [[]0.000, 0.168]",
            "  ok      asr_excess  0.250  (95 % interval * to *, n = 20)  limit 0.5",
            "                      asr 0.250 [[]0.087, 0.491], control 0.000 [[]0.000, 0.168]",
            "",
            "  class shares changed:",
            "    red   +0.250  ++++++++++",
            "    blue  -0.250  ----------",
            "  flipped images: 5, the first:",
            "    image 0  label blue  blue -> red",
            "    image 1  label blue  blue -> red",
            "    image 2  label blue  blue -> red",
            "    image 3  label blue  blue -> red",
            "    image 4  label blue  blue -> red",
            "",
            "  what to do next:",
            "    look at the images:",
            '      pytest *--bias-report=bias.html "test_red.py::test_red[[]yellow-square]"',
        ],
        consecutive=True,
    )
    assert "pytest_biastransfer/" not in result.stdout.str(), "a traceback of ours"


def test_quiet_run_says_one_sentence(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(test_mixed=MIXED)
    result = run("-q", "--no-header", "-k", "met_exactly")
    assert "bias transfer" not in result.stdout.str()
    result.stdout.fnmatch_lines(["1 bias test: 1 passed; 40 images evaluated, 0 predictions reused"])


@each_mode
def test_session_without_bias_tests_says_nothing(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile("def test_other(): pass")
    result = run()
    result.assert_outcomes(passed=1)
    for words in ("bias transfer", "bias test", "images evaluated"):
        assert words not in result.stdout.str()
    assert not list(colors.path.glob("**/biastransfer")), "a session that does not use the plugin leaves no trace"


@pytest.mark.usefixtures("warm_executable")
def test_figures_do_not_depend_on_workers_or_batch_size(
    colors: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    colors.makepyfile(
        """
        import pytest, torch
        from torchvision.transforms import v2
        from pytest_biastransfer import Blur, Circle, Custom, Grayscale, Model, Preprocess

        # Its weights are random, so that it tells nothing apart.
        @pytest.fixture(scope="session")
        def transferred_model():
            torch.manual_seed(0)
            module = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(48, 10))
            return Model(module, preprocess=Preprocess(mean=0.5, std=0.05))

        @pytest.fixture(scope="session")
        def bias_dataset():
            pixels = torch.rand(300, 3, 24, 24, generator=torch.Generator().manual_seed(1))
            return [(image, i % 10) for i, image in enumerate(pixels)]

        @pytest.mark.bias_intervention("yellow-square", Grayscale() | Circle(size=0.1), Blur(sigma=0.02),
                                       Custom(v2.RandomErasing(p=0.5)), max_asr=1, allow_degenerate=True)
        def test_all(bias):
            assert 0.02 < bias.asr < 0.9
        """
    )
    tables: dict[str, list[str]] = {}
    for mode in (["-p", "no:xdist"], ["-n0"], ["-n2"], ["--bias-batch-size=1"], ["--bias-batch-size=100"]):
        store = f"--bias-store=store{len(tables)}"
        result = colors.runpytest_inprocess(*mode, store, "-v")
        result.assert_outcomes(passed=4)
        tables[" ".join(mode)] = [line for line in result.stdout.lines if "  <= 1 " in line]
        assert len(tables[" ".join(mode)]) == 4
    assert len({tuple(table) for table in tables.values()}) == 1, tables


@each_mode
def test_second_run_evaluates_no_image(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(test_mixed=MIXED)
    first, second = run(), run()
    first.stdout.fnmatch_lines(["*; 60 images evaluated, 100 predictions reused"])
    second.stdout.fnmatch_lines(["*; 0 images evaluated, 160 predictions reused"])
    third = run("--cache-clear")
    third.stdout.fnmatch_lines(["*; 60 images evaluated, 100 predictions reused"])


def test_changed_model_is_evaluated_again(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(test_mixed=MIXED)
    run()
    conftest = colors.path / "conftest.py"
    conftest.write_text(conftest.read_text().replace("@ self.weight", "@ self.weight * 2"))
    run().stdout.fnmatch_lines(["*; 60 images evaluated, 100 predictions reused"])


def test_documentation(run: Run) -> None:
    markers = run("--markers")
    markers.stdout.fnmatch_lines(["@pytest.mark.bias_intervention(*interventions, model='transferred_model', *"])
    fixtures = run("--fixtures", "-v")
    for fixture in ("source_model", "control_model", "bias_device", "bias"):
        fixtures.stdout.fnmatch_lines([f"{fixture}* -- *pytest_biastransfer/plugin/fixtures.py:*", "    *"])
    options = run("--help")
    options.stdout.fnmatch_lines(["bias tests of transferred models:", "*--bias-device=DEVICE*"])


def test_long_names_are_above_their_cases(colors: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    colors.makepyfile(
        test_names="""
        import pytest

        @pytest.mark.bias_intervention("yellow-square", max_asr=1)
        class TestLong:
            def test_of_a_name_that_fills_a_line_by_itself_and_more(self): pass
            def test_short(self): pass
        """
    )
    for columns in (140, 80, 60):
        monkeypatch.setenv("COLUMNS", str(columns))
        result = colors.runpytest_inprocess("-p", "no:xdist", "-v")
        result.stdout.fnmatch_lines(
            ["test_names.py::TestLong::test_short", "  yellow-square  *passed*"], consecutive=True
        )
        assert max(len(line) for line in result.stdout.lines if "0.250" in line) <= columns
    # Where the name of a function is too long by itself, its file is above it, and both can be read.
    above = result.stdout.lines.index("test_names.py::")
    assert result.stdout.lines[above + 1].startswith("TestLong::test_of")


def test_names_can_be_typed_where_the_user_is(colors: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    colors.makepyfile(test_mixed=MIXED)
    colors.makeini("[pytest]")
    colors.mkdir("sub")
    monkeypatch.chdir(colors.path / "sub")
    monkeypatch.setenv("COLUMNS", "120")
    result = colors.runpytest_inprocess("-p", "no:xdist", "..", "-k", "test_red")
    result.stdout.fnmatch_lines(
        [
            "  test          ../test_mixed.py::test_red[[]yellow-square]",
            "../test_mixed.py::test_red",
            "  yellow-square * FAILED *",
        ]
    )


def test_a_rule_that_so_few_images_can_rarely_decide(colors: pytest.Pytester) -> None:
    colors.makepyfile(
        """
        import pytest

        @pytest.mark.bias_intervention("grayscale", max_asr=0.3, rule="certain")
        @pytest.mark.bias_intervention("yellow-square", max_asr=0.3, rule="certain")
        @pytest.mark.bias_intervention("yellow-square", max_conditional_asr=0.2, rule="significant")
        @pytest.mark.bias_intervention("yellow-square", max_asr=0.3)
        @pytest.mark.bias_intervention("yellow-square", max_asr=0.9, rule="certain")
        def test_rules(): pass
        """
    )
    lines = colors.runpytest_inprocess("-p", "no:xdist").stdout.lines
    first = next(number for number, line in enumerate(lines) if line.startswith("max_"))
    # By scipy.stats: beta.ppf for the intervals, binom.cdf for the shares of cases. A command stays in one line.
    assert lines[first : first + 6] == [
        'max_asr=0.3 with rule="certain" rarely passes with 20 images: in 18 % of the',
        "  cases where the true share is 0.15. About 90 images pass in 90 % (see:",
        "  biastransfer power --limit=0.3 --images=90)",
        'max_conditional_asr=0.2 with rule="significant" rarely fails with 20 images: in',
        "  40 % of the cases where the true share is 0.4. About 56 images fail in 90 %",
        "  (see: biastransfer power --limit=0.2 --images=56)",
    ]
