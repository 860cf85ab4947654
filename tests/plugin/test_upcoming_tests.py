"""Tests that are still to run: what they need is computed with the first one, and nothing more."""

from __future__ import annotations

from collections import Counter

import pytest

from pytest_biastransfer.evaluation import local_executor
from tests.conftest import Run

# Images of bytes, six chunks of them.
CONFTEST = """
import pytest
import torch
from pytest_biastransfer import Model, Preprocess


class Net(torch.nn.Module):
    def __init__(self, seed):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(192, 3, generator=torch.Generator().manual_seed(seed)))

    def forward(self, images):
        return images.flatten(1) @ self.weight


class Photos:
    classes = ["a", "b", "c"]

    def __len__(self):
        return 600

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        light = {"light": "day" if index % 2 else "night"}
        return torch.randint(0, 256, (3, 8, 8), generator=generator, dtype=torch.uint8), index % 3, light


def model(seed):
    return Model(Net(seed), preprocess=Preprocess(mean=0, std=1), classes=["a", "b", "c"])


@pytest.fixture(scope="session")
def transferred_model():
    return model(0)


@pytest.fixture(scope="session")
def control_model():
    return model(1)


@pytest.fixture
def fresh_model():
    return model(2)


@pytest.fixture(scope="session", params=[3, 4])
def one_of_two(request):
    return model(request.param)


@pytest.fixture(scope="session")
def bias_dataset():
    return Photos()
"""

TESTS = """
import pytest
from pytest_biastransfer import Grayscale, Square

def square(size, **arguments):
    return pytest.mark.bias_intervention(Square(size=size), max_asr=1, allow_degenerate=True, **arguments)

{tests}
"""
OPTIONS = ["-p", "no:cacheprovider", "--bias-store=store", "--bias-device=cpu", "--bias-report=report.json"]


@pytest.fixture(autouse=True)
def _busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the CPU play a device on which no pixels stay."""
    monkeypatch.setattr(local_executor, "computes_beside", lambda device: True)


def stored(pytester: pytest.Pytester, kind: str = "predictions") -> list[int]:
    """Return how many chunks each key has in the store."""
    return sorted(Counter(file.parent for file in pytester.path.glob(f"store/{kind}/*/*.chunk")).values())


def computed(pytester: pytest.Pytester, run: Run, tests: str, *options: str) -> tuple[pytest.RunResult, list[int]]:
    """Run tests; return the number of chunks in the store for each set of predictions, after the first of them."""
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_upcoming=TESTS.format(tests=tests))
    # With -x, the first test is the only one.
    result = run(*OPTIONS, "-x", *options)
    return result, stored(pytester)


FAILS = """
@pytest.mark.bias_intervention(Square(size=0.2), max_asr=0, allow_degenerate=True)
def test_first(): ...
"""


@pytest.mark.parametrize(
    ("tests", "options", "chunks"),
    [
        # The clean images, and an intervention of each test.
        ("@square(0.3)\n@square(0.4)\ndef test_it(): ...", [], [6, 6, 6, 6]),
        ("@square(0.3)\ndef test_it(): ...\n@square(0.4)\ndef test_other(): ...", ["-k", "not other"], [6, 6, 6]),
        ("@pytest.mark.skip\n@square(0.3)\ndef test_it(): ...", [], [6, 6]),
        ("@pytest.mark.skipif(True, reason='no')\n@square(0.3)\ndef test_it(): ...", [], [6, 6]),
        ("@pytest.mark.xfail(run=False)\n@square(0.3)\ndef test_it(): ...", [], [6, 6]),
        ("@pytest.mark.xfail\n@square(0.3)\ndef test_it(): ...", [], [6, 6, 6]),
        # Not of what may be decided early: its first look is at fewer images than are computed together here.
        ("@square(0.3, early_stop=True)\ndef test_it(): ...", [], [6, 6]),
        # Other models are not this one.
        ("@square(0.3, model='control_model')\ndef test_it(): ...", [], [6, 6]),
        ("@square(0.3, model='fresh_model')\ndef test_it(): ...", [], [6, 6]),
        ("@square(0.3, model='control_model', control='transferred_model')\ndef test_it(): ...", [], [6, 6, 6]),
        # A gap needs the clean images.
        ("@pytest.mark.bias_gap('light', 'tpr', positive='a', max_gap=1)\ndef test_it(): ...", [], [6, 6]),
    ],
)
def test_only_what_the_selected_tests_need_is_computed_ahead(
    run: Run, pytester: pytest.Pytester, tests: str, options: list[str], chunks: list[int]
) -> None:
    result, found = computed(pytester, run, FAILS + tests, *options)
    result.assert_outcomes(failed=1, deselected=len(options) // 2)
    assert found == chunks


SEVERAL = """
@square(0.2, control="control_model")
def test_first(bias):
    assert bias.n == 600

@square(0.3)
@pytest.mark.bias_intervention(Grayscale(), max_asr=1, allow_degenerate=True, control="control_model")
@pytest.mark.bias_gap("light", "tpr", positive="a", max_gap=1, allow_degenerate=True)
@pytest.mark.bias_intervention(Square(size=0.1, stage="source"), max_asr=1, allow_degenerate=True)
def test_others(bias): ...
"""


def test_tests_that_come_later_find_everything(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_upcoming=TESTS.format(tests=SEVERAL))
    result = run(*OPTIONS, "-v")
    result.assert_outcomes(passed=5)
    # 600 images each: both models, clean and with the first square and in gray; a square for one model, and one before resizing.
    assert stored(pytester) == [6] * 8
    result.stdout.fnmatch_lines(["*; 4,800 images evaluated*"])


def test_workers_divide_what_is_ahead(run_elsewhere: Run, pytester: pytest.Pytester) -> None:
    busy = "from pytest_biastransfer.evaluation import local_executor\nlocal_executor.computes_beside = lambda device: True\n"
    pytester.makeconftest(busy + CONFTEST)
    pytester.makepyfile(test_upcoming=TESTS.format(tests=SEVERAL))
    result = run_elsewhere(*OPTIONS, "-n2")
    result.assert_outcomes(passed=5)
    assert stored(pytester) == [6] * 8
    result.stdout.fnmatch_lines(["*; 4,800 images evaluated*"])


def test_each_value_of_a_parameter_has_tests_of_its_own(run: Run, pytester: pytest.Pytester) -> None:
    tests = """
@square(0.2, model="one_of_two")
@square(0.3, model="one_of_two")
def test_it(bias):
    assert False

@pytest.mark.parametrize("transferred_model", ["none:a", "none:b"])
@square(0.4)
def test_other(bias): ...
"""
    result, found = computed(pytester, run, tests)
    result.assert_outcomes(failed=1)
    # Of the first model, and not of the second.
    assert found == [6, 6, 6]
    result.stdout.fnmatch_lines(["*; 1,800 images evaluated, 0 predictions reused"])


def test_a_search_takes_nothing_along(run: Run, pytester: pytest.Pytester) -> None:
    tests = """
from pytest_biastransfer import strategies

@pytest.mark.bias_search(strategies.squares(), max_asr=0.5, budget=1, images=100)
def test_search(): ...

@square(0.3)
def test_it(): ...
"""
    result, found = computed(pytester, run, tests)
    assert found.count(6) <= 2, result.stdout.str()
