"""The first line of a failure: what happened in words, with the figure and the limit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from pytest_biastransfer.metrics.catalogue import METRICS

if TYPE_CHECKING:
    from pytest_biastransfer.judgement.verdict import LimitVerdict

# Of the names of limits on means over the strengths of a ladder.
_MEAN: Final = "mean_"
_BOUNDS: Final = {"at most": "", "at least": "at least ", "size at most": "±"}


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
        return f"{name} is undefined on these images, limit {_BOUNDS[limit.bound]}{limit.limit:g}"
    figure = f"{limit.metric} {limit.observed:.3f}"
    figure = f"{_happening(limit, subject)} ({f'|{figure}|' if is_size else figure})"
    side, wanted = ("below", "at least") if limit.bound == "at least" else ("above", "at most")
    if limit.rule == "certain":
        return f"{figure}, not certainly {wanted} {limit.limit:g}"
    if limit.rule == "significant":
        return f"{figure}, significantly {side} {limit.limit:g}"
    return f"{figure}, limit {_BOUNDS[limit.bound]}{limit.limit:g}"


def _happening(limit: LimitVerdict, subject: str) -> str:
    metric = METRICS[limit.metric.removeprefix(_MEAN)]
    value = abs(limit.observed) if limit.bound == "size at most" else float(limit.observed)
    number = f"{value * 100:.3g}"
    mean = " on average over the strengths" if limit.metric.startswith(_MEAN) else ""
    at = f" at {limit.at}" if limit.at else ""
    return metric.phrase.format(percent=f"{number} %", points=f"{number} points", subject=f"{subject}{at}{mean}")
