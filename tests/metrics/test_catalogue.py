"""The catalogue of metrics: no entry can be incomplete, and everything derives from the entries."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, replace
from typing import Any, get_args

import numpy as np
import pytest

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.metrics.catalogue import METRICS, metric_named, metrics_of
from pytest_biastransfer.metrics.change_rules import McNemar, MeanChange, SkewChange
from pytest_biastransfer.metrics.estimates import estimates_of
from pytest_biastransfer.metrics.gap_metrics import GROUP_METRICS
from pytest_biastransfer.metrics.image_outcomes import outcomes_of
from pytest_biastransfer.metrics.image_sets import Share
from pytest_biastransfer.metrics.metric import ClassMetric, GapOfGroups, by_name, require_consistent
from pytest_biastransfer.metrics.paired_predictions import MetricInputs, PairedPredictions
from pytest_biastransfer.names import GapMetric

REQUIRED = [field.name for field in fields(ClassMetric) if field.name not in ("excess_of", "in_summary")]


def entry(name: str = "asr") -> ClassMetric:
    metric = metric_named(name)
    assert isinstance(metric, ClassMetric)
    return metric


def inputs(seed: int = 0) -> MetricInputs:
    """Return predictions of 500 images with everything that a metric can need."""
    generator = np.random.default_rng(seed)
    labels, clean, intervened, other, control = generator.integers(0, 5, (5, 500))
    clean = np.where(generator.random(500) < 0.6, labels, clean)
    intervened = np.where(generator.random(500) < 0.5, clean, intervened)
    model, compared = PairedPredictions(clean, intervened, labels), PairedPredictions(other, control, labels)
    return MetricInputs(model, compared, [1, 3])


@pytest.mark.parametrize("missing", REQUIRED)
def test_an_entry_that_lacks_a_fact_cannot_be_made(missing: str) -> None:
    facts = {field.name: getattr(entry(), field.name) for field in fields(ClassMetric) if field.name != missing}
    with pytest.raises(TypeError, match=missing):
        ClassMetric(**facts)


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("asr", {"change": None}, "metric asr: change=None, expected a test of change"),
        ("asr", {"change": "mcnemar"}, "expected a test of change"),
        ("asr", {"estimator": None}, "estimator=None, expected a function"),
        ("asr", {"name": "attack success"}, "name: expected an identifier"),
        ("asr", {"definition": ""}, "expected texts"),
        ("asr", {"phrase": "{percent} of the images"}, "phrase: expected a text with {subject}"),
        ("asr", {"phrase": ""}, "phrase: expected a text with {subject}"),
        ("asr", {"limits": (1.0, 0.0)}, "limits: expected the lowest and the highest"),
        ("asr", {"interval": "wald"}, "interval: expected clopper-pearson or"),
        ("asr", {"needs": frozenset({"luck"})}, "needs: expected some of labels"),
        ("asr", {"excess_of": "skew"}, "excess_of: expected a metric"),
        ("asr_excess", {"needs": frozenset()}, 'excess_of: expected a metric, if it needs "control"'),
        ("skew", {"early_stop": "skew"}, "early_stop: expected the name of a share"),
        # The images that are classified rightly depend on the predictions.
        ("conditional_asr", {"change": entry("asr").change}, "McNemar's test only for a share with a fixed base"),
        ("skew", {"change": entry("asr").change}, "McNemar's test only for a share with a fixed base"),
    ],
)
def test_an_entry_that_is_wrong_cannot_be_made(name: str, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        replace(entry(name), **wrong)


def test_a_gap_never_stops_early() -> None:
    with pytest.raises(ValueError, match="metric gap: early_stop: expected None"):
        replace(metric_named("gap"), early_stop="asr")


@pytest.mark.parametrize("wrong", [{"early_stop": "skew"}, {"early_stop": "asrr"}])
def test_a_catalogue_whose_entries_refer_to_missing_metrics_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="metric conditional_asr: early_stop: expected the name of a share"):
        require_consistent({**METRICS, "conditional_asr": replace(entry("conditional_asr"), **wrong)})
    with pytest.raises(ValueError, match="metric asr_excess: excess_of: expected one of"):
        require_consistent({"asr": entry(), "asr_excess": replace(entry("asr_excess"), excess_of="other")})


def test_two_metrics_cannot_have_one_name() -> None:
    with pytest.raises(ValueError, match="metric asr: name: expected a name that no other metric has"):
        by_name([entry(), entry()])


def test_an_incomplete_entry_cannot_be_imported() -> None:
    program = """
