"""Sessions that judge a decision: of a model with one output, with several, and of a class of a softmax."""

from __future__ import annotations

import json
import math

import pytest

from tests.conftest import Run, each_mode

# The first output says whether red is brighter than blue, the second whether green is: a yellow square adds to both.
CONFTEST = """
import pytest
import torch
from pytest_biastransfer import Model, Preprocess


class Channels(torch.nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([[8.0, 0, -8.0], [0, 8.0, -8.0]])[:outputs].T.clone())

    def forward(self, images):
        return images.mean(dim=(2, 3)) @ self.weight


def image(red):
    return torch.tensor([red, 0.1, 0.4]).reshape(3, 1, 1).expand(3, 16, 16)


class Faces:
    # A tenth of the images is nearly as red as blue. One label is unknown.
    reds = [0.8] * 30 + [0.1] * 24 + [0.38] * 6

    def __len__(self):
        return len(self.reds)

    def __getitem__(self, index):
        red = self.reds[index]
        labels = {"smiling": int(red > 0.4) if index else -1, "young": index % 2}
        return image(red), labels, {"half": "ab"[index % 2]}


class Numbers(Faces):
    def __getitem__(self, index):
        return image(self.reds[index]), int(self.reds[index] > 0.4)


@pytest.fixture(scope="session")
def one_output():
    return Model(Channels(1), preprocess=Preprocess(mean=0, std=1), outputs="sigmoid", name="one")


@pytest.fixture(scope="session")
def two_outputs():
    declared = Preprocess(mean=0, std=1)
    return Model(Channels(2), preprocess=declared, outputs="sigmoid", classes=["smiling", "young"], name="two")


@pytest.fixture(scope="session")
def faces():
    return Faces()


@pytest.fixture(scope="session")
def numbers():
    return Numbers()
"""

HEAD = """
import pytest
from pytest_biastransfer import Square, each

ONE = {"model": "one_output", "dataset": "numbers"}
TWO = {"model": "two_outputs", "dataset": "faces"}
SQUARE = Square(size=0.25, color="yellow")
"""

TESTS = """
@pytest.mark.bias_intervention(SQUARE, max_asr=0.05, **ONE)
def test_fails(bias):
    assert bias.n == 60

@pytest.mark.bias_intervention(SQUARE, max_asr=0.1, max_targeted_asr=0.2, max_accuracy_drop=0.1, positive=0, **ONE)
def test_holds(bias):
    assert (float(bias.accuracy), float(bias.targeted_asr)) == (1, 0.2)

@pytest.mark.bias_intervention(SQUARE, max_asr=0.5, positive=each("smiling", "young"), allow_degenerate=True, **TWO)
def test_each(bias):
    assert bias.clean.accuracy.n == (59 if "smiling" in bias.class_names else 60)

@pytest.mark.bias_gap("half", "fpr", positive="smiling", max_gap=0.5, min_group_size=5, **TWO)
def test_gap(bias):
    assert bias.n == 59
"""


def write(pytester: pytest.Pytester, tests: str) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_positive=HEAD + tests)


@each_mode
def test_decisions_are_judged(run: Run, pytester: pytest.Pytester) -> None:
    write(pytester, TESTS)
    result = run("-v", "--bias-report=report.json")
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(["*asr*0.100*0.05*", "*positive*+0.100*", "*not positive*-0.100*"])
    # Each decision of a model has a line of its own.
    result.stdout.fnmatch_lines(
        [
            "two on Faces, smiling: accuracy 1.000 *, n = 60, 1 with an unknown label; *",
            "two on Faces, young: accuracy 0.500 *",
        ]
    )
    tests = json.loads((pytester.path / "report.json").read_text())["tests"]
    flips = next(test for test in tests if "test_fails" in test["name"])["details"]["shown"]
    assert {(flip["label"], flip["before"], flip["after"]) for flip in flips} == {
        ("not positive", "not positive", "positive")
    }
    # Both are probabilities of what was predicted: 0.54 of no, and then 0.56 of yes.
    logits = 8 * (0.38 - 0.4), 8 * ((0.38 * 15 + 1) / 16 - 0.4 * 15 / 16)
    found = [flips[0][name] for name in ("confidence_before", "confidence_after")]
    assert found == pytest.approx([1 / (1 + math.exp(logits[0])), 1 / (1 + math.exp(-logits[1]))], abs=1e-3)
    names = sorted(test["name"].partition("::")[2] for test in tests)
    assert [name.rpartition("-two_outputs")[0].rpartition("-")[2] for name in names if "each" in name] == [
        "smiling",
        "young",
    ]


