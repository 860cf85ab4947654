"""Figures as plain data: a metric with its confidence interval, and a limit with what was observed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_biastransfer.metrics.statistics.limits import is_at_most

if TYPE_CHECKING:
    from pytest_biastransfer.metrics.statistics.estimate import Estimate


@dataclass(frozen=True)
class Interval:
    """A metric with its confidence interval, as plain data.

    Attributes
    ----------
    value
        The observed value; None if the metric is undefined on these images.
    low, high, confidence
        The ends of the interval, and its confidence, such as 0.95; None if there is no interval.
    n
        The number of images that the value is computed from.
    """

    value: float | None
    low: float | None
    high: float | None
    confidence: float | None
    n: int

    @property
    def text(self) -> str:
        """The value with its interval.

        >>> Interval(0.25, 0.1, 0.5, 0.95, 8).text
        '0.250 [0.100, 0.500]'
        """
        if self.value is None:
            return "undefined"
        ends = "" if self.low is None or self.high is None else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.value:.3f}{ends}"


@dataclass(frozen=True)
class Limit:
    """A limit that a marker sets, with the verdict.

    Attributes
    ----------
    metric, limit, rule
        The metric, its largest accepted value and how the two are compared: ``"asr"``, 0.05 and ``"point"``.
    holds
        The verdict; None if it is not decided.
    note
        How sure the verdict is: ``"within noise"``, ``"not significant"``, ``"not certain"`` or ``"not decided"``;
        empty where the limit is outside the interval. See `pytest_biastransfer.judgement.verdict.LimitVerdict.note`.
    observed
        The metric of the model under test.
    control
        The same metric of the control model, or None. For an excess such as ``asr_excess``, it is the metric that the
        excess is the difference of, here ``asr``.
    bound
        What is limited: ``"at most"`` and ``"at least"`` the value, ``"size at most"`` its absolute value.
    at
        Of a ladder, at which strength it was observed, in words.
    remarks
        What else is shown beside the limit: the groups of a gap, the size of a search, what chance adds.
    """

    metric: str
    limit: float
    rule: str
    holds: bool | None
    note: str
    observed: Interval
    control: Interval | None
    bound: str = "at most"
    at: str = ""
    remarks: Sequence[str] = ()

    @property
    def circumstances(self) -> Sequence[str]:
        """Under what it was observed, besides the verdict: the strength of a ladder, and the remarks."""
        return [*([f"at {self.at}"] if self.at else []), *self.remarks]

    @property
    def notes(self) -> Sequence[str]:
        """All that is shown beside the limit."""
        return [*self.circumstances, *([self.note] if self.note else [])]

    @property
    def exceeded_by(self) -> float:
        """By how much the observed value misses the limit; negative where it meets it, NaN if it is undefined."""
        if self.observed.value is None:
            return math.nan
        value = abs(self.observed.value) if self.bound == "size at most" else self.observed.value
        excess = self.limit - value if self.bound == "at least" else value - self.limit
        return min(excess, 0.0) if is_at_most(excess, 0.0) else excess

    @property
    def is_within_noise(self) -> bool:
        """Whether the limit is inside the interval; an undefined value has none."""
        return self.observed.low is not None and not self.is_sure

    @property
    def is_sure(self) -> bool:
        """Whether the whole interval is on one side of the limit, so that other images would have the same verdict."""
        low, high = self.observed.low, self.observed.high
        if low is None or high is None:
            return False
        if self.bound == "at least":
            return is_at_most(self.limit, low) or not is_at_most(self.limit, high)
        if self.bound == "size at most":
            low, high = 0.0 if low <= 0 <= high else min(abs(low), abs(high)), max(abs(low), abs(high))
        return is_at_most(high, self.limit) or not is_at_most(low, self.limit)

    @property
    def signs(self) -> tuple[str, str]:
        """How a value that meets the limit compares with it, and one that does not."""
        return (">=", "<") if self.bound == "at least" else ("<=", ">")

    def named(self, observed: str = "") -> str:
        """Return the metric with a figure, as its absolute value where that is limited.

        >>> Limit("gap", 0.1, "point", True, "", Interval(-0.03, None, None, None, 8), None, "size at most").named()
        '|gap|'
        """
        text = f"{self.metric} {observed}".rstrip()
        return f"|{text}|" if self.bound == "size at most" else text


def interval_of(estimate: Estimate) -> Interval:
    """Return an estimate as plain data: JSON has no NaN, so an undefined number becomes None."""
    numbers = (estimate, estimate.low, estimate.high, estimate.confidence)
    value, low, high, confidence = (None if math.isnan(number) else float(number) for number in numbers)
    return Interval(value, low, high, confidence, estimate.n)