import dataclasses, importlib.util, sys
spec = importlib.util.find_spec("pytest_biastransfer.metrics.class_metrics")
source = open(spec.origin, encoding="utf-8").read()
needed = "        change=SkewChange(('', 'control_')),\\n".replace("'", '"')
assert source.count(needed) == 1
module = importlib.util.module_from_spec(spec)
exec(compile(source.replace(needed, ""), spec.origin, "exec"), vars(module))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "missing 1 required keyword-only argument: 'change'" in result.stderr


def test_importing_the_catalogue_imports_no_numpy() -> None:
    program = (
        "import sys, pytest_biastransfer.metrics.catalogue; "
        "sys.exit(', '.join({'numpy', 'scipy', 'torch', 'PIL'} & sys.modules.keys()) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_an_unknown_metric_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(BiasTransferError, match="metric='asrr'; did you mean asr"):
        metric_named("asrr")


@pytest.mark.parametrize("name", [metric.name for metric in metrics_of(ClassMetric)])
def test_estimates_have_the_interval_and_the_range_of_the_entry(name: str) -> None:
    metric, estimate = entry(name), estimates_of(inputs())[name]
    low, high = metric.limits or (0.0, 1.0)
    assert estimate.method == metric.interval
    assert low <= estimate <= high


@pytest.mark.parametrize("seed", range(3))
def test_mcnemars_test_compares_the_images_that_the_share_counts(seed: int) -> None:
    """A set that is not that of the share would be a test of another metric, without a word."""
    predictions = inputs(seed)
    tested = 0
    for metric in metrics_of(ClassMetric):
        if isinstance(metric.change, McNemar):
            assert isinstance(metric.estimator, Share)
            hits, among = metric.estimator.count(predictions)
            images = int(metric.change.images.mask(predictions).sum())
            # The images that are misclassified are those that the accuracy does not count.
            assert images == (hits if metric.more_is_worse else among - hits)
            tested += 1
    assert tested == 3


@pytest.mark.parametrize("seed", range(3))
def test_the_evidence_of_a_mean_gives_the_metric(seed: int) -> None:
    predictions = inputs(seed)
    for name in ("accuracy_drop", "asr_excess"):
        change = entry(name).change
        assert isinstance(change, MeanChange)
        plus, minus = (image_set.mask(predictions).sum() for image_set in change.image_sets)
        assert entry(name).estimator(predictions) == pytest.approx((plus - minus) / 500)


def test_every_evidence_is_measured() -> None:
    outcomes = outcomes_of(inputs(), np.arange(500))
    transitions = {f"{prefix}{part}" for prefix in ("", "control_") for part in ("flipped", "from", "to")}
    for metric in metrics_of(ClassMetric):
        assert set(metric.change.evidence) <= outcomes.image_sets.keys() | transitions, metric.name
    assert isinstance(entry("skew_excess").change, SkewChange)


def test_the_gap_metrics_are_those_that_can_be_typed() -> None:
    assert tuple(GROUP_METRICS) == get_args(GapMetric)
    assert [metric.name for metric in metrics_of(GapOfGroups)] == ["gap", "gap_excess", "ratio", "worst"]
    assert [metric.limit_keywords for metric in metrics_of(GapOfGroups)] == [
        ("max_gap", "min_gap"),
        ("max_gap_excess", "min_gap_excess"),
        ("min_ratio",),
        ("max_worst", "min_worst"),
    ]
