"""The verdict on a limit in words, for people: what holds, what does not, and whether that is sure."""

from __future__ import annotations

from pytest_biastransfer.metrics.catalogue import base_of
from pytest_biastransfer.reporting.figures import Limit


def verdict_words(limit: Limit) -> str:
    """Return whether a limit holds, and how sure that is.

    >>> from pytest_biastransfer.reporting.figures import Interval
    >>> observed = Interval(0.06, 0.04, 0.08, 0.95, 500)
    >>> verdict_words(Limit("asr", 0.05, "point", False, "not significant", observed, None))
    'above limit (not significant)'
    >>> verdict_words(Limit("asr", 0.07, "point", True, "within noise", observed, None))
    'holds (within noise)'
    >>> verdict_words(Limit("asr", 0.07, "certain", False, "not certain", observed, None))
    'not certain to hold'
    """
    if limit.observed.value is None:
        return "undefined on these images"
    if limit.holds is None:
        return limit.note
    sureness = f" ({limit.note})" if limit.note else ""
    if limit.exceeded_by > 0:
        side = "below limit" if limit.bound == "at least" else "above limit"
        return f"significantly {side}" if limit.rule == "significant" and not limit.holds else f"{side}{sureness}"
    if limit.rule == "certain":
        return "certain to hold" if limit.holds else "not certain to hold"
    return f"holds{sureness}"


def additions(limit: Limit) -> list[str]:
    """Return what is shown of a limit besides its verdict: the control's figure, the groups, a strength."""
    if base_of(limit.metric) == limit.metric or limit.control is None or limit.control.value is None:
        return list(limit.circumstances)
    return [f"control {limit.control.value:.3f}", *limit.circumstances]


def demand(limit: Limit) -> str:
    """Return what the limit demands.

    >>> from pytest_biastransfer.reporting.figures import Interval
    >>> demand(Limit("asr", 0.05, "point", False, "", Interval(0.3, 0.25, 0.35, 0.95, 300), None))
    '<= 0.05'
    """
    return f"{limit.signs[0]} {limit.limit:g}"
