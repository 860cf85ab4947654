"""Figures as plain data: a metric with its confidence interval, and a limit with what was observed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_biastransfer.metrics.statistics.estimate import Estimate


@dataclass(frozen=True)
class Interval:
    """A figure with its confidence interval; None where it is undefined. `n` is the number of images it rests on."""

    value: float | None
    low: float | None
    high: float | None
    confidence: float | None
    n: int

    @property
    def text(self) -> str:
        """The figure with its interval.

        >>> Interval(0.25, 0.1, 0.5, 0.95, 8).text
        '0.250 [0.100, 0.500]'
        """
        if self.value is None:
            return "undefined"
        ends = "" if self.low is None or self.high is None else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.value:.3f}{ends}"


@dataclass(frozen=True)
class Limit:
    """One limit and what was observed.

    Attributes
    ----------
    metric, limit, rule
        What was demanded, such as ``"asr"``, 0.05 and ``"point"``.
    holds
        The verdict; None where it was not decided.
    note
        What to add, such as ``"within noise"``.
    observed, control
        The figure; and the control model's of the same metric, of an excess that of the metric itself.
    """

    metric: str
    limit: float
    rule: str
    holds: bool | None
    note: str
    observed: Interval
    control: Interval | None


def interval_of(estimate: Estimate) -> Interval:
    """Return an estimate as plain data."""
    numbers = (estimate, estimate.low, estimate.high, estimate.confidence)
    value, low, high, confidence = (None if math.isnan(number) else float(number) for number in numbers)
    return Interval(value, low, high, confidence, estimate.n)
