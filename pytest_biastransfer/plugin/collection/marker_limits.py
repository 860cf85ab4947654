"""The limits that a marker sets: their keywords, and their values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from pytest_biastransfer.errors import MarkerError, percent_hint
from pytest_biastransfer.metrics.catalogue import limitable
from pytest_biastransfer.metrics.metric import ClassMetric, GapOfGroups, Metric
from pytest_biastransfer.names import GAP_MARKER, INTERVENTION_MARKER

if TYPE_CHECKING:
    import pytest


def _limited_metrics(marker: str) -> list[Metric]:
    """Return the metrics that a marker can limit."""
    return limitable(GapOfGroups if marker == GAP_MARKER else ClassMetric)


class Limits(NamedTuple):
    """Metric and limit of the highest and of the lowest values, and the metrics whose absolute value is limited.

    `means` has the same of the highest means over the strengths of a ladder.
    """

    highest: tuple[tuple[str, float], ...]
    lowest: tuple[tuple[str, float], ...]
    sizes: tuple[str, ...]
    means: tuple[tuple[str, float], ...] = ()


def limit_keywords(marker: str) -> list[str]:
    """Return the keywords of a marker that limit metrics, those of highest values first."""
    limited = _limited_metrics(marker)
    of_groups = [metric for metric in limited if isinstance(metric, GapOfGroups)]
    keywords = [
        metric.keyword for metric in limited if not isinstance(metric, GapOfGroups) or len(metric.limit_keywords) > 1
    ]
    minimums = [metric.minimum_keyword for metric in of_groups]
    return [*keywords, *minimums, *(metric.mean_keyword for metric in _with_means(marker))]


def _with_means(marker: str) -> list[Metric]:
    """Return the metrics whose mean over the strengths of a ladder a marker can limit."""
    return [metric for metric in limitable(ClassMetric) if metric.has_mean] if marker == INTERVENTION_MARKER else []


def limits_of(mark: pytest.Mark, origin: str) -> Limits:
    """Return the limits of a marker; raises `MarkerError`, which begins with `origin`, for an impossible one."""
    is_signed = mark.kwargs.get("between") is not None
    highest, lowest, sizes = [], [], []
    for metric in _limited_metrics(mark.name):
        assert metric.limits is not None
        has_sign = is_signed and isinstance(metric, GapOfGroups) and metric.limited == "above"
        limit = _limit(mark, metric.keyword, (-1.0, 1.0) if has_sign else metric.limits, origin)
        if limit is not None:
            highest.append((metric.name, limit))
        if not isinstance(metric, GapOfGroups):
            continue
        ends = (-1.0, 1.0) if metric.limited == "above" else metric.limits
        least = _limit(mark, metric.minimum_keyword, ends, origin)
        if least is not None:
            lowest.append((metric.name, least))
        if has_sign and limit is not None and least is None:
            sizes.append(metric.name)
        if metric.limited == "above":
            _require_possible(metric, limit, least, is_signed, origin)
    return Limits(tuple(highest), tuple(lowest), tuple(sizes), tuple(_limits_on_means(mark, origin)))


def _limits_on_means(mark: pytest.Mark, origin: str) -> Iterator[tuple[str, float]]:
    for metric in _with_means(mark.name):
        assert metric.limits is not None
        limit = _limit(mark, metric.mean_keyword, metric.limits, origin)
        if limit is not None:
            yield metric.name, limit


def _require_possible(
    metric: GapOfGroups, limit: float | None, least: float | None, is_signed: bool, origin: str
) -> None:
    """Raise `MarkerError` for limits of a gap that no value could meet, or that need a sign."""
    if least is not None and not is_signed:
        raise MarkerError(
            f"{origin}: {metric.minimum_keyword}={least:g} limits a signed difference; name the two groups that are "
            f"compared, such as between=('female', 'male')"
        )
    if limit is None or not is_signed:
        return
    if least is None and limit < 0:
        raise MarkerError(
            f"{origin}: {metric.keyword}={limit:g} alone limits the size of the difference, which is never negative; "
            f"for a signed limit add {metric.minimum_keyword}=, such as -1"
        )
    if least is not None and least > limit:
        raise MarkerError(
            f"{origin}: {metric.minimum_keyword}={least:g} is above {metric.keyword}={limit:g}: no value meets both"
        )


def _limit(mark: pytest.Mark, keyword: str, ends: tuple[float, float], origin: str) -> float | None:
    """Return the limit that a marker has under a keyword, if any."""
    limit, (low, high) = mark.kwargs.get(keyword), ends
    if limit is None:
        return None
    number = isinstance(limit, int | float) and not isinstance(limit, bool) and not math.isnan(limit)
    if not number or not low <= limit <= high:
        raise MarkerError(
            f"{origin}: {keyword}={limit!r}, expected a number from {low:g} to {high:g}{percent_hint(limit)}"
        )
    return float(limit)
