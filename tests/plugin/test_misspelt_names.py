"""What is misspelt is an error: a marker or an ini key that nobody knows would leave a green test that judges nothing."""

from __future__ import annotations

import pytest

from pytest_biastransfer.plugin.collection.parametrize import _similar_marker
from tests.conftest import Run, each_mode

ABOVE_A_FUNCTION = """
import pytest

{marker}
def test_it():
    pass

def test_other():
    pass
"""
IN_A_MODULE = """
import pytest

pytestmark = [pytest.mark.filterwarnings("default"), {marker}]

def test_it():
    pass
"""
ABOVE_A_CLASS = """
import pytest

@{marker}
class TestIt:
    def test_it(self):
        pass
"""
OF_A_PARAMETER = """
import pytest

@pytest.mark.parametrize("n", [1, pytest.param(2, marks={marker})])
def test_it(n):
    pass
"""
ON_A_TEST_CASE = """
import unittest
import pytest

class TestIt(unittest.TestCase):
    @{marker}
    def test_it(self):
        pass
"""
MARKER = 'pytest.mark.bias_interventions("yellow-square", max_asr=0.5)'


def refused(run: Run, *arguments: str) -> pytest.RunResult:
    """Run pytest, which nothing keeps from seeing the marker as the project's tests do without --strict-markers."""
    result = run("-W", "ignore", *arguments)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.assert_outcomes(errors=1)
    return result


@each_mode
def test_a_misspelt_marker_is_a_collection_error_with_the_nearest_name(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(ABOVE_A_FUNCTION.replace("{marker}", f"@{MARKER}"))
    result = run("-W", "ignore")
    assert result.ret not in (0, 5)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*::test_it: unknown marker 'bias_interventions', which nobody would judge; did you mean bias_intervention?"]
    )


@pytest.mark.parametrize("code", [IN_A_MODULE, ABOVE_A_CLASS, OF_A_PARAMETER, ON_A_TEST_CASE])
def test_wherever_it_is_written(colors: pytest.Pytester, code: str) -> None:
    colors.makepyfile(code.replace("{marker}", MARKER))
    result = refused(colors.runpytest_inprocess, "-p", "no:xdist")
    result.stdout.fnmatch_lines(["*::test_it: unknown marker 'bias_interventions'*did you mean bias_intervention?"])


def test_one_that_a_hook_adds_fails_its_test(colors: pytest.Pytester) -> None:
    with (colors.path / "conftest.py").open("a") as conftest:
        conftest.write(
            "\n\ndef pytest_collection_modifyitems(items):\n"
            "    for item in items:\n        item.add_marker(pytest.mark.bias_gaps('group', max_gap=0.1))\n"
        )
    colors.makepyfile("def test_it(): pass")
    result = colors.runpytest_inprocess("-p", "no:xdist", "-W", "ignore")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*unknown marker 'bias_gaps'*did you mean bias_gap?"])


def test_strict_markers_say_the_nearest_name_too(colors: pytest.Pytester) -> None:
    colors.makepyfile(ABOVE_A_FUNCTION.replace("{marker}", f"@{MARKER}"))
    result = refused(colors.runpytest_inprocess, "-p", "no:xdist", "--strict-markers")
    result.stdout.fnmatch_lines(["'bias_interventions' not found in `markers` *; did you mean bias_intervention?"])
    colors.makepyfile(ABOVE_A_FUNCTION.replace("{marker}", "@pytest.mark.registered_nowhere"))
    refused(colors.runpytest_inprocess, "-p", "no:xdist", "--strict-markers").stdout.no_fnmatch_line("*did you mean*")


@pytest.mark.parametrize(
    ("marker", "meant"),
    [
        ('bias_Intervention("yellow-square", max_asr=1)', "bias_intervention"),
        ('biasintervention("yellow-square", max_asr=1)', "bias_intervention"),
        ('intervention_bias("yellow-square", max_asr=1)', "bias_intervention"),
        ('bais_intervention("yellow-square", max_asr=1)', "bias_intervention"),
        ('BiasIntervention("yellow-square", max_asr=1)', "bias_intervention"),
        ('bias_intervenion("yellow-square", max_ars=1)', "bias_intervention"),
        ('intervention("yellow-square", max_skew=1)', "bias_intervention"),
        # Whatever it is called, the limit says what it is.
        ('trigger("yellow-square", max_asr=1)', "bias_intervention"),
        ('bias("group", max_gap=0.1)', "bias_gap"),
        ('bias_gap_("group", "fpr")', "bias_gap"),
        ('gap_bias("group", max_gap=0.1)', "bias_gap"),
        ("bias_searches(None, max_asr=0.1)", "bias_search"),
        ("bias_interventions", "bias_intervention"),
    ],
)
def test_many_ways_to_misspell(colors: pytest.Pytester, marker: str, meant: str) -> None:
    colors.makepyfile(ABOVE_A_FUNCTION.replace("{marker}", f"@pytest.mark.{marker}"))
    result = refused(colors.runpytest_inprocess, "-p", "no:xdist")
    result.stdout.fnmatch_lines([f"*unknown marker *, which nobody would judge; did you mean {meant}?"])


@pytest.mark.parametrize(
    "marker",
    [
        "slow",
        "bias",
        "bias_gpu",
        'search("elastic")',
        'gap("6 mm")',
        "flaky(reruns=3, max_runs=5)",
        'intervention("of a surgeon")',  # Registered, as another plugin would have it.
        "tolerance(max_skew=3)",  # Registered too.
        'usefixtures("tmp_path")',
    ],
)
def test_markers_of_others_are_left_alone(colors: pytest.Pytester, marker: str) -> None:
    colors.makeini("[pytest]\nmarkers =\n    intervention(who): somebody else's\n    tolerance: somebody else's\n")
    colors.makepyfile(ABOVE_A_FUNCTION.replace("{marker}", f"@pytest.mark.{marker}"))
    colors.runpytest_inprocess("-p", "no:xdist", "-W", "ignore").assert_outcomes(passed=2)


def test_registering_what_is_misspelt_does_not_help(colors: pytest.Pytester) -> None:
    colors.makeini("[pytest]\nmarkers =\n    bias_interventions: bias tests\n")
    colors.makepyfile(ABOVE_A_FUNCTION.replace("{marker}", f"@{MARKER}"))
    refused(colors.runpytest_inprocess, "-p", "no:xdist", "--strict-markers")


@pytest.mark.parametrize("name", ["parametrize", "skipif", "xfail", "timeout", "asyncio", "django_db", "bias_suite"])
def test_common_markers_look_like_none_of_ours(name: str) -> None:
    assert _similar_marker(name, has_arguments=True) is None


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("bias_compar = require", "bias_compare"),
        ("bias_transfered_model = torchvision:resnet18", "bias_transferred_model"),
        ("bias_max_image = 5", "bias_max_images"),
    ],
)
def test_a_misspelt_key_of_the_ini_file_is_a_usage_error(colors: pytest.Pytester, key: str, meant: str) -> None:
    colors.makeini(f"[pytest]\n{key}\n")
    colors.makepyfile("def test_it(): pass")
    result = colors.runpytest_inprocess("-p", "no:xdist")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*tox.ini: unknown key {key.partition(' ')[0]}; did you mean {meant}? Valid: *"])


def test_keys_of_others_are_left_alone(colors: pytest.Pytester) -> None:
    colors.makeini("[pytest]\nbias_of_mine = 5\nmax_images = 5\n")
    colors.makepyfile("def test_it(): pass")
    colors.runpytest_inprocess("-p", "no:xdist", "-W", "ignore").assert_outcomes(passed=1)
