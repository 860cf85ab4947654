"""The verdict on a limit in words, for people: what holds, what does not, and whether that is sure."""

from __future__ import annotations

from typing import Final

from pytest_biastransfer.metrics.catalogue import base_of
from pytest_biastransfer.reporting.figures import Limit

# What the verdict's own words say already; see `pytest_biastransfer.judgement.verdict.LimitVerdict.note`.
_SAID: Final = ("within noise", "not certain", "not significant", "not decided")


def verdict_words(limit: Limit) -> str:
    """Return whether a limit holds, and how sure that is.

    >>> from pytest_biastransfer.reporting.figures import Interval
    >>> observed = Interval(0.06, 0.04, 0.08, 0.95, 500)
    >>> verdict_words(Limit("asr", 0.05, "point", False, "within noise", observed, None))
    'above limit (not significant)'
    >>> verdict_words(Limit("asr", 0.07, "point", True, "within noise", observed, None))
    'holds (within noise)'
    >>> verdict_words(Limit("asr", 0.07, "certain", False, "not certain", observed, None))
    'not certain to hold'
    """
    if limit.observed.value is None:
        return "undefined on these images"
    if limit.holds is None:
        return "not decided"
    side = "below limit" if limit.bound == "at least" else "above limit"
    if limit.exceeded_by > 0:
        if limit.rule == "significant" and not limit.holds:
            return f"significantly {side}"
        return f"{side} (not significant)" if limit.is_within_noise else side
    if limit.rule == "certain":
        return "certain to hold" if limit.holds else "not certain to hold"
    return "holds (within noise)" if limit.rule == "point" and limit.is_within_noise else "holds"


def additions(limit: Limit) -> list[str]:
    """Return what there is to say of a limit besides its verdict: the control's figure, the groups, a strength."""
    texts = unsaid_notes(limit)
    if base_of(limit.metric) != limit.metric and limit.control is not None and limit.control.value is not None:
        texts.insert(0, f"control {limit.control.value:.3f}")
    return texts


def unsaid_notes(limit: Limit) -> list[str]:
    """Return the notes on a limit that the words of its verdict do not say: the groups, a strength."""
    return [text for text in note_texts(limit) if text not in _SAID]


def note_texts(limit: Limit) -> list[str]:
    """Return the notes on a limit; that it is inside the interval of what exceeds it is called as it is elsewhere.

    >>> from pytest_biastransfer.reporting.figures import Interval
    >>> note_texts(Limit("gap", 0.1, "point", False, "worst night, within noise", Interval(0.2, 0, 0.3, 0.95, 9), None))
    ['worst night', 'not significant']
    """
    texts = [text for text in limit.note.split(", ") if text]
    return ["not significant" if text == "within noise" and limit.holds is False else text for text in texts]


def demand(limit: Limit) -> str:
    """Return what the limit demands.

    >>> from pytest_biastransfer.reporting.figures import Interval
    >>> demand(Limit("asr", 0.05, "point", False, "", Interval(0.3, 0.25, 0.35, 0.95, 300), None))
    '<= 0.05'
    """
    return f"{limit.signs[0]} {limit.limit:g}"
