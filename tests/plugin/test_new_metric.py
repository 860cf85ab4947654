"""A new metric on predicted classes is one function and one entry: everything else follows from the entry."""

from __future__ import annotations

import functools
import json

import jsonschema
import pytest

from tests.conftest import WEIGHING_BLUE, Run
from tests.docs.test_metric_tables import ROOT

# The negative flip rate of Yan et al. 2021 (arXiv 2011.09161). Loaded with -p, before the plugin reads the catalogue; a
# warm Python has imported the package already.
NEW_METRIC = """
import sys

for name in [name for name in sys.modules if name.startswith("pytest_biastransfer")]:
    del sys.modules[name]

from pytest_biastransfer.metrics import catalogue
from pytest_biastransfer.metrics.change_rules import ImageCounts, McNemar
from pytest_biastransfer.metrics.image_sets import ImageSet, Share, all_images
from pytest_biastransfer.metrics.metric import ClassMetric, by_name


def negatively_flipped(inputs):
    return (inputs.clean == inputs.labels) & (inputs.intervened != inputs.labels)


entry = ClassMetric(
    name="negative_flip_rate",
    title="negative flip rate",
    definition="the share of images that are classified correctly only without `T`",
    plain_name="negative flip rate",
    explanation="The share of images that are classified correctly only without the intervention.",
    phrase="{percent} of the images are classified correctly only without {subject}",
    limits=(0.0, 1.0),
    needs=frozenset({"labels"}),
    estimator=Share(negatively_flipped, all_images, has_fixed_base=True),
    interval="clopper-pearson",
    change=McNemar(
        ImageSet("negatively_flipped", negatively_flipped),
        ImageCounts("newly flips negatively", "newly flip negatively", "no longer do"),
    ),
    early_stop="negative_flip_rate",
    more_is_worse=True,
)
catalogue.METRICS = by_name([*catalogue.METRICS.values(), entry])
"""

TESTS = """
@pytest.mark.bias_intervention("yellow-square", max_negative_flip_rate=0.9)
def test_square(bias):
    assert bias.estimate("negative_flip_rate").n == 120
"""


@pytest.fixture
def run(run_elsewhere: Run) -> Run:
    return functools.partial(run_elsewhere, "-p", "new_metric", "-p", "no:xdist")


def test_everything_follows_from_the_entry(colors: pytest.Pytester, run: Run) -> None:
    colors.makepyfile(new_metric=NEW_METRIC, test_it=WEIGHING_BLUE.format(blue=1) + TESTS)
    accepted = run("-v", "--bias-update=new", "--bias-report=report.json")
    accepted.assert_outcomes(passed=1)
    accepted.stdout.fnmatch_lines(["    negative_flip_rate  0.250 *<= 0.9  *holds*"])

    report = json.loads((colors.path / "report.json").read_text())
    jsonschema.validate(report, json.loads((ROOT / "docs/report.schema.json").read_text()))
    (test,) = report["tests"]
    assert [limit["metric"] for limit in test["limits"]] == ["negative_flip_rate"]
    assert test["details"]["metrics"]["negative_flip_rate"]["value"] == 0.25

    (cases,) = json.loads((colors.path / "bias-baseline.json").read_text())["tests"].values()
    (entry,) = cases.values()
    assert entry["figures"]["negative_flip_rate"] == {"value": 0.25, "images": 120, "count": 30}
    assert "negatively_flipped" in entry["evidence"]

    colors.makepyfile(test_it=WEIGHING_BLUE.format(blue=0.97) + TESTS)
    worse = run("--bias-report=report.json")
    worse.assert_outcomes(failed=1)
    text = "negative_flip_rate 0.250 → 0.500; 30 images newly flip negatively, 0 no longer do (p = 2e-09)"
    worse.stdout.fnmatch_lines([f"*bias regression: {text}"])
    (test,) = json.loads((colors.path / "report.json").read_text())["tests"]
    assert [change["metric"] for change in test["changes"]] == ["negative_flip_rate", "accuracy"]


def test_markers_and_their_errors_name_it(colors: pytest.Pytester, run: Run) -> None:
    wrong = TESTS.replace("flip_rate=0.9", "flip_rate=9")
    colors.makepyfile(new_metric=NEW_METRIC, test_it=WEIGHING_BLUE.format(blue=1) + wrong)
    run("--markers").stdout.fnmatch_lines(["*max_skew_excess=None, max_negative_flip_rate=None, rule='point'*"])
    run().stdout.fnmatch_lines(["*max_negative_flip_rate=9, expected a number from 0 to 1*"])
