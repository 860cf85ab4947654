"""The examples of docs/finetuning.md run: they collect, and nothing but a limit or an assertion fails."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("warm_executable")

PAGE = (Path(__file__).parents[2] / "docs" / "finetuning.md").read_text()

CONFTEST = """
import pytest
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        # Large enough for a few epochs to learn something.
        nn.init.normal_(self.conv.weight)
        self.fc = nn.Linear(6, 4)

    def forward(self, images):
        return self.fc(torch.relu(self.conv(images)).mean(dim=(2, 3)))


class Birds(list):
    classes = ("bird", "cat")


def images(seed, count=160):
    generator = torch.Generator().manual_seed(seed)
    found = Birds()
    for place in range(count):
        told = {"background": "land" if place % 4 < 2 else "water", "camera": "ab"[place % 8 < 4]}
        # Cats are brighter, which can be learnt.
        found.append((torch.rand(3, 10, 10, generator=generator) / 2 + place % 2 / 2, place % 2, told))
    return found


@pytest.fixture(scope="session")
def source_model():
    return Net()


@pytest.fixture(scope="session")
def clean_source():
    return Net(1)


@pytest.fixture(scope="session")
def our_sources():
    return [Net(), Net(2)]


@pytest.fixture(scope="session")
def clean_sources():
    return [Net(1), Net(3)]


@pytest.fixture(scope="session")
def transferred_model(bias_transfer, source_model, bias_finetuning_dataset):
    return bias_transfer(source_model, bias_finetuning_dataset)


@pytest.fixture(scope="session")
def control_model(bias_transfer, clean_source, bias_finetuning_dataset):
    return bias_transfer(clean_source, bias_finetuning_dataset)


@pytest.fixture(scope="session")
def bias_finetuning_dataset():
    return images(1)


@pytest.fixture(scope="session")
def bias_dataset():
    return images(2)
"""


def test_the_examples_of_the_page_run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    # The short summary then has whole messages.
    monkeypatch.setenv("CI", "true")
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 6
    pytester.makeconftest(CONFTEST)
    # More seeds are for real experiments.
    text = "\n".join(blocks).replace("seeds=3", "seeds=2")
    pytester.makepyfile(test_page=text)
    result = pytester.runpytest_subprocess("-rA", "-p", "no:randomly")
    outcomes = result.parseoutcomes()
    assert "errors" not in outcomes
    assert sum(outcomes.values()) == 13
    failures = [line for line in result.outlines if line.startswith("FAILED ")]
    assert all(re.search(r" - (bias: |assert |AssertionError: assert )", line) for line in failures)
    for file in ("dose.svg", "gaps.svg", "weight-decay.svg", "weight-decay.json"):
        assert (pytester.path / file).exists()
    result.stdout.fnmatch_lines(["*bias transfer: experiments*", "*by where the model comes from*", "*by level*"])


def test_the_ini_lines_of_the_page_are_known(pytester: pytest.Pytester) -> None:
    (ini,) = re.findall(r"^```ini\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    pytester.makeini(ini)
    pytester.makepyfile("def test_it(): pass")
    pytester.runpytest_subprocess("--strict-config", "-W", "error").assert_outcomes(passed=1)
