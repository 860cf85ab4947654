"""With -v the summary says of each model that was loaded why, once, from all processes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.models.test_deferred import Project, age
from tests.plugin.test_sessions import make_folder

MODES = {"one process": ("-p", "no:xdist"), "two workers": ("-n2",)}
TESTS = """
import pytest

@pytest.mark.bias_intervention("yellow-square", "grayscale", max_asr=1, allow_degenerate=True)
def test_it():
    pass
"""
INI = """
[pytest]
bias_dataset = imagefolder:photos
bias_transferred_model = checkpoint:weights.safetensors?arch=python:reasons_net:Net&size=16
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("COLUMNS", "300")
    project = Project(pytester.path, "reasons_net")
    # Made by that class for its own models.
    shutil.rmtree(pytester.path / "store", ignore_errors=True)
    make_folder(pytester.path / "photos", images=8)
    pytester.makefile(".ini", pytest=INI)
    pytester.makepyfile(test_reasons=TESTS)
    for path in pytester.path.rglob("*"):
        age(path)
    return project


def reasons(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if " was loaded: " in line]


@pytest.mark.parametrize("mode", MODES)
def test_why_a_model_was_loaded_is_said_once(project: Project, run_elsewhere: Run, mode: str) -> None:
    def run(*options: str) -> list[str]:
        result = run_elsewhere(*MODES[mode], *options)
        result.assert_outcomes(passed=2)
        return reasons(result)

    assert run("-v") == ["model weights was loaded: first time"]
    assert run("-v") == []
    project.save(1)
    assert run() == [], "without -v nothing is said"
    project.save(2)
    assert run("-v") == ["model weights was loaded: its file weights.safetensors changed since it was measured"]
    code = Path("reasons_net.py").read_text()
    project.write("reasons_net.py", f"{code}\nimport sys\nFAST = '--fast' in sys.argv\n")
    line = len(code.splitlines()) + 3
    expected = [
        f"model weights was loaded: its code reads sys.argv (reasons_net.py:{line}); without this, "
        f"it is loaded only when something changes"
    ]
    assert [run("-v"), run("-v")] == [expected] * 2


def test_a_model_that_another_test_needs_is_said_to_be_known(project: Project, run_elsewhere: Run) -> None:
    run_elsewhere("-p", "no:xdist").assert_outcomes(passed=2)
    project.write("test_reasons.py", TESTS.replace('"grayscale"', '"grayscale", "blur"'))
    assert reasons(run_elsewhere("-p", "no:xdist", "-v")) == [
        "model weights was loaded: it has not changed, but the store does not have all that a test asked for"
    ]


def test_what_a_model_reads_while_it_predicts_is_said(project: Project, run_elsewhere: Run) -> None:
    code = Path("reasons_net.py").read_text()
    reading = "    def forward(self, images):\n        import sys\n        sys.argv[0]\n"
    code = code.replace("    def forward(self, images):\n", reading)
    project.write("reasons_net.py", code)
    line = next(number for number, text in enumerate(code.splitlines(), start=1) if "sys.argv" in text)
    run_elsewhere("-p", "no:xdist").assert_outcomes(passed=2)
    assert reasons(run_elsewhere("-p", "no:xdist", "-v")) == [
        f"model weights was loaded: while it predicts, it reads sys.argv (reasons_net.py:{line}), so its predictions "
        f"are not kept; without this, it is loaded only when something changes"
    ]


@pytest.mark.parametrize("mode", MODES)
def test_a_fixture_that_returns_an_object_is_told_to_return_a_spec(
    project: Project, run_elsewhere: Run, pytester: pytest.Pytester, mode: str
) -> None:
    pytester.makeconftest(
        """
        import pytest
        from reasons_net import Net
        from pytest_biastransfer import Model, Preprocess

        @pytest.fixture(scope="session")
        def transferred_model():
            import torch
            torch.manual_seed(0)
            return Model(Net(), preprocess=Preprocess(size=16))
        """
    )
    for _ in range(2):
        result = run_elsewhere(*MODES[mode], "-v")
        result.assert_outcomes(passed=2)
        assert reasons(result) == [
            "model Net was loaded: its fixture returns it as an object; return its spec as a text, such "
            "as 'checkpoint:FILE?arch=...'; without this, it is loaded only when something changes"
        ]


def test_models_of_one_reason_have_one_line(project: Project, run_elsewhere: Run, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import pytest
        from reasons_net import Net
        from pytest_biastransfer import Model, Preprocess

        @pytest.fixture(scope="session", params=["pets", "birds", "flowers"])
        def transferred_model(request):
            return Model(Net(), preprocess=Preprocess(size=16), name=request.param)
        """
    )
    lines = [line for line in run_elsewhere("-p", "no:xdist", "-v").outlines if " loaded" in line]
    assert lines == [
        "models birds; flowers; pets were loaded, each for this reason: its fixture returns it as an object; return "
        "its spec as a text, such as 'checkpoint:FILE?arch=...'; without this, it is loaded only when something changes"
    ]


def test_a_finetuned_model_is_told_the_first_time(
    project: Project, run_elsewhere: Run, pytester: pytest.Pytester
) -> None:
    pytester.makefile(
        ".ini",
        pytest="""
        [pytest]
        bias_dataset = imagefolder:photos
        bias_finetuning_dataset = imagefolder:photos
        bias_source_model = checkpoint:weights.safetensors?arch=python:reasons_net:Net&size=16
        bias_transfer = fixed-feature?epochs=1&validation_share=0
        """,
    )
    first = reasons(run_elsewhere("-p", "no:xdist", "-v"))
    assert first == [
        "model weights was loaded: first time",
        "model weights, fixed-feature on photos was loaded: it was finetuned in this session",
    ]
    assert reasons(run_elsewhere("-p", "no:xdist", "-v")) == []


def test_a_source_that_is_an_object_is_told_once(
    project: Project, run_elsewhere: Run, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(
        test_reasons="""
        import pytest
        from reasons_net import Net
        from pytest_biastransfer import Model, Preprocess

        def test_it(bias_transfer):
            source = Model(Net(), preprocess=Preprocess(size=16))
            for _ in range(2):
                bias_transfer(source, "imagefolder:photos", name="pets")
        """
    )
    result = run_elsewhere("-p", "no:xdist", "-v")
    assert reasons(result) == [
        "model Net was loaded: the source is an object; give its spec as a text, such as 'checkpoint:FILE?arch=...'; "
        "without this, it is loaded only when something changes",
        "model pets was loaded: it was finetuned in this session",
    ]


def test_a_model_of_a_test_that_fails_early_is_said_too(project: Project, run_elsewhere: Run) -> None:
    project.write("test_reasons.py", TESTS.replace("def test_it():\n    pass", "def test_it(bias):\n    assert False"))
    assert reasons(run_elsewhere("-p", "no:xdist", "-v")) == ["model weights was loaded: first time"]
