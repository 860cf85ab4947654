"""The first line of a failure: what happened in words, with the figure and the limit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_biastransfer.metrics.catalogue import metric_named
from pytest_biastransfer.metrics.metric import MEAN_PREFIX
from pytest_biastransfer.names import BOUND_SIGNS

if TYPE_CHECKING:
    from pytest_biastransfer.judgement.verdict import LimitVerdict


def failure_phrase(limit: LimitVerdict, subject: str) -> str:
    """Return what broke a limit; `subject` is the intervention, or the gap.

    The value comes first: pytest's short summary cuts the end off where the terminal is narrow, and the name of the
    test, which is before it, has the intervention.

    >>> from pytest_biastransfer.judgement.verdict import LimitVerdict
    >>> from pytest_biastransfer.metrics.statistics.estimate import Estimate
    >>> observed = Estimate(1.0, low=0.98, high=1.0, confidence=0.95, n=200)
    >>> failure_phrase(LimitVerdict("asr", 0.1, "point", observed, False), "yellow-square")
    '100 % of the predictions flip with yellow-square (asr 1.000), limit 0.1'
    """
    is_size = limit.bound == "size at most"
    name = f"|{limit.metric}|" if is_size else limit.metric
    if math.isnan(limit.observed):
        return f"{name} is undefined on these images, limit {BOUND_SIGNS[limit.bound]}{limit.limit:g}"
    figure = f"{limit.metric} {limit.observed:.3f}"
    figure = f"{_happening(limit, subject)} ({f'|{figure}|' if is_size else figure})"
    side, wanted = ("below", "at least") if limit.bound == "at least" else ("above", "at most")
    if limit.rule == "certain":
        return f"{figure}, not certainly {wanted} {limit.limit:g}"
    if limit.rule == "significant":
        return f"{figure}, significantly {side} {limit.limit:g}"
    return f"{figure}, limit {BOUND_SIGNS[limit.bound]}{limit.limit:g}"


def _happening(limit: LimitVerdict, subject: str) -> str:
    metric = metric_named(limit.metric.removeprefix(MEAN_PREFIX))
    value = abs(limit.observed) if limit.bound == "size at most" else float(limit.observed)
    number = f"{value * 100:.3g}"
    mean = " on average over the strengths" if limit.metric.startswith(MEAN_PREFIX) else ""
    at = f" at {limit.at}" if limit.at else ""
    return metric.phrase.format(percent=f"{number} %", points=f"{number} points", subject=f"{subject}{at}{mean}")
