"""The tables of metrics in metrics.md, statistics.md and finetuning.md, from the catalogue of metrics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from docs.tables.markup import table
from pytest_biastransfer.metrics.catalogue import METRICS, limitable, metrics_of
from pytest_biastransfer.metrics.class_metrics import ACCURACY
from pytest_biastransfer.metrics.gap_metrics import GROUP_METRICS
from pytest_biastransfer.metrics.metric import INTERVALS, ClassMetric, Metric

_NEEDS: Final = {"labels": "labels", "target": "`target=`", "control": "a `control` model"}


def limits() -> str:
    """Return the metrics on predicted classes that a marker can limit."""
    rows = []
    for metric in limitable(ClassMetric):
        needs = ", ".join(text for need, text in _NEEDS.items() if need in metric.needs)
        rows.append([f"`{metric.keyword}`", metric.title, needs or "–", metric.definition])
    return table(["limit", "metric", "needs", "definition"], rows)


def intervals() -> str:
    """Return the methods of the confidence intervals."""
    rows = []
    for interval, (method, source) in INTERVALS.items():
        names = _names(metric for metric in metrics_of(ClassMetric) if metric.interval == interval)
        # Some are of gaps alone, which have a section of their own.
        if names:
            rows.append([names, method, source])
    return table(["metric", "interval", "source"], rows)


def changes() -> str:
    """Return the tests of change since the baseline."""
    compared = [metric for metric in METRICS.values() if metric.limits is not None or metric.name == ACCURACY]
    rows = []
    for test in dict.fromkeys(type(metric.change) for metric in compared):
        names = _names(metric for metric in compared if type(metric.change) is test)
        rows.append([names, test.on_same_images, test.on_other_images])
    return table(["metric", "on the same images", "on other images"], rows)


def groups() -> str:
    """Return what a gap can be measured of."""
    rows = [
        [f'`"{metric.name}"`', "yes" if metric.needs_positive else "no", metric.definition]
        for metric in GROUP_METRICS.values()
    ]
    return table(["metric", "needs `positive=`", "definition"], rows)


def _names(metrics: Iterable[Metric]) -> str:
    return ", ".join(f"`{metric.name}`" for metric in metrics)