def test_a_changed_decision_is_a_regression(run: Run, pytester: pytest.Pytester) -> None:
    write(pytester, "@pytest.mark.bias_intervention(SQUARE, max_asr=1, positive='smiling', **TWO)\ndef test_it(): ...")
    run("--bias-update=new").assert_outcomes(passed=1)
    entries = (pytester.path / "bias-baseline.json").read_text()
    assert "square-smiling model=two_outputs dataset=faces" in entries
    run("-v").stdout.fnmatch_lines(["compared with bias-baseline.json: 1 no worse"])
    conftest = pytester.path / "conftest.py"
    conftest.write_text(conftest.read_text().replace("[8.0, 0, -8.0]", "[20.0, 0, -8.0]"))
    result = run("-v")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*24 images newly flip, 6 no longer do*"])


def test_an_early_verdict_is_that_of_all_images(run: Run, pytester: pytest.Pytester) -> None:
    write(
        pytester, "@pytest.mark.bias_intervention(SQUARE, max_asr=0.9, **ONE)\ndef test_it(bias): assert bias.n == 32"
    )
    conftest = pytester.path / "conftest.py"
    conftest.write_text(conftest.read_text().replace("* 30 +", "* 600 +").replace("* 24 +", "* 600 +"))
    run("--bias-early-stop=0.01").assert_outcomes(passed=1)
    # A threshold at prevalence is known only when all images are.
    conftest.write_text(conftest.read_text().replace('name="one"', 'name="one", threshold="prevalence"'))
    tests = pytester.path / "test_positive.py"
    tests.write_text(tests.read_text().replace("== 32", "== 1206"))
    run("--bias-early-stop=0.01").assert_outcomes(passed=1)


def test_a_search_finds_what_changes_a_decision(run: Run, pytester: pytest.Pytester) -> None:
    write(
        pytester,
        "from pytest_biastransfer import strategies\n"
        "@pytest.mark.bias_search(strategies.patches(), max_targeted_asr=0.1, positive='smiling', budget=100, **TWO)\n"
        "def test_it(): ...",
    )
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*@pytest.mark.bias_intervention(*positive='smiling', max_targeted_asr=0.1)*"])


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        (
            "bias_intervention(SQUARE, max_asr=0.5, positive='smilling', **TWO)",
            "*'smilling' is not a class*did you mean smiling*",
        ),
        (
            "bias_intervention(SQUARE, max_asr=0.5, **TWO)",
            "*has 2 outputs, one for each label: smiling, young; say which*",
        ),
        ("bias_intervention(SQUARE, max_asr=0.5, positive=0.5, **TWO)", "*positive=0.5, expected a class or several*"),
        (
            "bias_intervention(SQUARE, max_asr=0.5, positive='smiling', target='young', **TWO)",
            "*target= and positive=: the target of a decision is the positive; remove target=*",
        ),
        ("bias_intervention(SQUARE, max_asr=0.5, positive=each(), **TWO)", "*positive=*, expected a class or several*"),
        ("bias_gap('half', 'fpr', max_gap=1, **TWO)", "*fpr needs positive=*"),
        (
            "bias_intervention(SQUARE, max_asr=0.5, model='two_outputs', dataset='numbers')",
            "*has 2 outputs, one for each*",
        ),
    ],
)
def test_a_mistake_is_named(run: Run, pytester: pytest.Pytester, marker: str, message: str) -> None:
    write(pytester, f"@pytest.mark.{marker}\ndef test_it(): ...")
    result = run()
    assert result.ret != pytest.ExitCode.OK
    result.stdout.fnmatch_lines([message])
