"""The metrics in plain words: their names on the page, the texts of their tooltips, and the glossary at its end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_biastransfer.metrics.catalogue import METRICS, metric_of_limit
from pytest_biastransfer.metrics.metric import MEAN_PREFIX
from pytest_biastransfer.reporting.report import Result
from pytest_biastransfer.reporting.wording import shortened


@dataclass(frozen=True)
class MetricName:
    """A metric as the page names it.

    Attributes
    ----------
    name
        Its name in code.
    plain
        Its plain name with the name in code, such as ``"flip rate (asr)"``.
    explanation
        What it means; empty for a metric that the catalogue lacks: a report may be of another version.
    """

    name: str
    plain: str
    explanation: str

    @property
    def anchor(self) -> str:
        """The address of its entry in the glossary; empty if it has none."""
        return f"metric={self.name}" if self.explanation else ""


def metric_name(name: str) -> MetricName:
    """Return how the page names a metric.

    >>> metric_name("asr").plain, metric_name("accuracy").plain, metric_name("of_another_version").plain
    ('flip rate (asr)', 'accuracy', 'of_another_version')
    >>> metric_name("mean_asr").plain
    'mean flip rate (mean_asr)'
    """
    metric = metric_of_limit(name)
    if metric is None:
        return MetricName(name, shortened(name, 60), "")
    if name.startswith(MEAN_PREFIX):
        explanation = f"The mean over the strengths of a ladder. {metric.explanation}"
        return MetricName(name, f"mean {metric.plain_name} ({name})", explanation)
    same = metric.plain_name == name
    return MetricName(name, name if same else f"{metric.plain_name} ({name})", metric.explanation)


def glossary(tests: Iterable[Result]) -> Sequence[MetricName]:
    """Return the metrics that a page of these tests names, in the order of the catalogue."""
    used: set[str] = set()
    for test in tests:
        used.update(limit.metric for limit in test.limits)
        used.update(change.metric for change in test.changes)
        if test.details is not None:
            used.update(test.details.metrics)
    names = [name for metric in METRICS for name in (metric, f"{MEAN_PREFIX}{metric}")]
    return [metric_name(name) for name in names if name in used]


def tooltips(metrics: Iterable[MetricName]) -> str:
    """Return the style rules that show a metric's explanation beside each link to its entry in the glossary.

    The text is in the style sheet, and not at the links: a page of many tests has thousands of them.

    >>> print(tooltips([metric_name("accuracy")]))
    a[href="#metric=accuracy"]::after{content:"The share of images that are classified correctly without the \
intervention."}
    """
    return "\n".join(f'a[href="#{metric.anchor}"]::after{{content:"{metric.explanation}"}}' for metric in metrics)
