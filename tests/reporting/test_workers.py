"""A session says whether its workers were worth their start."""

from __future__ import annotations

import pytest

from pytest_biastransfer.reporting.workers import WorkerTime, workers_sentence
from tests.conftest import Run, each_mode


@pytest.mark.parametrize(
    ("workers", "is_said"),
    [
        ([WorkerTime(5, 6, 500), WorkerTime(5, 6, 500)], True),
        # Four workers saved more than one start takes.
        ([WorkerTime(5, 8, 500)] * 4, False),
        # Only one of them had anything to evaluate.
        ([WorkerTime(5, 6, 500), WorkerTime(0, 0, 0)], False),
        ([WorkerTime(5, 6, 500)], False),
        ([], False),
        # Torch was there already.
        ([WorkerTime(0.9, 1, 500), WorkerTime(0.9, 1, 500)], False),
    ],
)
def test_workers_that_did_not_pay_are_named(workers: list[WorkerTime], is_said: bool) -> None:
    assert bool(workers_sentence(workers)) == is_said


@each_mode
@pytest.mark.parametrize("slow", [True, False])
def test_a_session_says_it_once_and_only_of_workers(run: Run, colors: pytest.Pytester, mode: str, slow: bool) -> None:
    conftest = colors.path / "conftest.py"
    conftest.write_text(
        conftest.read_text()
        + f"""
import time
from pytest_biastransfer.evaluation.references import ModelReference

# A model that takes long to load.
get = ModelReference.get

def slowly(self, *arguments):
    if {slow} and not hasattr(self.__class__, "loaded"):
        self.__class__.loaded = time.sleep(2.5)
    return get(self, *arguments)

@pytest.fixture(scope="session", autouse=True)
def loading_takes_long():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ModelReference, "get", slowly)
        yield
    if hasattr(ModelReference, "loaded"):
        del ModelReference.loaded
"""
    )
    colors.makepyfile(
        """
        import time
        import pytest
        from conftest import brightest

        @pytest.mark.bias_intervention("yellow-square", max_asr=1)
        @pytest.mark.parametrize("number", [0, 1])
        def test_it(bias, number):
            pass

        @pytest.fixture
        def transferred_model(number):
            model = brightest(f"model {number}")
            model.module.weight.data *= number + 1
            return model
        """
    )
    result = run()
    result.assert_outcomes(passed=2)
    said = [line for line in result.outlines if "-n 0 loads once" in line]
    assert len(said) == (mode == "n2" and slow), result.outlines
