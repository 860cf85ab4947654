"""A session says once of each model that nobody declared a preprocessing for it: its figures may be of other images."""

from __future__ import annotations

import pytest

from tests.conftest import Run, each_mode

TESTS = """
import conftest
import pytest
from pytest_biastransfer import Model, Preprocess

@pytest.fixture(scope="session")
def bare():
    return conftest.BrightestChannel()

@pytest.fixture(scope="session")
def sized():
    return Model(conftest.BrightestChannel(), preprocess=Preprocess(size=16), name="pets")

@pytest.mark.bias_intervention("yellow-square", "grayscale", max_asr=1)
@pytest.mark.bias_intervention("yellow-square", model="bare", max_asr=1)
@pytest.mark.bias_intervention("yellow-square", "grayscale", model="sized", max_asr=1)
def test_it():
    pass
"""


@each_mode
def test_models_without_preprocessing_are_named_once(run: Run, colors: pytest.Pytester) -> None:
    colors.makepyfile(TESTS)
    result = run()
    result.assert_outcomes(passed=5)
    remarks = sorted(line.partition(" declared")[0] for line in result.outlines if line.startswith("preprocessing of"))
    assert remarks == [
        "preprocessing of BrightestChannel (bare): no mean, std and size",
        "preprocessing of pets (sized): no mean and std",
    ]
    assert "preprocess=Preprocess(size=224, mean=..., std=...))" in result.stdout.str()
    result = run("-q")
    result.stdout.no_fnmatch_line("preprocessing of *")


def test_a_spec_without_preprocessing_is_named_whether_it_is_loaded_or_known(pytester: pytest.Pytester) -> None:
    import torch
    from PIL import Image

    pytester.makepyfile(
        nets="import torch\ndef make(): return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2))"
    )
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2))
    torch.save(module.state_dict(), pytester.path / "pets.pt")
    for name in ("cat", "dog"):
        (pytester.path / "val" / name).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (8, 8), (60 * number, 9, 99)).save(pytester.path / "val" / name / f"{number}.png")
    ini = "[pytest]\npythonpath = .\nbias_dataset = imagefolder:val\nbias_transferred_model = "
    spec = "checkpoint:pets.pt?arch=python:nets:make"
    pytester.makeini(f"{ini}{spec}")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.bias_intervention("grayscale", max_skew=1)
        def test_it():
            pass
        """
    )
    for _ in range(2):
        result = pytester.runpytest_inprocess("-p", "no:xdist")
        result.stdout.fnmatch_lines(["preprocessing of pets (transferred_model): no mean, std and size declared, *"])
    pytester.makeini(f"{ini}{spec}&mean=0&std=1")
    pytester.runpytest_inprocess("-p", "no:xdist").stdout.no_fnmatch_line("preprocessing of *")
