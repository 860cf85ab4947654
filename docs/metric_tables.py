"""Writes the tables of metrics in metrics.md, statistics.md and finetuning.md from the catalogue of metrics.

python docs/metric_tables.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from pytest_biastransfer.metrics.catalogue import METRICS, limitable, metrics_of
from pytest_biastransfer.metrics.class_metrics import ACCURACY
from pytest_biastransfer.metrics.gap_metrics import GROUP_METRICS
from pytest_biastransfer.metrics.metric import INTERVALS, ClassMetric, Metric

ROOT: Final = Path(__file__).parents[1]
_NEEDS: Final = {"labels": "labels", "target": "`target=`", "control": "a `control` model"}


def limits() -> Iterator[Sequence[str]]:
    """Yield the metrics on predicted classes that a marker can limit."""
    yield "limit", "metric", "needs", "definition"
    for metric in limitable(ClassMetric):
        needs = ", ".join(text for need, text in _NEEDS.items() if need in metric.needs)
        yield f"`{metric.keyword}`", metric.title, needs or "–", metric.definition


def intervals() -> Iterator[Sequence[str]]:
    """Yield the methods of the confidence intervals."""
    yield "metric", "interval", "source"
    for interval, (method, source) in INTERVALS.items():
        names = _names(metric for metric in metrics_of(ClassMetric) if metric.interval == interval)
        # Some are of gaps alone, which have a section of their own.
        if names:
            yield names, method, source


def changes() -> Iterator[Sequence[str]]:
    """Yield the tests of change since the baseline."""
    yield "metric", "on the same images", "on other images"
    compared = [metric for metric in METRICS.values() if metric.limits is not None or metric.name == ACCURACY]
    for test in dict.fromkeys(type(metric.change) for metric in compared):
        metrics = (metric for metric in compared if type(metric.change) is test)
        yield _names(metrics), test.on_same_images, test.on_other_images


def groups() -> Iterator[Sequence[str]]:
    """Yield what a gap can be measured of."""
    yield "metric", "needs `positive=`", "definition"
    for metric in GROUP_METRICS.values():
        yield f'`"{metric.name}"`', "yes" if metric.needs_positive else "no", metric.definition


TABLES: Final[Mapping[str, Mapping[str, Callable[[], Iterator[Sequence[str]]]]]] = {
    "docs/metrics.md": {"limits": limits},
    "docs/statistics.md": {"intervals": intervals, "changes": changes},
    "docs/finetuning.md": {"groups": groups},
}


def page(name: str, text: str) -> str:
    """Return the text of a page with its tables as they should be; raises ValueError if a table has no place."""
    for table, rows in TABLES[name].items():
        begin, end = f"<!-- table {table}: python docs/metric_tables.py -->\n", "<!-- end of table -->"
        if text.count(begin) != 1:
            raise ValueError(f"{name}: expected one table {table}, found {text.count(begin)}")
        before, _, rest = text.partition(begin)
        text = before + begin + _markdown(rows()) + end + rest.partition(end)[2]
    return text


def _markdown(rows: Iterator[Sequence[str]]) -> str:
    heading = next(rows)
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _names(metrics: Iterator[Metric]) -> str:
    return ", ".join(f"`{metric.name}`" for metric in metrics)


if __name__ == "__main__":
    for name in TABLES:
        path = ROOT / name
        path.write_text(page(name, path.read_text(encoding="utf-8")), encoding="utf-8")
