"""The catalogue of metrics: the entries of `class_metrics` and `gap_metrics`. Nothing else says anything of a metric.

Marker keywords, ``pytest --markers``, summary, baseline, reports and documents derive from these entries. The order is
that of the summary's limits. Importing this module imports neither numpy nor scipy: the functions import them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from pytest_biastransfer.errors import BiasTransferError, nearest
from pytest_biastransfer.metrics.change_rules import ImageCounts, McNemar
from pytest_biastransfer.metrics.class_metrics import CLASS_METRICS
from pytest_biastransfer.metrics.gap_metrics import GAP_METRICS
from pytest_biastransfer.metrics.metric import MEAN_PREFIX, Metric, by_name, require_consistent

# How to speak of the images of a metric that the catalogue lacks.
_COUNT: Final = ImageCounts("newly counts", "newly count", "no longer do")

METRICS: Mapping[str, Metric] = by_name([*CLASS_METRICS, *GAP_METRICS])
require_consistent(METRICS)

Kind = TypeVar("Kind", bound=Metric)


def metrics_of(kind: type[Kind]) -> list[Kind]:
    """Return the metrics of a kind, in the order of the catalogue."""
    return [metric for metric in METRICS.values() if isinstance(metric, kind)]


def limitable(kind: type[Metric]) -> list[Metric]:
    """Return the metrics of a kind that a marker can limit, in the order of the catalogue."""
    return [metric for metric in METRICS.values() if isinstance(metric, kind) and metric.limits is not None]


def metric_named(name: str) -> Metric:
    """Return the entry of a metric.

    Raises
    ------
    BiasTransferError
        If there is none; the message has the nearest name.

    Examples
    --------
    >>> metric_named("skew").early_stop
    'asr'
    """
    if name not in METRICS:
        raise BiasTransferError(f"metric={name!r}; {nearest(name, list(METRICS))}")
    return METRICS[name]


def metric_of_limit(name: str) -> Metric | None:
    """Return the entry of a limited metric, or of the metric that a limit on a mean over strengths is of.

    None for what the catalogue lacks: a report may be of another version.

    >>> metric_of_limit("mean_asr").name, metric_of_limit("of_another_version")
    ('asr', None)
    """
    return METRICS.get(name.removeprefix(MEAN_PREFIX))


def base_of(name: str) -> str:
    """Return the metric of which another one is the excess, and the metric itself if it is no excess.

    Reports of other versions may have metrics that the catalogue lacks.

    >>> base_of("skew_excess"), base_of("skew")
    ('skew', 'skew')
    """
    metric = METRICS.get(name)
    return name if metric is None or metric.excess_of is None else metric.excess_of


def counts_text_of(name: str, newly: int, no_longer: int) -> str:
    """Return in words how many images count newly, and no longer, for a metric that is compared by its images.

    >>> counts_text_of("targeted_asr", 2, 1)
    '2 images newly hit the target, 1 no longer do'
    >>> counts_text_of("unknown_in_this_version", 2, 1)
    '2 images newly count, 1 no longer do'
    """
    change = METRICS[name].change if name in METRICS else None
    wording = change.wording if isinstance(change, McNemar) else _COUNT
    return wording.text(newly, no_longer)
